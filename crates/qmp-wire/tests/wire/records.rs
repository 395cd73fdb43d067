//! Records and their lines of JSON.

use std::borrow::Cow;

use proptest::prelude::*;
use qmp_wire::{Body, DetachReason, Epoch, EventName, Offset, Record, Seq, Timestamp, UnixMicros};

fn record(offset: Option<u64>, body: Body<'static>) -> Record<'static> {
    Record {
        offset: offset.map(Offset),
        vm: "web1".into(),
        epoch: Epoch(2),
        seq: Seq(7),
        received: UnixMicros(1_767_323_045_678_901),
        body,
    }
}

fn event(name: &'static str, timestamp: Option<(i64, i64)>, data: Option<&'static str>) -> Body<'static> {
    let timestamp = timestamp.and_then(|(seconds, micros)| Timestamp::from_wire(seconds, micros).unwrap());
    Body::Event { name: name.into(), sent_name: None, timestamp, data: data.map(Cow::Borrowed) }
}

fn written(record: &Record<'_>) -> String {
    let mut out = Vec::new();
    record.write_json(&mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn record_has_its_json_line() {
    let stop = event("STOP", Some((1_767_323_045, 678_001)), None);
    insta::assert_snapshot!(written(&record(Some(41), stop.clone())), @r#"{"offset":41,"vm":"web1","epoch":2,"seq":7,"received":"2026-01-02T03:04:05.678901Z","kind":"event","event":"STOP","timestamp":{"seconds":1767323045,"microseconds":678001}}"#);
    insta::assert_snapshot!(written(&record(None, stop)), @r#"{"vm":"web1","epoch":2,"seq":7,"received":"2026-01-02T03:04:05.678901Z","kind":"event","event":"STOP","timestamp":{"seconds":1767323045,"microseconds":678001}}"#);
    let reset = event("RESET", None, Some(r#"{"guest": false,  "n": 18446744073709551615}"#));
    insta::assert_snapshot!(written(&record(Some(1), reset)), @r#"{"offset":1,"vm":"web1","epoch":2,"seq":7,"received":"2026-01-02T03:04:05.678901Z","kind":"event","event":"RESET","data":{"guest": false,  "n": 18446744073709551615}}"#);
    let attached = Body::Attached { snapshot: r#"{"address":"unix:/run/vm.sock"}"#.into() };
    insta::assert_snapshot!(written(&record(Some(1), attached)), @r#"{"offset":1,"vm":"web1","epoch":2,"seq":7,"received":"2026-01-02T03:04:05.678901Z","kind":"attached","snapshot":{"address":"unix:/run/vm.sock"}}"#);
    let detached = Body::Detached {
        reason: DetachReason::PeerClosed,
        detail: Some("\"gone\"\n".into()),
        certain_until: Some(UnixMicros(7)),
    };
    insta::assert_snapshot!(written(&record(Some(1), detached)), @r#"{"offset":1,"vm":"web1","epoch":2,"seq":7,"received":"2026-01-02T03:04:05.678901Z","kind":"detached","reason":"peer closed","detail":"\"gone\"\n","certain_until":"1970-01-01T00:00:00.000007Z"}"#);
    let finding = Body::Finding {
        finding: "sequel-missing".into(),
        summary: "WATCHDOG without RESET".into(),
        causes: vec![(Epoch(2), Seq(5)), (Epoch(2), Seq(6))],
        data: Some(r#"{"waited_ms":5000}"#.into()),
    };
    insta::assert_snapshot!(written(&record(Some(42), finding)), @r#"{"offset":42,"vm":"web1","epoch":2,"seq":7,"received":"2026-01-02T03:04:05.678901Z","kind":"finding","finding":"sequel-missing","summary":"WATCHDOG without RESET","causes":[[2,5],[2,6]],"data":{"waited_ms":5000}}"#);
}

#[test]
fn record_of_other_host_has_the_host_before_the_vm() {
    let stop = Record { vm: "node1~2/web1".into(), ..record(Some(41), event("STOP", None, None)) };
    insta::assert_snapshot!(written(&stop), @r#"{"offset":41,"host":"node1~2","vm":"web1","epoch":2,"seq":7,"received":"2026-01-02T03:04:05.678901Z","kind":"event","event":"STOP"}"#);
    assert_eq!(Record::from_json(&written(&stop)), Ok(stop));
    let odd = Record { vm: "a b/web1".into(), ..record(None, event("STOP", None, None)) };
    assert!(written(&odd).starts_with(r#"{"vm":"a b/web1","#), "not the name of a host");
    assert_eq!(Record::from_json(&written(&odd)), Ok(odd));
}

#[test]
fn pretty_data_becomes_one_line() {
    let pretty = event("X", None, Some("{\r\n    \"a\": [\r\n    ],\n\"b\": \"\\n\"\r\n}"));
    let line = written(&record(None, pretty));
    assert!(line.ends_with(r#""data":{    "a": [    ],"b": "\n"}}"#), "{line}");
    assert!(serde_json::from_str::<serde_json::Value>(&line).is_ok());
}

#[test]
fn line_of_other_release_is_parsed() {
    let line = r#" {"kind":"detached", "colour":["red"], "reason":"host \u0061sleep", "received":"1970-01-01T00:00:00.000000Z",
        "seq":9, "epoch":3, "vm":"a\"b"} "#;
    let expected = Record {
        offset: None,
        vm: "a\"b".into(),
        epoch: Epoch(3),
        seq: Seq(9),
        received: UnixMicros(0),
        body: Body::Detached {
            reason: DetachReason::Other("host asleep".into()),
            detail: None,
            certain_until: None,
        },
    };
    assert_eq!(Record::from_json(line), Ok(expected));
}

#[test]
fn line_without_record_is_refused() {
    let line = |rest: &str| {
        format!(r#"{{"vm":"a","epoch":1,"seq":1,"received":"1970-01-01T00:00:00.000000Z"{rest}}}"#)
    };
    let cases = [
        ("no JSON", "garbage".to_owned(), "expected value"),
        ("no kind", line(""), "missing field `kind`"),
        ("unknown kind", line(r#","kind":"song""#), r#"unknown kind "song""#),
        ("no event", line(r#","kind":"event""#), "missing field `event`"),
        ("no snapshot", line(r#","kind":"attached""#), "missing field `snapshot`"),
        ("no reason", line(r#","kind":"detached""#), "missing field `reason`"),
        ("no causes", line(r#","kind":"finding","finding":"x","summary":"y""#), "missing field `causes`"),
        ("no time", line(r#","kind":"event","event":"X""#).replace("1970", "then"), "is no time such as"),
        (
            "a timestamp that is none",
            line(r#","kind":"event","event":"X","timestamp":{"seconds":1,"microseconds":-7}"#),
            "microseconds -7 are not in 0..1000000",
        ),
        (
            "no name of a host",
            line(r#","host":"a b","kind":"event","event":"X""#),
            r#"`host` "a b" and `vm` "a" do not name a VM"#,
        ),
        ("no vm", line(r#","kind":"event","event":"X""#).replace("vm", "mv"), "missing field `vm`"),
    ];
    for (name, line, expected) in cases {
        let error = Record::from_json(&line).unwrap_err().to_string();
        assert!(error.starts_with("not a record: ") && error.contains(expected), "{name}: {error}");
    }
}

#[test]
fn detach_reason_keeps_its_text() {
    let cases = [
        (DetachReason::PeerClosed, "peer closed"),
        (DetachReason::Overrun, "overrun"),
        (DetachReason::HubStopped, "hub stopped"),
        (DetachReason::Removed, "removed"),
        (DetachReason::RecordsLost, "records lost"),
        (DetachReason::SourceLost, "source lost"),
        (DetachReason::ProtocolError, "protocol error"),
        (DetachReason::Other("host asleep".into()), "host asleep"),
    ];
    for (reason, text) in cases {
        assert_eq!((reason.to_string().as_str(), DetachReason::from_wire(text)), (text, reason));
    }
}

fn raw() -> impl Strategy<Value = String> {
    prop::sample::select(
        &[
            "null",
            "{}",
            "[ 1 ,2 ]",
            "18446744073709551615",
            "1e999",
            r#"{"a": "\ud800 é", "b" :-0.0}"#,
            r#""x""#,
        ][..],
    )
    .prop_map(str::to_owned)
}

fn vm() -> impl Strategy<Value = String> {
    prop_oneof![any::<String>(), "[a-z0-9~. -]{0,6}/[a-z0-9/. -]{0,6}"]
}

fn name() -> impl Strategy<Value = EventName<'static>> {
    prop_oneof![
        any::<String>().prop_map(|text| EventName::from_text(text.into())),
        prop::sample::select(&[r#""X\ud83d""#, r#""\ude00\ud83d\u0041""#][..])
            .prop_map(|json| EventName::from_json(json).unwrap()),
    ]
}

fn body() -> impl Strategy<Value = Body<'static>> {
    let time = prop::option::of((any::<i64>(), 0i64..1_000_000));
    prop_oneof![
        raw().prop_map(|snapshot| Body::Attached { snapshot: snapshot.into() }),
        (name(), time, prop::option::of(raw())).prop_map(|(name, time, data)| Body::Event {
            name: name.name,
            sent_name: name.sent,
            timestamp: time.and_then(|(seconds, micros)| Timestamp::from_wire(seconds, micros).unwrap()),
            data: data.map(Cow::Owned),
        }),
        (
            any::<String>(),
            any::<String>(),
            prop::collection::vec(any::<(u32, u64)>(), 0..4),
            prop::option::of(raw())
        )
            .prop_map(|(finding, summary, causes, data)| Body::Finding {
                finding: finding.into(),
                summary: summary.into(),
                causes: causes.into_iter().map(|(epoch, seq)| (Epoch(epoch), Seq(seq))).collect(),
                data: data.map(Cow::Owned),
            }),
        (any::<String>(), prop::option::of(any::<String>()), prop::option::of(any::<i64>())).prop_map(
            |(reason, detail, certain_until)| Body::Detached {
                reason: DetachReason::from_wire(&reason),
                detail: detail.map(Cow::Owned),
                certain_until: certain_until.map(UnixMicros),
            }
        ),
    ]
}

proptest! {
    /// Writing and parsing does not change a record, and its text is one line of JSON.
    #[test]
    fn record_survives_its_line(
        offset in prop::option::of(any::<u64>()), vm in vm(), epoch: u32, seq: u64, received: i64, body in body(),
    ) {
        let record = Record {
            offset: offset.map(Offset),
            vm: vm.into(),
            epoch: Epoch(epoch),
            seq: Seq(seq),
            received: UnixMicros(received),
            body,
        };
        let line = written(&record);
        prop_assert!(!line.contains(['\n', '\r']));
        prop_assert_eq!(Record::from_json(&line), Ok(record.clone()));
        prop_assert_eq!(record.clone().into_owned(), record);
    }
}
