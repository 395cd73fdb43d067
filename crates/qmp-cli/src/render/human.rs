//! Records as a table for people.
//!
//! One line a record: time, VM, event, members. The beginning and the end of an epoch are separators; the beginning has the
//! length of the gap before it. The time is the VM's own; it may run backwards, because the VM sends rate-limited events
//! late, and then the line says how late.

use std::collections::HashMap;
use std::io::Write as _;

use anstyle::{AnsiColor, Effects, Style};
use jiff::tz::TimeZone;
use qmp_events::EventSeverity;
use qmp_findings as findings;
use qmp_wire::{Body, DetachReason, Epoch, Offset, Record, Timestamp, UnixMicros};
use serde_json::Value;

use super::json_text::compact_members;
use super::palette::Palette;
use super::{escape, severity};
use crate::time::{span, write};

/// The minimal width of the column of VM names, in characters; a longer name widens the column.
const VM_WIDTH_MIN: usize = 6;
/// The width of the event column, in characters: every kind of finding fits with its mark, and most names of events; a longer
/// name moves only its own line.
const EVENT_WIDTH: usize = 23;

/// The minimal width of the column of offsets: a journal of some million records.
const OFFSET_WIDTH: usize = 7;

/// Kinds of findings that are evidence, not conclusions.
const EVIDENCE: [&str; 3] = [findings::COMMAND, findings::PROCESS_ENDED, findings::QUERY];

/// Writes records as lines for people, with the state of each VM that the next line needs.
#[derive(Debug)]
pub struct Human {
    palette: Palette,
    zone: TimeZone,
    vms: HashMap<String, VmHistory>,
    vm_width: usize,
    shows_offsets: bool,
}

/// The last known state of a VM.
#[derive(Clone, Copy, Debug, Default)]
struct VmHistory {
    epoch: Epoch,
    /// The beginning of the gap after the epoch; `None` while its end is unknown.
    certain_until: Option<UnixMicros>,
    event_at: Option<UnixMicros>,
}

impl Human {
    /// Creates a table with times in `zone`.
    pub fn new(palette: Palette, zone: TimeZone) -> Self {
        Self { palette, zone, vms: HashMap::new(), vm_width: VM_WIDTH_MIN, shows_offsets: false }
    }

    /// Writes the offset of each record before it.
    pub fn show_offsets(&mut self) {
        self.shows_offsets = true;
    }

    /// Widens the column of VM names for `name` from the first line on.
    pub fn expect_vm(&mut self, name: &str) {
        self.vm_width = self.vm_width.max(name.chars().count());
    }

    /// Appends the line of one record.
    pub fn record(&mut self, record: &Record<'_>, out: &mut Vec<u8>) {
        let before = self.vms.get(record.vm.as_ref()).copied();
        let mut seen = VmHistory { epoch: record.epoch, ..before.unwrap_or_default() };
        match &record.body {
            Body::Attached { snapshot } => {
                self.separator(record, &attached(record, snapshot, before), out);
                (seen.certain_until, seen.event_at) = (None, None);
            }
            Body::Event { name, timestamp, data, .. } => {
                let at = timestamp.map(write::event_moment);
                self.event(record, name, *timestamp, data.as_deref(), before, out);
                seen.event_at = at.max(seen.event_at);
            }
            Body::Finding { finding, summary, .. } => self.finding(record, finding, summary, out),
            Body::Detached { reason, detail, .. } => {
                let detail = detail.as_deref().map(|detail| write::localized(detail, &self.zone));
                self.separator(record, &detached(record.epoch, reason, detail.as_deref()), out);
                seen.certain_until = record.certain_until();
            }
        }
        match self.vms.get_mut(record.vm.as_ref()) {
            Some(entry) => *entry = seen,
            None => drop(self.vms.insert(record.vm.to_string(), seen)),
        }
    }

