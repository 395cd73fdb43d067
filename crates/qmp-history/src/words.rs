//! The words of summaries: what each record changes of its VM.
//!
//! | track | values |
//! |---|---|
//! | [`STATE`] | the run state of an attached VM |
//! | [`WATCH`] | empty while the VM is attached, or else the reason why it is not |
//! | [`END`] | `ended` or `gone` if QEMU ended when the last epoch closed |
//!
//! A finding that lasts is opened and closed by its kind, with a space and its subject if it has several; every other one
//! is a span.

use std::borrow::Cow;

use qmp_findings::{
    ANSWERS_AGAIN, FindingExtent, FindingKind, HOST_ANSWERS_AGAIN, HOST_SILENT, QUERY, SILENT, TWO_HOSTS,
    TWO_HOSTS_OVER, is_evidence, snapshot_run_state,
};
use qmp_journal::{Change, ChangeKind, Class, Digest, Track};
use qmp_wire::{Body, Epoch, Record, Seq, UnixMicros};
use serde_json::Value;

use crate::severity;

pub(crate) const STATE: Track = Track::new(0);
pub(crate) const WATCH: Track = Track::new(1);
pub(crate) const END: Track = Track::new(2);

const PAUSED: &str = "why-paused";
const SUSPENDED: &str = "why-suspended";
const ENDED: &str = "why-ended";

/// The kind of the finding that closes a word, if a finding does.
pub(crate) fn closing_kind(word: &str) -> Option<&'static str> {
    match kind_of(word) {
        "storm" => Some("storm-over"),
        "flapping" => Some("flapping-over"),
        SILENT => Some(ANSWERS_AGAIN),
        TWO_HOSTS => Some(TWO_HOSTS_OVER),
        HOST_SILENT => Some(HOST_ANSWERS_AGAIN),
        _ => None,
    }
}

/// The kind of finding in a word.
pub(crate) fn kind_of(word: &str) -> &str {
    word.split(' ').next().unwrap_or_default()
}

/// Derives run states, gaps and findings from records.
pub const DIGEST: &dyn Digest = &Words;

#[derive(Debug)]
struct Words;

impl Digest for Words {
    fn version(&self) -> u32 {
        2
    }

    fn digest(&self, received: UnixMicros, body: &Body<'_>, changes: &mut Vec<Change<'static>>) -> Class {
        match body {
            Body::Event { name, .. } => event(name, received, changes),
            Body::Attached { snapshot } => attached(snapshot, received, changes),
            Body::Detached { reason, .. } => {
                let at = certain_until(received, body);
                push(changes, at, set(WATCH, reason.as_str().to_owned()));
                push(changes, at, set(END, ""));
                push(changes, at, ChangeKind::CloseAll);
            }
            Body::Finding { finding, data, .. } => {
                let of_hub = is_evidence(&record(received, body));
                let data =
                    || data.as_deref().and_then(|data| serde_json::from_str(data).ok()).unwrap_or_default();
                if !of_hub {
                    self::finding(finding, &data(), received, changes);
                } else if finding == QUERY {
                    answer(&data(), received, changes);
                }
                return severity::class(body, of_hub);
            }
        }
        severity::class(body, false)
    }
}

fn push(changes: &mut Vec<Change<'static>>, at: UnixMicros, kind: ChangeKind<'static>) {
    changes.push(Change { at, kind });
}

fn set(track: Track, word: impl Into<Cow<'static, str>>) -> ChangeKind<'static> {
    ChangeKind::Set { track, word: word.into() }
}

/// A record with this body. Its identity does not matter here.
fn record<'a>(received: UnixMicros, body: &Body<'a>) -> Record<'a> {
    Record { offset: None, vm: "".into(), epoch: Epoch(0), seq: Seq(0), received, body: body.clone() }
}

fn certain_until(received: UnixMicros, body: &Body<'_>) -> UnixMicros {
    record(received, body).certain_until().unwrap_or(received)
}

fn event(name: &str, at: UnixMicros, changes: &mut Vec<Change<'static>>) {
    let close = |word: &'static str| ChangeKind::Close { word: word.into() };
    match name {
        "STOP" => push(changes, at, set(STATE, "paused")),
        "RESUME" => {
            push(changes, at, set(STATE, "running"));
            push(changes, at, close(PAUSED));
            push(changes, at, close(SUSPENDED));
        }
        "SUSPEND" => push(changes, at, set(STATE, "suspended")),
        "WAKEUP" => {
            push(changes, at, set(STATE, "running"));
            push(changes, at, close(SUSPENDED));
        }
        _ => {}
    }
}

