//! The violations and notes of a check, printed at once and counted.

use std::io;

use qmp_events::{Release, Violation};
use serde::Serialize;

use crate::output;
use crate::render::escape;

/// A violation or a note.
#[derive(Debug)]
pub(super) struct Finding<'a> {
    pub(super) event: &'a str,
    /// Dotted path of the member; empty for the event as a whole.
    pub(super) path: &'a str,
    /// The whole sentence: event, path and problem.
    pub(super) text: String,
    pub(super) release: Release,
    /// Whether it is a note, not a violation.
    pub(super) is_note: bool,
    /// The line in the capture; `None` for a schema.
    pub(super) line: Option<usize>,
    pub(super) vm: Option<&'a str>,
}

/// A finding as a line of JSON.
#[derive(Serialize)]
struct FindingLine<'a> {
    event: &'a str,
    path: &'a str,
    problem: &'a str,
    release: String,
    severity: &'static str,
    /// `event` of a capture, or `schema`.
    source: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    vm: Option<&'a str>,
}

/// Prints and counts violations and notes.
#[derive(Debug)]
pub(super) struct Findings {
    json: bool,
    with_notes: bool,
    pending: String,
    events: u64,
    schemas: Vec<(usize, Release)>,
    /// The number of further schemas.
    more_schemas: u64,
    violations: u64,
    notes: u64,
}

/// Text is collected up to so many bytes before it is written.
const PENDING_MAX_BYTES: usize = 64 << 10;

/// Schemas of one capture that the summary names; of further ones it has the number. A session has one.
const SCHEMAS_NAMED_MAX: usize = 4;

impl Findings {
    pub(super) fn new(json: bool, with_notes: bool) -> Self {
        Self {
            json,
            with_notes,
            pending: String::new(),
            events: 0,
            schemas: Vec::new(),
            more_schemas: 0,
            violations: 0,
            notes: 0,
        }
    }

    /// Counts an event, and adds its violations.
    pub(super) fn event(
        &mut self,
        violations: &[Violation],
        line: usize,
        vm: Option<&str>,
    ) -> io::Result<()> {
        self.events += 1;
        for violation in violations {
            self.add(&Finding {
                event: &violation.event,
                path: &violation.path,
                text: violation.to_string(),
                release: violation.release,
                is_note: false,
                line: Some(line),
                vm,
            })?;
        }
        Ok(())
    }

    /// Counts a schema.
    pub(super) fn schema(&mut self, events: usize, release: Release) {
        if self.schemas.len() < SCHEMAS_NAMED_MAX {
            self.schemas.push((events, release));
        } else {
            self.more_schemas += 1;
        }
    }

    pub(super) fn add(&mut self, finding: &Finding<'_>) -> io::Result<()> {
        match finding.is_note {
            true => self.notes += 1,
            false => self.violations += 1,
        }
        if !finding.is_note || self.with_notes {
            self.pending += &if self.json { json_line(finding) } else { text_line(finding) };
        }
        if self.pending.len() >= PENDING_MAX_BYTES { self.flush() } else { Ok(()) }
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        output::print(&std::mem::take(&mut self.pending))
    }

    pub(super) fn violations(&self) -> u64 {
        self.violations
    }

    /// Returns `12 events and the schema of QEMU 7.2.22 (53 events) checked: no violation`.
    pub(super) fn summary(&self) -> String {
        let mut checked = Vec::new();
        if self.events > 0 || self.schemas.is_empty() {
            checked.push(counted(self.events, "event"));
        }
        for (events, release) in &self.schemas {
            let events = counted(u64::try_from(*events).unwrap_or(u64::MAX), "event");
            checked.push(format!("the schema of QEMU {release} ({events})"));
        }
        if self.more_schemas > 0 {
            checked.push(counted(self.more_schemas, "more schema"));
        }
        let violations = match self.violations {
            0 => "no violation".to_owned(),
            violations => counted(violations, "violation"),
        };
        let notes = match self.notes {
            0 => String::new(),
            notes if self.with_notes => format!(", {}", counted(notes, "note")),
            notes => format!(", {} (shown with --notes)", counted(notes, "note")),
        };
        format!("{} checked: {violations}{notes}", checked.join(" and "))
    }
}