    fn event(
        &mut self,
        record: &Record<'_>,
        name: &str,
        timestamp: Option<Timestamp>,
        data: Option<&str>,
        before: Option<VmHistory>,
        out: &mut Vec<u8>,
    ) {
        let at = timestamp.map(write::event_moment);
        self.begin(record, at.unwrap_or(record.received), out);
        let name_shown = escape::text(name);
        let style = severity::style(EventSeverity::of(name, data));
        let members = data.map(compact_members).unwrap_or_default();
        let late = lateness(at, before.and_then(|seen| seen.event_at));
        if members.is_empty() && late.is_none() {
            let _ = write!(out, "{}", self.palette.paint(style, name_shown));
        } else {
            let _ = write!(out, "{:EVENT_WIDTH$}", self.palette.paint(style, name_shown));
        }
        if !members.is_empty() {
            let _ = write!(out, " {members}");
        }
        if let Some(late) = late {
            let _ = write!(out, " {}", self.palette.dim(late));
        }
        out.push(b'\n');
    }

    fn finding(&mut self, record: &Record<'_>, finding: &str, summary: &str, out: &mut Vec<u8>) {
        self.begin(record, record.received, out);
        let conclusion = Style::new().effects(Effects::BOLD).fg_color(Some(AnsiColor::Yellow.into()));
        // Evidence (commands, queries, ends of processes) looks like an event.
        let style =
            if EVIDENCE.contains(&finding) { Style::new().effects(Effects::BOLD) } else { conclusion };
        let shown = self.palette.paint(style, format!("» {}", escape::text(finding)));
        let _ = writeln!(out, "{shown:EVENT_WIDTH$} {}", escape::text(summary));
    }

    fn separator(&mut self, record: &Record<'_>, text: &str, out: &mut Vec<u8>) {
        self.begin(record, record.received, out);
        let _ = writeln!(out, "{}", self.palette.dim(format_args!("── {} ──", escape::text(text))));
    }

    /// Writes time and VM.
    fn begin(&mut self, record: &Record<'_>, at: UnixMicros, out: &mut Vec<u8>) {
        let vm = escape::text(&record.vm);
        self.expect_vm(&vm);
        let width = self.vm_width;
        let time = self.palette.dim(write::local(at, &self.zone));
        let vm = self.palette.paint(self.palette.vm(&record.vm), vm);
        // Writing to a `Vec` cannot fail.
        if let Some(Offset(offset)) = record.offset.filter(|_| self.shows_offsets) {
            let _ = write!(out, "{:>OFFSET_WIDTH$}  ", self.palette.dim(offset));
        }
        let _ = write!(out, "{time}  {vm:width$}  ");
    }
}

/// Describes the beginning of an epoch, and the gap before it.
fn attached(record: &Record<'_>, snapshot: &str, before: Option<VmHistory>) -> String {
    let mut text = format!("epoch {} began", record.epoch.0);
    match before {
        Some(seen) if seen.epoch < record.epoch => match seen.certain_until {
            Some(from) => text += &gap(from, record.received),
            None => text += &format!("; the end of epoch {} is not shown", record.epoch.0 - 1),
        },
        None if record.epoch.0 > 1 => {
            text += &format!("; the end of epoch {} is not shown", record.epoch.0 - 1);
        }
        _ => {}
    }
    let state: Value = serde_json::from_str(snapshot).unwrap_or_default();
    if let Some(status) = qmp_findings::snapshot_run_state(&state) {
        text += &format!(" · {status}");
    }
    if let Some((major, minor, micro)) = qemu_version(snapshot) {
        text += &format!(" · QEMU {major}.{minor}.{micro}");
    }
    text
}

/// Describes the gap between the last certain time and the beginning of the next epoch.
fn gap(from: UnixMicros, to: UnixMicros) -> String {
    let micros = to.0.saturating_sub(from.0);
    let span = span::describe(micros.unsigned_abs());
    if micros >= 0 {
        format!(" after a gap of {span}")
    } else {
        format!(" after a gap of unknown length: this host's clock was set back by {span} or more")
    }
}

/// The QEMU version in a snapshot: major, minor, micro.
pub fn qemu_version(snapshot: &str) -> Option<(u32, u32, u32)> {
    let state: Value = serde_json::from_str(snapshot).ok()?;
    let qemu = state.pointer("/greeting/version/qemu").or_else(|| state.pointer("/query-version/qemu"))?;
    let part =
        |name: &str| qemu.get(name).and_then(Value::as_u64).and_then(|number| u32::try_from(number).ok());
    Some((part("major")?, part("minor")?, part("micro")?))
}

fn detached(epoch: Epoch, reason: &DetachReason, detail: Option<&str>) -> String {
    match detail {
        Some(detail) if !detail.is_empty() && detail != reason.to_string() => {
            format!("epoch {} ended: {reason} ({detail})", epoch.0)
        }
        _ => format!("epoch {} ended: {reason}", epoch.0),
    }
}