fn attached(snapshot: &str, at: UnixMicros, changes: &mut Vec<Change<'static>>) {
    let value: Value = serde_json::from_str(snapshot).unwrap_or_default();
    let status = snapshot_run_state(&value);
    push(changes, at, set(STATE, status.and_then(run_state).unwrap_or("unknown").to_owned()));
    push(changes, at, set(WATCH, ""));
    push(changes, at, set(END, ""));
}

/// The VM's answer to a question of the hub.
fn answer(data: &Value, at: UnixMicros, changes: &mut Vec<Change<'static>>) {
    let status = data.pointer("/return/status").and_then(Value::as_str);
    if data["execute"] == "query-status"
        && let Some(status) = status.and_then(run_state)
    {
        push(changes, at, set(STATE, status.to_owned()));
    }
}

fn finding(kind: &str, data: &Value, at: UnixMicros, changes: &mut Vec<Change<'static>>) {
    let text = |member: &str| data.get(member).and_then(Value::as_str);
    let moment = |member: &str| text(member).and_then(|text| text.parse::<UnixMicros>().ok());
    let before = |member: &str| before(at, data.get(member).and_then(Value::as_f64));
    let open = |word: String| ChangeKind::Open { word: word.into() };
    let close = |word: String| ChangeKind::Close { word: word.into() };
    let subject =
        || [text("event"), text("what"), text("subject")].into_iter().flatten().collect::<Vec<_>>().join(" ");
    let span =
        |from, until| Change { at: from, kind: ChangeKind::Span { word: kind.to_owned().into(), until } };
    let state = text("run_state").and_then(run_state);
    match kind {
        "storm" | "flapping" => push(changes, before("span_seconds"), open(format!("{kind} {}", subject()))),
        "storm-over" | "flapping-over" => {
            push(changes, at, close(format!("{} {}", kind.trim_end_matches("-over"), subject())));
        }
        SILENT => push(changes, moment("silent_since").unwrap_or(at), open(kind.to_owned())),
        ANSWERS_AGAIN => push(changes, at, close(SILENT.to_owned())),
        HOST_SILENT => push(changes, moment("last_heard").unwrap_or(at), open(kind.to_owned())),
        HOST_ANSWERS_AGAIN => push(changes, at, close(HOST_SILENT.to_owned())),
        TWO_HOSTS => push(changes, moment("since").unwrap_or(at), open(kind.to_owned())),
        TWO_HOSTS_OVER => push(changes, at, close(TWO_HOSTS.to_owned())),
        PAUSED | SUSPENDED => {
            if let Some(state) = state {
                push(changes, at, set(STATE, state.to_owned()));
            }
            push(changes, at, open(kind.to_owned()));
        }
        ENDED => {
            let from = moment("ended_after").unwrap_or(at);
            let end = if text("run_state") == Some("gone") { "gone" } else { "ended" };
            push(changes, from, set(END, end));
            changes.push(span(from, moment("ended_before").unwrap_or(at)));
        }
        _ => match FindingKind::from_name(kind).map(|kind| kind.extent) {
            Some(FindingExtent::Span(member)) => changes.push(span(before(member), at)),
            Some(FindingExtent::Moment) | None => changes.push(span(at, at)),
            // The arms above are the rules.
            Some(FindingExtent::OwnRule) => {}
        },
    }
}

/// `seconds` before a time; the time itself for a number that no span has.
fn before(at: UnixMicros, seconds: Option<f64>) -> UnixMicros {
    // A hundred years: the longest job is shorter, and the product is exact enough.
    let seconds = seconds.filter(|seconds| (0.0..3.2e9).contains(seconds)).unwrap_or(0.0);
    #[expect(clippy::cast_possible_truncation, reason = "at most 3.2e15")]
    let micros = (seconds * 1e6).round() as i64;
    UnixMicros(at.0.saturating_sub(micros))
}

