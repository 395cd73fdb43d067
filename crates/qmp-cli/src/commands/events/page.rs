//! The page of one event, for people.

use std::fmt::Write as _;

use qmp_events::describe::{self, MemberDescription};
use qmp_events::{EventDesc, Release};

use crate::render::Palette;

/// The width of the text, in characters.
const WIDTH: usize = 96;

/// The page of an event, as in `release`, or over all releases.
pub(in crate::commands) fn page(desc: &EventDesc, release: Option<Release>, palette: Palette) -> String {
    let at = release.unwrap_or_else(|| desc.newest_release());
    let mut page = Page { text: String::new(), palette };
    page.head(desc, release);
    page.wrapped("", desc.summary);
    for note in desc.notes {
        page.text.push('\n');
        page.wrapped("", note);
    }
    page.members(&describe::members(desc, release));
    page.section("Rate limit");
    match desc.throttle_at(at) {
        Some(throttle) => page.wrapped("  ", &describe::throttle_text(&throttle)),
        None => page.wrapped("  ", "none: every event is sent"),
    }
    page.sequels(&describe::event(desc, release));
    if let Some(example) = describe::example_message(desc, at) {
        page.section("Example");
        // The example is one line, as on the wire.
        page.text += &format!("  {example}\n");
    }
    page.history(desc);
    page.section("In journald");
    page.wrapped("  ", &format!("MESSAGE_ID={}", qmp_sinks::message_id(desc.name)));
    page.text
}

struct Page {
    text: String,
    palette: Palette,
}

impl Page {
    fn head(&mut self, desc: &EventDesc, release: Option<Release>) {
        let mut facts = vec![format!("since QEMU {}", desc.since)];
        facts.extend(desc.removed.map(|removed| format!("removed in {removed}")));
        facts.extend(desc.deprecated.map(|deprecated| format!("deprecated since {deprecated}")));
        facts.extend(desc.unstable.then(|| "unstable".to_owned()));
        facts.extend(desc.condition.map(|condition| format!("needs {condition}")));
        facts.push(format!("module {}", desc.module));
        facts.extend(release.map(|release| format!("shown as in QEMU {release}")));
        let facts = facts.join(" · ");
        let _ = writeln!(self.text, "{}   {}\n", self.palette.bold(desc.name), self.palette.dim(facts));
    }

    fn section(&mut self, name: &str) {
        let _ = writeln!(self.text, "\n{}", self.palette.bold(name));
    }

    fn members(&mut self, members: &[MemberDescription]) {
        self.section("Members");
        if members.is_empty() {
            return self.wrapped("  ", "none: the event has no data");
        }
        let width = members.iter().map(|member| member.name.len()).max().unwrap_or(0);
        let type_width = members.iter().map(|member| member.ty.len()).max().unwrap_or(0);
        for member in members {
            let ty = self.palette.dim(&member.ty);
            let mut about = member.summary.to_owned();
            about += &member.unit.map(|unit| format!(" In {unit}.")).unwrap_or_default();
            let remarks = remarks(member);
            if !remarks.is_empty() {
                about += &format!(" [{}]", remarks.join(", "));
            }
            let first = format!("  {:width$}  {ty:type_width$}  ", member.name);
            let indent = " ".repeat(width + type_width + 6);
            self.hanging(&first, &indent, &about);
            if let Some(values) = &member.values {
                self.hanging(&indent, &indent, &values.join(" · "));
            }
        }
    }

    fn sequels(&mut self, event: &describe::EventDescription) {
        self.section("What follows");
        if event.sequels.is_empty() && event.ends.is_empty() {
            return self.wrapped("  ", "no announced event");
        }
        let names = event.sequels.iter().map(|sequel| (sequel.event, &sequel.when, sequel.note));
        let ends = event.ends.iter().map(|ends| ("QEMU exits", &ends.when, ends.note));
        let rows: Vec<_> = names.chain(ends).collect();
        let width = rows.iter().map(|(what, ..)| what.len()).max().unwrap_or(0);
        for (what, when, note) in rows {
            let mut about = when.clone();
            about += &note.map(|note| format!(" ({note})")).unwrap_or_default();
            self.hanging(&format!("  {what:width$}  "), &" ".repeat(width + 4), &about);
        }
    }

