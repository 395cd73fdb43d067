//! A record as a log record of OpenTelemetry: an event with its name, the VM's clock and ours, and attributes.
//!
//! Source: OpenTelemetry, "Logs Data Model"; `log.record.uid` of the semantic conventions identifies a repeated record.

use opentelemetry_proto::tonic::common::v1::any_value::Value as Content;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, SeverityNumber};
use opentelemetry_proto::tonic::resource::v1::Resource;
use qmp_events::EventSeverity;
use qmp_wire::{Body, QualifiedName, UnixMicros};
use serde_json::{Value, json};

use super::any_value::member;
use crate::delivery::{Delivery, DeliveryOrigin};
use crate::status::cut;
use crate::{cloud_event, fields, severity};

/// Members of the data that become attributes: back ends limit attributes to about 128. The number of others is in
/// `dropped_attributes_count`.
const DATA_ATTRIBUTES_MAX: usize = 64;

/// The longest body, in bytes: one line of a screen; the attributes have the data.
const BODY_MAX_BYTES: usize = 2 << 10;

/// The program and host that the records come from.
pub(super) fn resource(origin: &DeliveryOrigin) -> Resource {
    let attributes = vec![
        member("service.name", json!("qmp")),
        member("service.version", json!(env!("CARGO_PKG_VERSION"))),
        member("host.name", json!(origin.host)),
        member("qmp.journal", json!(origin.journal)),
    ];
    Resource { attributes, dropped_attributes_count: 0, entity_refs: Vec::new() }
}

pub(super) fn scope() -> InstrumentationScope {
    let (name, version) = ("qmp-events".to_owned(), env!("CARGO_PKG_VERSION").to_owned());
    InstrumentationScope { name, version, attributes: Vec::new(), dropped_attributes_count: 0 }
}

/// Converts a record. The same record always gives the same log record, except for the number of records held back.
pub(super) fn of(delivery: &Delivery, origin: &DeliveryOrigin) -> LogRecord {
    let record = &delivery.record;
    let severity = severity::of(&record.body);
    let (attributes, dropped_attributes_count) = attributes(delivery, origin);
    let body = cut(&fields::message(record), BODY_MAX_BYTES);
    LogRecord {
        time_unix_nano: happened_nanos(&record.body).unwrap_or_else(|| nanos(record.received)),
        observed_time_unix_nano: nanos(record.received),
        severity_number: severity_number(severity).into(),
        severity_text: severity::name(severity).into(),
        body: Some(AnyValue { value: Some(Content::StringValue(body)) }),
        attributes,
        dropped_attributes_count,
        event_name: cloud_event::ty(&record.body),
        ..LogRecord::default()
    }
}

/// The attributes, and the number of those that were left out.
fn attributes(delivery: &Delivery, origin: &DeliveryOrigin) -> (Vec<KeyValue>, u32) {
    let record = &delivery.record;
    let (host, vm) = QualifiedName::divide(&record.vm);
    let mut found = vec![
        member("log.record.uid", json!(cloud_event::id(record, origin))),
        member("qmp.vm", json!(vm)),
        member("qmp.kind", json!(record.body.kind())),
        member("qmp.epoch", json!(record.epoch.0)),
        member("qmp.seq", json!(record.seq.0)),
    ];
    let mut add = |name: &str, value: Value| found.push(member(name, value));
    if let Some(host) = host {
        add("qmp.host", json!(host));
    }
    if let Some(offset) = record.offset {
        add("qmp.offset", json!(offset.0));
    }
    if delivery.held_back > 0 {
        add("qmp.held_back", json!(delivery.held_back));
    }
    let data = match &record.body {
        Body::Event { name, data, .. } => {
            add("qmp.event", json!(name));
            data
        }
        Body::Finding { finding, summary, causes, data } => {
            add("qmp.finding", json!(finding));
            add("qmp.summary", json!(summary));
            let causes = causes.iter().map(|(epoch, seq)| format!("{}.{}", epoch.0, seq.0));
            add("qmp.causes", causes.collect());
            data
        }
        Body::Detached { reason, detail, certain_until } => {
            add("qmp.reason", json!(reason.as_str()));
            if let Some(detail) = detail {
                add("qmp.detail", json!(detail));
            }
            if let Some(certain_until) = certain_until {
                add("qmp.certain_until", json!(certain_until.to_string()));
            }
            &None
        }
        Body::Attached { snapshot } => {
            add("qmp.snapshot", json!(snapshot));
            &None
        }
    };
    let dropped = data.as_deref().map_or(0, |data| add_data(data, &mut found));
    (found, dropped)
}

/// Adds the members of the data; returns the number of those that were left out.
fn add_data(data: &str, attributes: &mut Vec<KeyValue>) -> u32 {
    match serde_json::from_str(data) {
        Ok(Value::Object(members)) => {
            let dropped = members.len().saturating_sub(DATA_ATTRIBUTES_MAX);
            let kept = members.into_iter().take(DATA_ATTRIBUTES_MAX);
            attributes.extend(kept.map(|(name, value)| member(format!("qmp.data.{name}"), value)));
            u32::try_from(dropped).unwrap_or(u32::MAX)
        }
        // Data of another type, or nested too deep to be read.
        _ => {
            attributes.push(member("qmp.data", json!(data)));
            0
        }
    }
}

