//! The values that a template can insert: the members of the record, and some that are derived from it.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::delivery::{Delivery, DeliveryOrigin};
use crate::state_end::ends_state;
use crate::{cloud_event, fields, severity};

/// The first names of paths: members of records, then derived values.
pub(super) const NAMES: [&str; 26] = [
    "causes",
    "certain_until",
    "data",
    "detail",
    "epoch",
    "event",
    "finding",
    "kind",
    "offset",
    "reason",
    "received",
    "sent_name",
    "seq",
    "snapshot",
    "summary",
    "timestamp",
    "vm",
    // Derived ones.
    "ends_at",
    "held_back",
    "host",
    "id",
    "message",
    "received_ms",
    "resolved",
    "rule",
    "severity",
];

/// The end of a state that lasts, for receivers that need one.
const FAR: &str = "9999-12-31T23:59:59Z";

/// The values of a delivery.
pub(super) fn of(delivery: &Delivery, origin: &Arc<DeliveryOrigin>) -> Value {
    let record = &delivery.record;
    let mut values: Value = serde_json::from_slice(&fields::line(record)).unwrap_or_default();
    let is_resolved = ends_state(&record.body);
    values["ends_at"] = if is_resolved { json!(record.received.to_string()) } else { json!(FAR) };
    values["held_back"] = json!(delivery.held_back);
    // A record of another host's VM has its own.
    if values.get("host").is_none() {
        values["host"] = json!(origin.host);
    }
    values["id"] = json!(cloud_event::id(record, origin));
    values["message"] = json!(fields::message(record));
    values["received_ms"] = json!(record.received.0.div_euclid(1_000));
    values["resolved"] = json!(is_resolved);
    values["rule"] = json!(origin.rule);
    values["severity"] = json!(severity::name(severity::of(&record.body)));
    values
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use qmp_findings::{ALERT, ANSWERS_AGAIN, RESOLVED};
    use qmp_wire::{Body, DetachReason, Epoch, Offset, Record, Seq, Timestamp, UnixMicros};

    use super::*;

    fn values(body: Body<'static>) -> Value {
        let (offset, received) = (Some(Offset(41)), UnixMicros(1_767_323_045_678_901));
        let record = Record { offset, vm: "web1".into(), epoch: Epoch(2), seq: Seq(7), received, body };
        let origin = DeliveryOrigin {
            rule: "chat".into(),
            host: "node1".into(),
            journal: "5f".into(),
            selects_all: false,
        };
        of(&Delivery { record, held_back: 3 }, &Arc::new(origin))
    }

    fn event(name: &'static str) -> Body<'static> {
        let timestamp = Timestamp::from_wire(1_767_323_045, 678_001).expect("in range");
        let data = Some(Cow::Borrowed("{\"device\":\"d\"}"));
        Body::Event { name: name.into(), sent_name: None, timestamp, data }
    }

    fn finding(finding: &'static str) -> Body<'static> {
        Body::Finding {
            finding: finding.into(),
            summary: "s".into(),
            causes: Vec::new(),
            data: Some("{}".into()),
        }
    }

    #[test]
    fn derived_values_describe_the_delivery() {
        let values = values(event("STOP"));
        let derived: Vec<String> =
            NAMES[17..].iter().map(|name| format!("{name}={}", values[*name])).collect();
        insta::assert_snapshot!(derived.join("\n"), @r#"
        ends_at="9999-12-31T23:59:59Z"
        held_back=3
        host="node1"
        id="5f:web1:2:7:1767323045678901"
        message="web1: STOP {\"device\":\"d\"}"
        received_ms=1767323045678
        resolved=false
        rule="chat"
        severity="lifecycle"
        "#);
    }

    #[test]
    fn record_that_ends_a_state_is_resolved() {
        let detached = Body::Detached {
            reason: DetachReason::PeerClosed,
            detail: Some("x".into()),
            certain_until: Some(UnixMicros(1)),
        };
        let cases = [
            (event("STOP"), false),
            (event("RESUME"), true),
            (event("WAKEUP"), true),
            (finding("storm"), false),
            (finding("storm-over"), true),
            (finding("flapping-over"), true),
            (finding("silent"), false),
            (finding(ANSWERS_AGAIN), true),
            (finding(ALERT), false),
            (finding(RESOLVED), true),
            (finding("why-paused"), false),
            (detached, false),
            (Body::Attached { snapshot: "{}".into() }, true),
        ];
        for (body, expected) in cases {
            let values = values(body.clone());
            assert_eq!(values["resolved"], expected, "{body:?}");
            assert_eq!(values["ends_at"] == FAR, !expected, "{body:?}");
            // A name that no template can use would be of no use.
            for name in values.as_object().expect("an object").keys() {
                assert!(NAMES.contains(&name.as_str()), "{name}");
            }
        }
    }
}