fn counted(number: u64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

fn text_line(finding: &Finding<'_>) -> String {
    let mut line = String::new();
    if let Some(number) = finding.line {
        line += &format!("line {number}: ");
    }
    if let Some(vm) = finding.vm {
        line += &format!("{vm}: ");
    }
    if finding.is_note {
        line += "note: ";
    }
    format!("{}\n", escape::text(&(line + &finding.text)))
}

fn json_line(finding: &Finding<'_>) -> String {
    let line = FindingLine {
        event: finding.event,
        path: finding.path,
        problem: problem(finding),
        release: finding.release.to_string(),
        severity: if finding.is_note { "note" } else { "violation" },
        source: if finding.line.is_some() { "event" } else { "schema" },
        line: finding.line,
        vm: finding.vm,
    };
    // Strings and numbers only: serializing cannot fail.
    serde_json::to_string(&line).unwrap_or_default() + "\n"
}

/// The sentence without event and path, which precede its colon.
fn problem<'a>(finding: &'a Finding<'_>) -> &'a str {
    let Finding { event, path, text, .. } = finding;
    let before = if path.is_empty() { format!("{event}: ") } else { format!("{event} {path}: ") };
    text.strip_prefix(&before).or_else(|| text.split_once(": ").map(|(_, problem)| problem)).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding<'a>(
        text: &str,
        path: &'a str,
        is_note: bool,
        line: Option<usize>,
        vm: Option<&'a str>,
    ) -> Finding<'a> {
        Finding {
            event: "RESET",
            path,
            text: text.into(),
            release: Release::stable(7, 2, 22),
            is_note,
            line,
            vm,
        }
    }

    #[test]
    fn finding_is_a_line_of_text_or_json() {
        let cases = [
            (
                finding("RESET guest: missing, but …", "guest", false, Some(3), None),
                "line 3: RESET guest: missing, but …\n",
                r#"{"event":"RESET","path":"guest","problem":"missing, but …","release":"7.2.22","severity":"violation","source":"event","line":3}"#,
            ),
            (
                finding("RESET: missing; only: x", "", true, None, None),
                "note: RESET: missing; only: x\n",
                r#"{"event":"RESET","path":"","problem":"missing; only: x","release":"7.2.22","severity":"note","source":"schema"}"#,
            ),
            (
                finding("RESET a: \x1b", "a", false, Some(1), Some("web1")),
                "line 1: web1: RESET a: \\u001b\n",
                r#"{"event":"RESET","path":"a","problem":"\u001b","release":"7.2.22","severity":"violation","source":"event","line":1,"vm":"web1"}"#,
            ),
        ];
        for (finding, text, json) in cases {
            assert_eq!(text_line(&finding), text);
            assert_eq!(json_line(&finding).trim_end(), json);
        }
    }

    #[test]
    fn summary_counts_events_schemas_and_violations() {
        let cases = [
            // events, schema, violations, notes, with notes
            ((0, None), (0, 0, false), "0 events checked: no violation"),
            ((1, None), (1, 0, false), "1 event checked: 1 violation"),
            (
                (2, Some(53)),
                (0, 3, false),
                "2 events and the schema of QEMU 7.2 (53 events) checked: no violation, 3 notes (shown with --notes)",
            ),
            ((0, Some(53)), (4, 1, true), "the schema of QEMU 7.2 (53 events) checked: 4 violations, 1 note"),
            ((9, None), (2, 0, true), "9 events checked: 2 violations"),
        ];
        for ((events, schema), (violations, notes, with_notes), expected) in cases {
            let mut findings = Findings::new(false, with_notes);
            (findings.events, findings.violations, findings.notes) = (events, violations, notes);
            findings.schemas.extend(schema.map(|events| (events, Release::new(7, 2))));
            assert_eq!(findings.summary(), expected);
        }
    }

    #[test]
    fn summary_names_few_schemas_and_counts_the_others() {
        let mut findings = Findings::new(false, false);
        (0..SCHEMAS_NAMED_MAX + 2).for_each(|_| findings.schema(1, Release::new(7, 2)));
        assert_eq!(findings.schemas.len(), SCHEMAS_NAMED_MAX);
        assert!(
            findings.summary().ends_with("(1 event) and 2 more schemas checked: no violation"),
            "{}",
            findings.summary()
        );
    }
}
