//! Two monitors of one QEMU: one read by a hub that is killed repeatedly, one raw.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

use qmp_testing::wait_for;
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    hub::{HubHome, title},
    qemu::{Qemu, RawMonitor},
};

const EVENTS: usize = 10_000;
const KILLS: usize = 6;

/// The journal's events of each epoch are a contiguous piece of the raw stream, byte for byte; missing events lie between
/// epochs; and lines that were shown before a kill are still in the journal.
#[test]
fn epochs_of_a_killed_hub_are_pieces_of_the_raw_stream() {
    let folder = TempDir::new().unwrap();
    let Some(qemu) = Qemu::start(&folder, &["hub", "raw", "drive"], &[]) else { return };
    let home = HubHome::new(&folder);
    let count = Arc::new(AtomicUsize::new(0));
    let raw = read_raw(RawMonitor::connect(&qemu.socket("raw")), Arc::clone(&count));
    let enough = Arc::new(AtomicBool::new(false));
    let driver = drive(RawMonitor::connect(&qemu.socket("drive")), Arc::clone(&enough));

    let mut shown = Vec::new();
    for round in 1..=KILLS {
        let hub = home.serve(&[("vm1", &qemu.address("hub"))]);
        let tail = home.listen(&["tail", "vm1", "--json"]);
        shown.push(tail.next());
        wait_for("events", || (count.load(Ordering::Relaxed) >= EVENTS * round / (KILLS + 1)).then_some(()));
        hub.kill();
        shown.extend(tail.rest());
    }
    let hub = home.serve(&[("vm1", &qemu.address("hub"))]);
    wait_for("all events", || (count.load(Ordering::Relaxed) >= EVENTS).then_some(()));
    enough.store(true, Ordering::Relaxed);
    driver.join().expect("the driver ends");
    wait_for("the end of the epoch", || (home.last_title()? == "detached").then_some(()));
    hub.stop();
    let raw = raw.join().expect("the reader ends");

    assert!(raw.len() >= EVENTS, "{} events", raw.len());
    let journal = home.run(&["log", "--json"]);
    let journal = String::from_utf8(journal.stdout).unwrap();
    assert_pieces_of(&raw, &journal);
    let by_offset: HashMap<u64, &str> = journal.lines().map(|line| (offset_of(line), line)).collect();
    for line in &shown {
        assert_eq!(by_offset.get(&offset_of(line)), Some(&line.as_str()), "shown, and missing later");
    }
    assert!(shown.len() > KILLS, "the tails saw {} lines", shown.len());
}

/// Reads events until the stream ends.
fn read_raw(mut monitor: RawMonitor, count: Arc<AtomicUsize>) -> thread::JoinHandle<Vec<String>> {
    thread::spawn(move || {
        let mut lines = Vec::new();
        while let Some(line) = monitor.next_line() {
            assert!(line.contains(r#""event": "#), "the raw monitor gets only events: {line}");
            lines.push(line);
            count.fetch_add(1, Ordering::Relaxed);
        }
        lines
    })
}

/// Stops and resumes the machine, with some resets between, until `enough` is set; then quits.
fn drive(mut monitor: RawMonitor, enough: Arc<AtomicBool>) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        while !enough.load(Ordering::Relaxed) {
            for _ in 0..50 {
                monitor.execute(r#"{"execute": "stop"}"#);
                monitor.execute(r#"{"execute": "cont"}"#);
            }
            monitor.execute(r#"{"execute": "system_reset"}"#);
        }
        monitor.send(r#"{"execute": "quit"}"#);
        while monitor.next_line().is_some() {}
    })
}

/// Compares each epoch's events with the raw stream.
#[track_caller]
fn assert_pieces_of(raw: &[String], journal: &str) {
    let mut position = 0;
    let mut held = 0;
    let mut offset = 0;
    let mut opening = false;
    for line in journal.lines() {
        offset += 1;
        assert_eq!(offset_of(line), offset, "offsets have no holes");
        let record: Value = serde_json::from_str(line).expect("a record");
        if title(&record) == "attached" {
            opening = true;
        }
        if record["kind"] != "event" {
            continue;
        }
        let event = as_sent(&record, line);
        if opening {
            // Between two epochs events may be missing: find the beginning of this one.
            let skipped = raw[position..].iter().position(|line| *line == event);
            position += skipped.unwrap_or_else(|| panic!("not in the raw stream: {event}"));
            opening = false;
        }
        assert_eq!(raw[position], event, "offset {offset}");
        position += 1;
        held += 1;
    }
    assert_eq!(position, raw.len(), "the last epoch reaches to the end");
    eprintln!("{held} of {} events in the journal, the others between epochs", raw.len());
}

/// The record's event in QEMU's notation, `data` byte for byte.
fn as_sent(record: &Value, line: &str) -> String {
    let time = &record["timestamp"];
    let mut sent = format!(
        r#"{{"timestamp": {{"seconds": {}, "microseconds": {}}}, "event": "{}""#,
        time["seconds"],
        time["microseconds"],
        record["event"].as_str().expect("a name")
    );
    if let Some((_, data)) = line.split_once(r#","data":"#) {
        sent.push_str(r#", "data": "#);
        sent.push_str(data.strip_suffix('}').expect("a whole line"));
    }
    sent.push('}');
    sent
}

fn offset_of(line: &str) -> u64 {
    let record: Value = serde_json::from_str(line).expect("a record");
    record["offset"].as_u64().expect("an offset")
}