/// A word that may be a run state; a peer may send any text.
fn run_state(status: &str) -> Option<&str> {
    let is_word = (1..=32).contains(&status.len())
        && status.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
    is_word.then_some(status)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use qmp_findings::KINDS;

    use super::*;

    fn digested(body: &Body<'_>) -> Vec<String> {
        let mut changes = Vec::new();
        DIGEST.digest(UnixMicros(10_000_000), body, &mut changes);
        let text = |Change { at, kind }: Change<'_>| match kind {
            ChangeKind::Set { track, word } => format!("{} set {} {word}", at.0, track.number()),
            ChangeKind::Open { word } => format!("{} open {word}", at.0),
            ChangeKind::Close { word } => format!("{} close {word}", at.0),
            ChangeKind::CloseAll => format!("{} close all", at.0),
            ChangeKind::Span { word, until } => format!("{} span {word} {}", at.0, until.0),
        };
        changes.into_iter().map(text).collect()
    }

    fn finding(kind: &'static str, data: &'static str) -> Body<'static> {
        Body::Finding {
            finding: kind.into(),
            summary: "".into(),
            causes: Vec::new(),
            data: Some(data.into()),
        }
    }

    fn event(name: &'static str) -> Body<'static> {
        Body::Event { name: name.into(), sent_name: None, timestamp: None, data: None }
    }

    #[test]
    fn record_changes_what_it_says() {
        let attached = |snapshot: &'static str| Body::Attached { snapshot: snapshot.into() };
        let cases: [(Body<'_>, &[&str]); 14] = [
            (event("STOP"), &["10000000 set 0 paused"]),
            (
                event("RESUME"),
                &["10000000 set 0 running", "10000000 close why-paused", "10000000 close why-suspended"],
            ),
            (event("RTC_CHANGE"), &[]),
            (
                attached(r#"{"query-status":{"status":"io-error"}}"#),
                &["10000000 set 0 io-error", "10000000 set 1 ", "10000000 set 2 "],
            ),
            (
                attached(r#"{"query-status":{"status":"<script>"}}"#),
                &["10000000 set 0 unknown", "10000000 set 1 ", "10000000 set 2 "],
            ),
            (
                Body::Detached {
                    reason: qmp_wire::DetachReason::HubStopped,
                    detail: None,
                    certain_until: Some(UnixMicros(4)),
                },
                &["4 set 1 hub stopped", "4 set 2 ", "4 close all"],
            ),
            (
                finding("why-paused", r#"{"run_state":"io-error"}"#),
                &["10000000 set 0 io-error", "10000000 open why-paused"],
            ),
            (
                finding("why-ended", r#"{"run_state":"gone"}"#),
                &["10000000 set 2 gone", "10000000 span why-ended 10000000"],
            ),
            (finding("storm", r#"{"event":"STOP","span_seconds":4.1}"#), &["5900000 open storm STOP"]),
            (finding("storm-over", r#"{"event":"STOP","span_seconds":75}"#), &["10000000 close storm STOP"]),
            (finding("flapping", r#"{"what":"port","subject":"a b"}"#), &["10000000 open flapping port a b"]),
            (finding("job", r#"{"duration_seconds":2.5}"#), &["7500000 span job 10000000"]),
            (
                finding("query", r#"{"execute":"query-status","return":{"status":"internal-error"}}"#),
                &["10000000 set 0 internal-error"],
            ),
            (finding("command", r#"{"execute":"stop"}"#), &[]),
        ];
        for (body, expected) in cases {
            assert_eq!(digested(&body), expected, "{body:?}");
        }
    }

    /// Each kind of finding is in the summary, so that it can be counted.
    #[test]
    fn every_kind_of_finding_changes_something() {
        for kind in KINDS {
            assert_ne!(digested(&finding(kind.name, "{}")), [""; 0], "{}", kind.name);
        }
    }

    proptest! {
        /// Every record has words.
        #[test]
        fn hostile_data_never_panics(kind in prop::sample::select(KINDS), data in ".*", number in any::<f64>()) {
            let texts = [data, format!("{{\"duration_seconds\":{number:e},\"span_seconds\":{number:e}}}")];
            for data in texts {
                let body = Body::Finding { finding: kind.name.into(), summary: "".into(), causes: Vec::new(), data: Some(data.clone().into()) };
                let mut changes = Vec::new();
                DIGEST.digest(UnixMicros(i64::MIN), &body, &mut changes);
                DIGEST.digest(UnixMicros(0), &Body::Attached { snapshot: data.into() }, &mut changes);
            }
        }
    }
}
