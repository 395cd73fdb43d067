//! A record as a CloudEvent, version 1.0, in structured JSON.
//!
//! Its id consists of the journal's own name, the record's identity (VM, epoch, sequence number) and its time of
//! receipt. The same record always has the same id, so receivers can recognize a repeated delivery. Two records never
//! share an id: a new journal has another name, and records that follow a restored backup, which reuses numbers, have
//! another time of receipt.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, PercentEncode, utf8_percent_encode};
use qmp_wire::{Body, QualifiedName, Record};
use serde_json::json;

use super::delivery::DeliveryOrigin;
use super::fields;

/// The media type of one event in structured JSON.
pub(super) const MEDIA_TYPE: &str = "application/cloudevents+json; charset=utf-8";

/// The prefix of the types of records that are not events of QEMU.
const OWN_TYPES: &str = "io.github.qmp-events";

/// A CloudEvent: its id, and its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CloudEvent {
    pub(super) id: String,
    pub(super) text: Vec<u8>,
}

/// Writes `record`. The same record always gives the same bytes.
pub(super) fn of(record: &Record<'_>, origin: &DeliveryOrigin) -> CloudEvent {
    let Record { vm, received, .. } = record;
    let (id, ty, source) = (id(record, origin), ty(&record.body), source(record, origin));
    let (_, vm) = QualifiedName::divide(vm);
    let (ty, source) = (json!(ty), json!(source));
    let mut text = format!(
        "{{\"specversion\":\"1.0\",\"id\":{},\"source\":{source},\"type\":{ty},\"time\":\"{received}\",\"subject\":{},\
         \"datacontenttype\":\"application/json\",\"data\":",
        json!(id),
        json!(vm),
    )
    .into_bytes();
    text.extend_from_slice(&fields::line(record));
    text.push(b'}');
    CloudEvent { id, text }
}

/// The id of a record, the same at each delivery.
pub(super) fn id(record: &Record<'_>, origin: &DeliveryOrigin) -> String {
    let Record { vm, epoch, seq, received, .. } = record;
    format!("{}:{vm}:{}:{}:{}", origin.journal, epoch.0, seq.0, received.0)
}

/// The source of a record: its VM, on this host or on the one in its qualified name.
pub(super) fn source(record: &Record<'_>, origin: &DeliveryOrigin) -> String {
    let (host, vm) = QualifiedName::divide(&record.vm);
    format!("/host/{}/vm/{}", encoded(host.unwrap_or(&origin.host)), encoded(vm))
}

/// The type of a record, by its name.
pub(super) fn ty(body: &Body<'_>) -> String {
    match body {
        Body::Event { name, .. } => format!("org.qemu.qmp.{name}"),
        Body::Finding { finding, .. } => format!("{OWN_TYPES}.finding.{finding}"),
        Body::Attached { .. } | Body::Detached { .. } => format!("{OWN_TYPES}.{}", body.kind()),
    }
}

/// All characters but the unreserved ones of RFC 3986.
const RESERVED: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Percent-encodes a segment of a URI.
fn encoded(segment: &str) -> PercentEncode<'_> {
    utf8_percent_encode(segment, &RESERVED)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;
    use qmp_wire::{DetachReason, Epoch, Offset, Seq, UnixMicros};
    use serde_json::Value;

    use super::*;

    fn origin(journal: &str) -> DeliveryOrigin {
        DeliveryOrigin {
            rule: "r".into(),
            host: "host 1".into(),
            journal: journal.into(),
            selects_all: false,
        }
    }

    fn record(epoch: u32, seq: u64, received: i64, body: Body<'static>) -> Record<'static> {
        let (epoch, seq, received) = (Epoch(epoch), Seq(seq), UnixMicros(received));
        Record { offset: Some(Offset(41)), vm: "web1".into(), epoch, seq, received, body }
    }

    fn stop() -> Body<'static> {
        Body::Event {
            name: "STOP".into(),
            sent_name: None,
            timestamp: None,
            data: Some(r#"{"a": 1.50}"#.into()),
        }
    }

    #[test]
    fn event_is_written_as_structured_json() {
        let event = of(&record(2, 7, 1_767_323_045_678_901, stop()), &origin("00ff"));
        insta::assert_snapshot!(String::from_utf8(event.text).expect("UTF-8"), @r#"{"specversion":"1.0","id":"00ff:web1:2:7:1767323045678901","source":"/host/host%201/vm/web1","type":"org.qemu.qmp.STOP","time":"2026-01-02T03:04:05.678901Z","subject":"web1","datacontenttype":"application/json","data":{"offset":41,"vm":"web1","epoch":2,"seq":7,"received":"2026-01-02T03:04:05.678901Z","kind":"event","event":"STOP","data":{"a": 1.50}}}"#);
    }

    #[test]
    fn type_names_the_event_finding_or_kind() {
        let finding = Body::Finding {
            finding: "why-ended".into(),
            summary: "x".into(),
            causes: Vec::new(),
            data: None,
        };
        let detached = Body::Detached { reason: DetachReason::PeerClosed, detail: None, certain_until: None };
        let cases = [
            (stop(), "org.qemu.qmp.STOP"),
            (finding, "io.github.qmp-events.finding.why-ended"),
            (detached, "io.github.qmp-events.detached"),
            (Body::Attached { snapshot: "{}".into() }, "io.github.qmp-events.attached"),
        ];
        for (body, expected) in cases {
            let event = of(&record(1, 1, 0, body), &origin("a"));
            let event: Value = serde_json::from_slice(&event.text).expect("JSON");
            assert_eq!(event["type"], expected);
        }
    }

    proptest! {
        /// The same record has the same id and the same bytes, and two records never have one id.
        #[test]
        fn id_identifies_one_record(
            records in prop::collection::vec((0u8..2, 1u32..12, 0u64..12, 0i64..12), 1..60),
        ) {
            let mut seen = HashMap::new();
            for (journal, epoch, seq, received) in records {
                let origin = origin(if journal == 0 { "a" } else { "b" });
                let event = of(&record(epoch, seq, received, stop()), &origin);
                let identity = (journal, epoch, seq, received);
                let other = seen.insert(event.id.clone(), (identity, event.text.clone()));
                prop_assert!(other.is_none_or(|other| other == (identity, event.text)));
            }
        }
    }
}
