//! Events seen from a real QEMU: for each event, and for all together.

use std::fmt::Write as _;

use super::markdown::{cell, link};
use crate::model::{Catalogue, Event};
use crate::seen::{Capture, SeenEvent, SeenEvents};

/// Maximum number of events listed after the shown one. The capture has the rest.
const FOLLOWING_MAX: usize = 6;

/// Members that distinguish events of one name.
const DISTINGUISHING: [&str; 6] = ["reason", "action", "status", "tray-open", "mode", "pass"];

/// The events of the document of 2016: all events of QEMU 2.6, except these.
///
/// DEBUG was removed; `DUMP_COMPLETED` was added a month later, within the same development; the other one is
/// missing in the document.
const NOT_IN_THE_DOCUMENT: [&str; 3] = ["DEBUG", "DUMP_COMPLETED", "BLOCK_WRITE_THRESHOLD"];
const DOCUMENT: (u16, u16) = (2, 6);

/// Writes the part of an event's section.
pub(super) fn write(page: &mut String, seen: &SeenEvents, event: &Event) {
    let line = SeenEvents::line();
    if let Some(reason) = seen.not_caused.get(&event.name) {
        _ = writeln!(page, "\n**Not seen from QEMU {line}**: {reason}.");
        return;
    }
    let Some(first) = seen.of(&event.name).next() else { return };
    let example = first.events.iter().find(|sent| sent.name == event.name);
    let example = example.map_or("", |sent| &sent.line);
    _ = write!(page, "\n**Seen from QEMU {line}.**\n\n```json\n{example}\n```\n\n");
    page.push_str("| what happened | options | then |\n|---|---|---|\n");
    for capture in seen.of(&event.name) {
        let options = &capture.about.options;
        let options = if options.is_empty() { String::new() } else { format!("`{options}`") };
        _ = writeln!(
            page,
            "| {} {} | {} | {} |",
            cell(&capture.about.cause),
            SeenEvents::link(capture),
            cell(&options),
            following(capture, event),
        );
    }
}

/// Returns the events after the first event of that name.
fn following(capture: &Capture, event: &Event) -> String {
    let rest = capture.events.iter().skip_while(|sent| sent.name != event.name).skip(1);
    // A scenario that is over before its VM ends with `quit`.
    let is_quit = |sent: &&SeenEvent| sent.data["reason"] == "host-qmp-quit";
    let after: Vec<&SeenEvent> = rest.clone().take_while(|sent| !is_quit(sent)).collect();
    let mut items: Vec<String> = after.iter().take(FOLLOWING_MAX).map(|sent| short(sent)).collect();
    if after.len() > FOLLOWING_MAX {
        items.push("…".to_owned());
    }
    if !rest.clone().any(|sent| is_quit(&sent)) && !is_quit(&&capture.events[capture.events.len() - 1]) {
        items.push("the end".to_owned());
    }
    if items.is_empty() { "–".to_owned() } else { items.join(", ") }
}

/// Returns `WATCHDOG reset`.
fn short(sent: &SeenEvent) -> String {
    let distinguishing = DISTINGUISHING.iter().find_map(|member| sent.data.get(member));
    let distinguishing = distinguishing.map_or(String::new(), |value| format!(" {value}").replace('"', ""));
    cell(&format!("{}{distinguishing}", sent.name))
}

/// Writes the section about all events.
pub(super) fn write_all(page: &mut String, catalogue: &Catalogue, seen: &SeenEvents) {
    let line = SeenEvents::line();
    let shown = catalogue.events().iter().filter(|(_, event)| seen.of(&event.name).next().is_some()).count();
    _ = write!(
        page,
        "\n## Seen from a real QEMU\n\n\
        {shown} events were caused in a real QEMU {line} (Debian 12, x86-64, no KVM), each by its real cause, and went through \
        the hub into its journal byte for byte; the tests of `crates/qmp-real-qemu` do it again. Of these, {}.\n\n\
        Not seen, with the reason:\n\n| event | |\n|---|---|\n",
        of_the_document(catalogue, seen),
    );
    for (name, reason) in &seen.not_caused {
        _ = writeln!(page, "| {} | {reason} |", super::markdown::link_to(name));
    }
}

/// Returns `35 of the 35 events of the document of 2016`.
pub(super) fn of_the_document(catalogue: &Catalogue, seen: &SeenEvents) -> String {
    let events = in_the_document(catalogue);
    let shown = events.iter().filter(|event| seen.of(&event.name).next().is_some()).count();
    format!("{shown} are of the {} events of the document of 2016", events.len())
}

/// Returns a table for the README: the cause of each event of the document.
pub(super) fn table(catalogue: &Catalogue, seen: &SeenEvents) -> String {
    let events = in_the_document(catalogue);
    let shown = events.iter().filter(|event| seen.of(&event.name).next().is_some()).count();
    let mut table = format!(
        "Events of QEMU's document of 2016, each caused in a real QEMU {} by the tests, sent through the hub and found byte \
        for byte in its journal: **{shown} of {}**.\n\n| event | what happened |\n|---|---|\n",
        SeenEvents::line(),
        events.len(),
    );
    for event in events {
        let cause = seen.of(&event.name).next().map_or("–", |capture| &capture.about.cause);
        let link = link(event).replace("(#", "(docs/events.md#");
        _ = writeln!(table, "| {link} | {} |", cell(cause));
    }
    table
}

fn in_the_document(catalogue: &Catalogue) -> Vec<&Event> {
    let events = catalogue.events().into_iter().map(|(_, event)| event);
    events
        .filter(|event| (event.since.major, event.since.minor) <= DOCUMENT)
        .filter(|event| !NOT_IN_THE_DOCUMENT.contains(&event.name.as_str()))
        .collect()
}