/// When the VM says that it happened, on its host's clock.
fn happened_nanos(body: &Body<'_>) -> Option<u64> {
    let Body::Event { timestamp: Some(timestamp), .. } = body else { return None };
    let seconds = u64::try_from(timestamp.seconds()).ok()?;
    seconds.checked_mul(1_000_000_000)?.checked_add(u64::from(timestamp.microseconds()) * 1_000)
}

fn nanos(at: UnixMicros) -> u64 {
    u64::try_from(at.0).unwrap_or(0).saturating_mul(1_000)
}

/// "Logs Data Model", appendix B: a notice of syslog, as the machine's stops and starts are, is INFO2.
fn severity_number(severity: EventSeverity) -> SeverityNumber {
    match severity {
        EventSeverity::Error => SeverityNumber::Error,
        EventSeverity::Warning => SeverityNumber::Warn,
        EventSeverity::Lifecycle => SeverityNumber::Info2,
        EventSeverity::Success | EventSeverity::Info => SeverityNumber::Info,
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use proptest::prelude::*;
    use prost::Message as _;
    use qmp_wire::{DetachReason, Epoch, Offset, Record, Seq, Timestamp};

    use super::*;

    fn log_record(body: Body<'static>) -> LogRecord {
        let (offset, received) = (Some(Offset(41)), UnixMicros(1_767_323_045_678_901));
        let record = Record { offset, vm: "web1".into(), epoch: Epoch(2), seq: Seq(7), received, body };
        let origin = DeliveryOrigin {
            rule: "r".into(),
            host: "node1".into(),
            journal: "5f".into(),
            selects_all: false,
        };
        of(&Delivery { record, held_back: 0 }, &origin)
    }

    fn event(data: impl Into<Cow<'static, str>>) -> Body<'static> {
        let timestamp = Timestamp::from_wire(1_767_323_045, 678_001).expect("in range");
        Body::Event { name: "BLOCK_IO_ERROR".into(), sent_name: None, timestamp, data: Some(data.into()) }
    }

    fn shown(record: &LogRecord) -> String {
        let attributes = record.attributes.iter().map(|attribute| {
            let value = attribute.value.as_ref().and_then(|value| value.value.as_ref());
            format!("{}={value:?}", attribute.key)
        });
        attributes.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn event_has_both_clocks_severity_and_attributes() {
        let record = log_record(event(r#"{"device": "d", "nospace": true, "n": 5}"#));
        assert_eq!(record.time_unix_nano, 1_767_323_045_678_001_000);
        assert_eq!(record.observed_time_unix_nano, 1_767_323_045_678_901_000);
        assert_eq!((record.severity_number, &*record.severity_text), (17, "error"));
        assert_eq!(record.event_name, "org.qemu.qmp.BLOCK_IO_ERROR");
        insta::assert_snapshot!(shown(&record), @r#"
        log.record.uid=Some(StringValue("5f:web1:2:7:1767323045678901"))
        qmp.vm=Some(StringValue("web1"))
        qmp.kind=Some(StringValue("event"))
        qmp.epoch=Some(IntValue(2))
        qmp.seq=Some(IntValue(7))
        qmp.offset=Some(IntValue(41))
        qmp.event=Some(StringValue("BLOCK_IO_ERROR"))
        qmp.data.device=Some(StringValue("d"))
        qmp.data.n=Some(IntValue(5))
        qmp.data.nospace=Some(BoolValue(true))
        "#);
    }

    #[test]
    fn time_of_record_without_timestamp_is_that_of_receipt() {
        let detached = Body::Detached {
            reason: DetachReason::PeerClosed,
            detail: Some("x".into()),
            certain_until: None,
        };
        let record = log_record(detached);
        assert_eq!(record.time_unix_nano, record.observed_time_unix_nano);
        assert_eq!((record.severity_number, &*record.event_name), (10, "io.github.qmp-events.detached"));
        assert!(
            shown(&record).ends_with(
                "qmp.reason=Some(StringValue(\"peer closed\"))\nqmp.detail=Some(StringValue(\"x\"))"
            )
        );
    }

    proptest! {
        /// For any data of a VM, the message can be read back, and has a bounded number of attributes.
        #[test]
        fn any_data_is_read_back(members in prop::collection::hash_map(".{0,20}", ".{0,20}", 0..100)) {
            let data = serde_json::to_string(&members).expect("JSON");
            let record = log_record(event(data));
            prop_assert!(record.attributes.len() <= DATA_ATTRIBUTES_MAX + 7);
            let kept = record.attributes.len() - 7;
            prop_assert_eq!(kept + record.dropped_attributes_count as usize, members.len());
            prop_assert_eq!(LogRecord::decode(&*record.encode_to_vec()), Ok(record));
        }
    }
}
