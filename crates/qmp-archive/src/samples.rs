//! Records for tests.

use proptest::prelude::*;
use qmp_wire::{Body, DetachReason, Epoch, Offset, Record, Seq, Timestamp, UnixMicros};

/// An event of `vm` on day `day` after 1970.
pub(super) fn event(offset: u64, vm: &'static str, day: i64) -> Record<'static> {
    Record {
        offset: Some(Offset(offset)),
        vm: vm.into(),
        epoch: Epoch(1),
        seq: Seq(offset),
        received: UnixMicros(day * 86_400_000_000 + i64::try_from(offset).unwrap()),
        body: Body::Event { name: "STOP".into(), sent_name: None, timestamp: None, data: None },
    }
}

/// Any record of a VM of this host, with this offset.
pub(super) fn any_record(offset: u64) -> impl Strategy<Value = Record<'static>> {
    (any::<String>(), any::<u32>(), 0..u64::MAX / 2, any::<i64>(), body()).prop_map(
        move |(vm, epoch, seq, received, body)| Record {
            offset: Some(Offset(offset)),
            vm: vm.into(),
            epoch: Epoch(epoch),
            seq: Seq(seq),
            received: UnixMicros(received),
            body,
        },
    )
}

fn raw() -> impl Strategy<Value = String> {
    let odd =
        ["null", "{}", "{\"a\": 1e400,\r\n \"b\":[\"\\ud800\"]}", "18446744073709551616", "\"\\u0000\""];
    prop::sample::select(odd.to_vec()).prop_map(str::to_owned)
}

fn body() -> impl Strategy<Value = Body<'static>> {
    let text = any::<String>;
    let time = prop::option::of((any::<i64>(), 0u32..1_000_000)).prop_map(|time| {
        let (seconds, microseconds) = time?;
        Timestamp::from_wire(seconds, microseconds.into()).unwrap()
    });
    let sent = prop::option::of(Just("\"\\ud800\""));
    prop_oneof![
        raw().prop_map(|snapshot| Body::Attached { snapshot: snapshot.into() }),
        (text(), sent, time, prop::option::of(raw())).prop_map(|(name, sent_name, timestamp, data)| {
            Body::Event {
                name: name.into(),
                sent_name: sent_name.map(Into::into),
                timestamp,
                data: data.map(Into::into),
            }
        }),
        (text(), text(), prop::collection::vec((any::<u32>(), any::<u64>()), 0..3), prop::option::of(raw()))
            .prop_map(|(finding, summary, causes, data)| Body::Finding {
                finding: finding.into(),
                summary: summary.into(),
                causes: causes.into_iter().map(|(epoch, seq)| (Epoch(epoch), Seq(seq))).collect(),
                data: data.map(Into::into),
            }),
        (text(), prop::option::of(text()), prop::option::of(any::<i64>())).prop_map(
            |(reason, detail, until)| {
                Body::Detached {
                    reason: DetachReason::from_wire(&reason),
                    detail: detail.map(Into::into),
                    certain_until: until.map(UnixMicros),
                }
            }
        ),
    ]
}