    fn history(&mut self, desc: &EventDesc) {
        self.section("What changed when");
        let history = describe::history(desc);
        let width = history.iter().map(|change| change.release.to_string().len()).max().unwrap_or(0);
        let mut before = None;
        for change in history {
            let release = change.release.to_string();
            let shown = if before == Some(change.release) { "" } else { &release };
            before = Some(change.release);
            let _ = writeln!(self.text, "  {shown:>width$}  {}", change.what);
        }
    }

    fn wrapped(&mut self, indent: &str, text: &str) {
        self.hanging(indent, indent, text);
    }

    /// `text` broken into lines, the first after `first` and the others after `indent`, which is as wide.
    fn hanging(&mut self, first: &str, indent: &str, text: &str) {
        let room = WIDTH.saturating_sub(indent.chars().count()).max(WIDTH / 3);
        for (index, line) in wrap(text, room).iter().enumerate() {
            let begin = if index == 0 { first } else { indent };
            let _ = writeln!(self.text, "{begin}{line}");
        }
    }
}

fn remarks(member: &MemberDescription) -> Vec<String> {
    let mut remarks = Vec::new();
    remarks.extend(member.optional.then(|| "optional".to_owned()));
    if let Some(when) = &member.when {
        let parts: Vec<String> =
            when.iter().map(|(tag, values)| format!("{tag} is {}", values.join(" or "))).collect();
        remarks.push(format!("only if {}", parts.join(" and ")));
    }
    remarks.extend(member.removed.as_ref().map(|removed| format!("removed in {removed}")));
    remarks.extend(member.deprecated.as_ref().map(|deprecated| format!("deprecated since {deprecated}")));
    remarks.extend(member.unstable.then(|| "unstable".to_owned()));
    remarks
}

/// Breaks text at blanks into lines of at most `room` characters; a longer word gets its own line.
fn wrap(text: &str, room: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let needs_break = lines
            .last()
            .is_some_and(|line| !line.is_empty() && line.chars().count() + 1 + word.chars().count() > room);
        if needs_break {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use qmp_events::catalogue;

    use super::*;

    #[test]
    fn every_event_has_a_page_in_every_release() {
        for desc in catalogue() {
            for release in qmp_events::RELEASES.iter().filter(|release| desc.exists_in(**release)) {
                let page = page(desc, Some(*release), Palette::new(false));
                assert!(page.contains("What changed when"), "{} {release}", desc.name);
                assert!(page.contains("Example"), "{} {release} has no example:\n{page}", desc.name);
            }
        }
    }

    #[test]
    fn page_shows_an_event_in_each_release() {
        let watchdog = catalogue().iter().find(|desc| desc.name == "WATCHDOG").unwrap();
        let newest = page(watchdog, None, Palette::new(false));
        for part in
            ["WATCHDOG   since QEMU 0.13", "inject-nmi", "one per second", "RESET", "value inject-nmi added"]
        {
            assert!(newest.contains(part), "{part} is not in:\n{newest}");
        }
        let old = page(watchdog, "1.1".parse().ok(), Palette::new(false));
        let before_history = old.split("What changed when").next().unwrap();
        assert!(!before_history.contains("inject-nmi") && old.contains("none: every event is sent"), "{old}");
    }

    proptest! {
        /// Wrapping keeps every word, and no line is wider than `room` unless it is a single word.
        #[test]
        fn wrapped_text_has_the_same_words(text in "[a-z ]{0,200}", room in 1usize..40) {
            let lines = wrap(&text, room);
            prop_assert!(lines.iter().all(|line| line.chars().count() <= room || !line.contains(' ')));
            let words: Vec<_> = lines.iter().flat_map(|line| line.split_whitespace()).collect();
            prop_assert_eq!(words, text.split_whitespace().collect::<Vec<_>>());
        }
    }
}