/// Says by how much an event is older than an event before it.
fn lateness(at: Option<UnixMicros>, newest_before: Option<UnixMicros>) -> Option<String> {
    let behind_us = newest_before?.0.checked_sub(at?.0).filter(|behind| *behind > 0)?;
    Some(format!("(sent late: {} older than the events before it)", span::describe(behind_us.unsigned_abs())))
}

/// Records for the tests of all renderings.
#[cfg(test)]
pub mod examples {
    use qmp_wire::{Offset, Seq};

    use super::*;

    /// 2026-01-02T03:04:05.678901Z, in microseconds since the Unix epoch.
    const START: i64 = 1_767_323_045_678_901;

    pub(crate) fn records() -> Vec<Record<'static>> {
        let snapshot = r#"{"address": "unix:/run/web1.sock", "greeting": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}, "package": ""}, "capabilities": ["oob"]}, "query-status": {"status": "running", "running": true}}"#;
        let attached = Body::Attached { snapshot: snapshot.into() };
        let certain_until = Some(UnixMicros(START + 1_800_000));
        let closed = Body::Detached { reason: DetachReason::PeerClosed, detail: None, certain_until };
        let finding = Body::Finding {
            finding: "sequel-missing".into(),
            summary: "RESET did not follow WATCHDOG".into(),
            causes: vec![(Epoch(1), Seq(2))],
            data: None,
        };
        vec![
            record(41, 1, 0, 0, attached.clone()),
            record(42, 1, 1, 1_000_000, event("STOP", 1_000_000, None)),
            record(
                43,
                1,
                2,
                1_100_000,
                event("BLOCK_IO_ERROR", 1_099_000, Some(r#"{"device": "", "reason": "No space, \"left\""}"#)),
            ),
            record(44, 1, 3, 1_600_000, event("RTC_CHANGE", 599_000, Some(r#"{"offset": -3600}"#))),
            record(45, 1, 4, 1_700_000, finding),
            record(46, 1, 5, 1_800_000, closed),
            record(47, 2, 0, 3_900_000, attached.clone()),
            record(
                48,
                2,
                1,
                4_000_000,
                event("__org.example_\u{1b}[2J_ODD", 4_000_000, Some("{\r\n    \"a\": [1]\r\n}")),
            ),
            record(49, 3, 0, 9_000_000, attached),
        ]
    }

    fn record(offset: u64, epoch: u32, seq: u64, after_us: i64, body: Body<'static>) -> Record<'static> {
        Record {
            offset: Some(Offset(offset)),
            vm: "web1".into(),
            epoch: Epoch(epoch),
            seq: Seq(seq),
            received: UnixMicros(START + after_us),
            body,
        }
    }

    fn event(name: &'static str, after_us: i64, data: Option<&'static str>) -> Body<'static> {
        let micros = START + after_us;
        let timestamp = Timestamp::from_wire(micros / 1_000_000, micros % 1_000_000).unwrap();
        Body::Event { name: name.into(), sent_name: None, timestamp, data: data.map(Into::into) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(coloured: bool) -> String {
        let mut human = Human::new(Palette::new(coloured), TimeZone::UTC);
        let mut out = Vec::new();
        for record in examples::records() {
            human.record(&record, &mut out);
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn records_are_lines_with_separators_at_epochs() {
        insta::assert_snapshot!(shown(false), @r##"
2026-01-02 03:04:05.678  web1    ── epoch 1 began · running · QEMU 7.2.22 ──
2026-01-02 03:04:06.678  web1    STOP
2026-01-02 03:04:06.777  web1    BLOCK_IO_ERROR          device="" reason="No space, \"left\""
2026-01-02 03:04:06.277  web1    RTC_CHANGE              offset=-3600 (sent late: 500 ms older than the events before it)
2026-01-02 03:04:07.378  web1    » sequel-missing        RESET did not follow WATCHDOG
2026-01-02 03:04:07.478  web1    ── epoch 1 ended: peer closed ──
2026-01-02 03:04:09.578  web1    ── epoch 2 began after a gap of 2.1 s · running · QEMU 7.2.22 ──
2026-01-02 03:04:09.678  web1    __org.example_\u001b[2J_ODD a=[1]
2026-01-02 03:04:14.678  web1    ── epoch 3 began; the end of epoch 2 is not shown · running · QEMU 7.2.22 ──
"##);
    }

    #[test]
    fn epoch_without_the_end_of_the_previous_one_says_so() {
        let mut out = Vec::new();
        Human::new(Palette::new(false), TimeZone::UTC).record(&examples::records()[6], &mut out);
        let shown = String::from_utf8(out).unwrap();
        assert!(shown.contains("epoch 2 began; the end of epoch 1 is not shown · running"), "{shown}");
    }

    #[test]
    fn coloured_lines_have_the_same_text() {
        let coloured = shown(true);
        assert!(coloured.contains("\x1b[1m\x1b[31mBLOCK_IO_ERROR"), "{coloured}");
        assert_eq!(anstream::adapter::strip_str(&coloured).to_string(), shown(false));
    }

    #[test]
    fn gap_is_measured_from_the_last_certain_time() {
        let at = |micros: i64| Some(UnixMicros(1_767_323_045_000_000 + micros));
        let killed =
            "the hub ended without closing the epoch; nothing is certain since 2026-01-02T03:04:05.000000Z";
        let cases: [(&str, Option<&'static str>, Option<UnixMicros>, &str); 4] = [
            // name                              detail        certain until    in the next line
            ("certain until before the record", None, at(0), "epoch 2 began after a gap of 10.0 s "),
            ("a record of an earlier release", Some(killed), None, "epoch 2 began after a gap of 10.0 s "),
            ("no certain time", None, None, "epoch 2 began after a gap of 2.0 s "),
            (
                "clock set back",
                None,
                at(70_000_000),
                "epoch 2 began after a gap of unknown length: this host's clock was set back by ",
            ),
        ];
        for (name, detail, certain_until, expected) in cases {
            let mut records = examples::records();
            let (mut ended, finding, mut opened) = (records.remove(5), records.remove(4), records.remove(4));
            let detail = detail.map(Into::into);
            ended.body = Body::Detached { reason: DetachReason::HubStopped, detail, certain_until };
            ended.received = at(8_000_000).unwrap();
            // A finding after the end does not shorten the gap.
            let after = Record { received: at(9_900_000).unwrap(), ..finding };
            opened.received = at(10_000_000).unwrap();
            let mut human = Human::new(Palette::new(false), TimeZone::UTC);
            let mut out = Vec::new();
            [&ended, &after, &opened].into_iter().for_each(|record| human.record(record, &mut out));
            let shown = String::from_utf8(out).unwrap();
            assert!(shown.contains(expected), "{name}: {shown}");
        }
    }

    #[test]
    fn evidence_is_not_coloured_like_a_conclusion() {
        let finding = |finding: &'static str, summary: &'static str| {
            let (finding, summary) = (finding.into(), summary.into());
            let body = Body::Finding { finding, summary, causes: Vec::new(), data: None };
            let record = Record { body, ..examples::records()[1].clone() };
            let mut out = Vec::new();
            Human::new(Palette::new(true), TimeZone::UTC).record(&record, &mut out);
            String::from_utf8(out).unwrap()
        };
        let answer = finding("query", "query-status: internal-error");
        assert!(
            answer.contains("\x1b[1m» query") && answer.contains("query-status: internal-error"),
            "{answer}"
        );
        let conclusion = finding("why-paused", "An error inside QEMU paused it.");
        assert!(conclusion.contains("\x1b[33m» why-paused"), "{conclusion}");
    }

    #[test]
    fn offsets_are_shown_on_request() {
        let (mut human, mut out) = (Human::new(Palette::new(false), TimeZone::UTC), Vec::new());
        human.show_offsets();
        human.record(&examples::records()[1], &mut out);
        let offset = examples::records()[1].offset.expect("an offset").0;
        let text = String::from_utf8(out).unwrap();
        assert!(text.starts_with(&format!("{offset:>7}  2026-01-02 03:04:06.678  web1 ")), "{text}");
    }

    #[test]
    fn long_vm_name_widens_the_column() {
        let mut human = Human::new(Palette::new(false), TimeZone::UTC);
        human.expect_vm("a-very-long-name-of-a-vm");
        let mut out = Vec::new();
        human.record(&examples::records()[1], &mut out);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "2026-01-02 03:04:06.678  web1                      STOP\n"
        );
    }
}
