//! The reference page `docs/events.md`.

mod events;
mod timeline;
mod values;

use std::fmt::Write as _;

use crate::model::{Catalogue, Event, Throttle};

/// Makes the page; `documents` is the section that people write.
pub(crate) fn page(catalogue: &Catalogue, documents: &str) -> String {
    let mut page = String::from(
        "<!-- Generated from catalogue/*.toml and docs/documents.md by `cargo xtask codegen`; change those. -->\n\n\
        # Events of the QEMU Monitor Protocol\n\n",
    );
    write_introduction(&mut page, catalogue);
    write_overview(&mut page, catalogue);
    timeline::write(&mut page, catalogue);
    page.push_str("\n## The events\n");
    for (module, event) in catalogue.events() {
        events::write(&mut page, catalogue, module, event);
    }
    page.push_str("\n## Values of enums\n");
    values::write(&mut page, catalogue);
    _ = write!(page, "\n{}\n", documents.trim());
    page
}

fn write_introduction(page: &mut String, catalogue: &Catalogue) {
    let events = catalogue.events();
    let removed = events.iter().filter(|(_, event)| event.removed.is_some()).count();
    let oldest = catalogue.releases.first().map_or(String::new(), ToString::to_string);
    let newest = catalogue.releases.last().map_or(String::new(), ToString::to_string);
    _ = writeln!(
        page,
        "Every event that QEMU {oldest} to {newest} has or had: {} events, {removed} of which are gone.\n\n\
        A client keeps what it does not know: events, members and values are added without notice.\n\n\
        - [All events](#all-events)\n- [What came when](#what-came-when)\n- [The events](#the-events)\n\
        - [Values of enums](#values-of-enums)\n\
        - [What the documents of 2010 and 2016 say](#what-the-documents-of-2010-and-2016-say-and-what-is-so)\n",
        events.len(),
    );
}

fn write_overview(page: &mut String, catalogue: &Catalogue) {
    page.push_str("## All events\n\n| event | module | since | removed | rate limit | data |\n|---|---|---|---|---|---|\n");
    for (module, event) in catalogue.events() {
        let removed = event.removed.map_or(String::new(), |removed| removed.to_string());
        let limit = event.throttle.as_ref().map_or(String::new(), short_limit);
        let members: Vec<String> = event.members.iter().map(|member| format!("`{}`", member.name)).collect();
        _ = writeln!(
            page,
            "| {} | {} | {} | {removed} | {limit} | {} |",
            link(event),
            module.module,
            event.since,
            members.join(" "),
        );
    }
}

fn short_limit(throttle: &Throttle) -> String {
    let interval = interval(throttle.interval_ms);
    match throttle.keys.last() {
        Some(key) => format!("{interval} for each `{}`", key.member),
        None => interval,
    }
}

/// `1 a second`, `1 in 250 ms`.
fn interval(interval_ms: u32) -> String {
    if interval_ms == 1000 { "one a second".to_owned() } else { format!("one in {interval_ms} ms") }
}

/// A link to the section of an event.
fn link(event: &Event) -> String {
    link_to(&event.name)
}

/// A link to the section of that title.
fn link_to(title: &str) -> String {
    format!("[{title}](#{})", title.to_lowercase())
}

/// A text for a cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}
