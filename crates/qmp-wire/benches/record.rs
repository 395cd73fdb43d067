//! Writes an event's record as a line of JSON, beside `serde_json` and beside hand-written code for exactly this
//! shape.
//!
//! The load is `qmp log --json` over a long history, and a hub with many readers.
//!
//! `cargo bench -p qmp-wire --bench record` prints items (records) a second. Compare within one run.

use std::borrow::Cow;

use divan::Bencher;
use divan::counter::ItemsCount;
use qmp_wire::{Body, Epoch, Offset, Record, Seq, Timestamp, UnixMicros};
use serde::Serialize;
use serde_json::value::RawValue;

const DATA: &str = r#"{"device": "ide1-cd0", "id": "/machine/unattached/device[19]", "tray-open": true}"#;
const RECEIVED: &str = "2026-01-02T03:04:05.678901Z";
const RECORDS: usize = 1_000;

fn main() {
    divan::main();
}

fn record(number: usize) -> Record<'static> {
    Record {
        offset: Some(Offset(41 + number as u64)),
        vm: Cow::Borrowed("web1"),
        epoch: Epoch(2),
        seq: Seq(7),
        received: UnixMicros(1_767_323_045_678_901),
        body: Body::Event {
            name: Cow::Borrowed("DEVICE_TRAY_MOVED"),
            sent_name: None,
            timestamp: Timestamp::from_wire(1_767_323_045, 678_001).ok().flatten(),
            data: Some(Cow::Borrowed(DATA)),
        },
    }
}

/// Runs `write` over the records, into one buffer with sufficient capacity.
fn bench(bencher: Bencher<'_, '_>, mut write: impl FnMut(&Record<'static>, &mut Vec<u8>)) {
    let records: Vec<_> = (0..RECORDS).map(record).collect();
    let mut out = Vec::with_capacity(400);
    bencher.counter(ItemsCount::new(RECORDS)).bench_local(|| {
        for record in &records {
            out.clear();
            write(divan::black_box(record), &mut out);
            divan::black_box(&out);
        }
    });
}

/// Constants and itoa, without a search for escapes or line breaks.
fn write_by_hand(record: &Record<'_>, out: &mut Vec<u8>, received: impl FnOnce(&mut Vec<u8>)) {
    let Body::Event { name, timestamp: Some(timestamp), data: Some(data), .. } = &record.body else { return };
    let mut digits = itoa::Buffer::new();
    out.extend_from_slice(b"{\"offset\":");
    out.extend_from_slice(digits.format(record.offset.map_or(0, |offset| offset.0)).as_bytes());
    out.extend_from_slice(b",\"vm\":\"");
    out.extend_from_slice(record.vm.as_bytes());
    out.extend_from_slice(b"\",\"epoch\":");
    out.extend_from_slice(digits.format(record.epoch.0).as_bytes());
    out.extend_from_slice(b",\"seq\":");
    out.extend_from_slice(digits.format(record.seq.0).as_bytes());
    out.extend_from_slice(b",\"received\":\"");
    received(out);
    out.extend_from_slice(b"\",\"kind\":\"event\",\"event\":\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\",\"timestamp\":{\"seconds\":");
    out.extend_from_slice(digits.format(timestamp.seconds()).as_bytes());
    out.extend_from_slice(b",\"microseconds\":");
    out.extend_from_slice(digits.format(timestamp.microseconds()).as_bytes());
    out.extend_from_slice(b"},\"data\":");
    out.extend_from_slice(data.as_bytes());
    out.push(b'}');
}

/// By hand, including the date: the cost of the task.
#[divan::bench]
fn by_hand(bencher: Bencher<'_, '_>) {
    bench(bencher, |record, out| write_by_hand(record, out, |out| date_by_hand(record.received.0, out)));
}

/// By hand, with the text of the time given: less than the cost of the task.
#[divan::bench]
fn by_hand_without_date(bencher: Bencher<'_, '_>) {
    bench(bencher, |record, out| {
        write_by_hand(record, out, |out| out.extend_from_slice(divan::black_box(RECEIVED).as_bytes()));
    });
}

/// RFC 3339 with itoa, for years from 1970 to 9999.
fn date_by_hand(micros: i64, out: &mut Vec<u8>) {
    fn padded(out: &mut Vec<u8>, value: i64, width: usize, end: u8) {
        let mut digits = itoa::Buffer::new();
        let digits = digits.format(value).as_bytes();
        out.extend_from_slice(&b"000000"[..width - digits.len()]);
        out.extend_from_slice(digits);
        out.push(end);
    }
    let (seconds, micros) = (micros / 1_000_000, micros % 1_000_000);
    let days = seconds / 86_400 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    padded(out, era * 400 + year_of_era + i64::from(month <= 2), 4, b'-');
    padded(out, month, 2, b'-');
    padded(out, day_of_year - (153 * shifted + 2) / 5 + 1, 2, b'T');
    padded(out, seconds / 3600 % 24, 2, b':');
    padded(out, seconds / 60 % 60, 2, b':');
    padded(out, seconds % 60, 2, b'.');
    padded(out, micros, 6, b'Z');
}

/// This crate.
#[divan::bench]
fn write_json(bencher: Bencher<'_, '_>) {
    bench(bencher, |record, out| record.write_json(out));
}

/// The same shape by serde; the time is already formatted.
#[divan::bench]
fn serde_json_to_writer(bencher: Bencher<'_, '_>) {
    #[derive(Serialize)]
    struct Stamp {
        seconds: i64,
        microseconds: u32,
    }
    #[derive(Serialize)]
    struct Line<'a> {
        offset: u64,
        vm: &'a str,
        epoch: u32,
        seq: u64,
        received: &'a str,
        kind: &'a str,
        event: &'a str,
        timestamp: Stamp,
        data: &'a RawValue,
    }
    let data: &RawValue = serde_json::from_str(DATA).expect("valid JSON");
    bench(bencher, |record, out| {
        let Body::Event { name, timestamp: Some(timestamp), .. } = &record.body else { return };
        let line = Line {
            offset: record.offset.map_or(0, |offset| offset.0),
            vm: &record.vm,
            epoch: record.epoch.0,
            seq: record.seq.0,
            received: divan::black_box(RECEIVED),
            kind: "event",
            event: name,
            timestamp: Stamp { seconds: timestamp.seconds(), microseconds: timestamp.microseconds() },
            data,
        };
        serde_json::to_writer(out, &line).expect("a vector takes everything");
    });
}
