//! Checks that apply to every run.

use qmp_events::{Release, validate};
use qmp_wire::{Body, Record};

use crate::expected::Words;
use crate::monitor::MonitorLine;

/// Findings for a run that disagrees with the catalogue.
const ALARMING: [&str; 3] = ["sequel-missing", "schema-drift", "findings-withheld"];

/// Findings that explain why a VM does not run: each one has to be expected, with its cause.
const EXPLAINING: [&str; 3] = ["why-ended", "why-paused", "why-suspended"];

/// Returns whether the record ends the VM.
pub(crate) fn is_end(record: &Record<'_>) -> bool {
    matches!(record.body, Body::Detached { .. })
}

/// Checks that the journal has the events of the raw monitor, byte for byte and in their order.
pub(crate) fn events_are_those_of(records: &[Record<'_>], lines: &[MonitorLine]) {
    let journal: Vec<String> = records.iter().filter_map(|record| as_sent(&record.body)).collect();
    let raw: Vec<&str> = lines.iter().filter(|line| line.event().is_some()).map(MonitorLine::text).collect();
    assert_eq!(journal, raw, "the journal and the raw monitor differ");
}

/// Checks that no event violates the catalogue for its release, and that no finding that was not `expected` reports
/// it.
pub(crate) fn nothing_is_wrong(
    records: &[Record<'_>],
    lines: &[MonitorLine],
    release: Release,
    expected: &[String],
) {
    for line in lines {
        let Some(event) = line.event() else { continue };
        let data = line.message.get("data").map(ToString::to_string);
        let violations = validate(event, data.as_deref(), release);
        assert!(violations.is_empty(), "{}: {violations:?}", line.text());
    }
    for record in records {
        let Body::Finding { finding, summary, data, .. } = &record.body else { continue };
        let data = data.as_deref().unwrap_or("{}");
        let value = serde_json::from_str(data).expect("JSON");
        let is_expected = expected.iter().any(|words| {
            let words = Words::read(words);
            words.name == finding && words.hold_of(&value)
        });
        // The end of every scenario whose VM has not ended by itself.
        let is_quit = value["ended_by"] == "host-qmp-quit";
        assert!(is_expected || !ALARMING.contains(&&**finding), "{finding}: {summary}");
        assert!(is_expected || is_quit || !EXPLAINING.contains(&&**finding), "{finding}: {summary} {data}");
    }
}

/// Checks that each of these events arrived.
pub(crate) fn shown(events: &[&str], lines: &[MonitorLine]) {
    for event in events {
        assert!(lines.iter().any(|line| line.event() == Some(event)), "no {event} came");
    }
}

/// Formats an event as QEMU writes it, `data` byte for byte.
pub(crate) fn as_sent(body: &Body<'_>) -> Option<String> {
    let Body::Event { name, timestamp, data, .. } = body else { return None };
    let timestamp = timestamp.expect("QEMU stamps its events");
    let (seconds, microseconds) = (timestamp.seconds(), timestamp.microseconds());
    let data = data.as_ref().map_or(String::new(), |data| format!(", \"data\": {data}"));
    Some(format!(
        "{{\"timestamp\": {{\"seconds\": {seconds}, \"microseconds\": {microseconds}}}, \"event\": \"{name}\"{data}}}"
    ))
}
