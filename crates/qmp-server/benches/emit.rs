//! Measures the cost of an event for the thread that emits it. A device thread that pays for its clients slows the
//! guest down.
//!
//! `cargo bench -p qmp-server --bench emit`, or with `-- format` appended for the formatting alone.
#![allow(clippy::unwrap_used, reason = "a test or a bench")]

#[path = "load/mod.rs"]
mod load;

use std::{
    fmt::Write as _,
    hint::black_box,
    io::Write as _,
    os::unix::net::UnixStream,
    time::{Duration, Instant},
};

use load::{Readers, event, percentiles, row, serve};
use qmp_events::Event;
use qmp_server::{EventWriter, SlowReader};
use serde_json::json;

/// Events emitted without a pause, as when a guest resets a device with many parts.
const BURST: usize = 500;
const BURSTS: usize = 400;

fn main() {
    let event = event();
    if std::env::args().any(|argument| argument == "format") {
        return formats(&event);
    }
    println!("{:<44} {:>8} {:>8} {:>10}   (ns)", "emit()", "p50", "p99", "worst");
    let clock = measure_clock();
    let cases = [
        // name                            reading  dead  slow
        ("no client", (0, 0, 0)),
        ("1 client", (1, 0, 0)),
        ("100 clients", (100, 0, 0)),
        ("1000 clients", (1000, 0, 0)),
        ("1 client, 20 dead, 20 slow", (1, 20, 20)),
        ("1000 clients, 20 dead, 20 slow", (960, 20, 20)),
    ];
    for (name, (reading, dead, slow)) in cases {
        emit(name, reading, dead, slow, clock, &event);
    }
    println!("\npeers, on the same thread");
    row("read the clock", &mut sample(clock, || black_box(std::time::SystemTime::now())));
    write_in_the_caller(clock, &event);
    tokio_channel(clock, &event);
    formats(&event);
}

/// Measures the cost of reading the clock twice, which every sample contains.
fn measure_clock() -> u64 {
    let mut costs: Vec<_> = (0..100_000).map(|_| ns(Instant::now().elapsed())).collect();
    percentiles(&mut costs).0
}

fn sample<T>(clock: u64, mut work: impl FnMut() -> T) -> Vec<u64> {
    let mut costs = Vec::with_capacity(BURST * BURSTS);
    for _ in 0..BURST * BURSTS {
        let start = Instant::now();
        black_box(work());
        costs.push(ns(start.elapsed()).saturating_sub(clock));
    }
    costs
}

fn emit(name: &str, reading: usize, dead: usize, slow: usize, clock: u64, event: &Event) {
    let (monitor, mut readers) = serve(reading, dead, slow, SlowReader::DropOldest);
    let emitter = monitor.emitter();
    let mut costs = Vec::with_capacity(BURST * BURSTS);
    for _ in 0..BURSTS {
        for _ in 0..BURST {
            let start = Instant::now();
            black_box(emitter.emit(event));
            costs.push(ns(start.elapsed()).saturating_sub(clock));
        }
        // Let the monitor finish before the next burst; this is not measured.
        readers.wait_for(BURST, Duration::from_secs(2));
    }
    row(name, &mut costs);
    monitor.stop().unwrap();
}

/// The simplest VMM without this crate: writes to its one client from the device thread.
fn write_in_the_caller(clock: u64, event: &Event) {
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let _readers = Readers::of(vec![theirs]);
    let mut writer = EventWriter::default();
    let mut line = Vec::new();
    let mut costs = sample(clock, || {
        line.clear();
        writer.write(event, std::time::UNIX_EPOCH.elapsed().unwrap_or_default(), &mut line).unwrap();
        ours.write_all(&line).unwrap();
    });
    row("write in the caller, 1 client", &mut costs);
}

fn tokio_channel(clock: u64, event: &Event) {
    let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
    let reader = std::thread::spawn(move || while receiver.blocking_recv().is_some() {});
    let mut writer = EventWriter::default();
    let mut costs = sample(clock, || {
        let mut line = Vec::new();
        writer.write(event, std::time::UNIX_EPOCH.elapsed().unwrap_or_default(), &mut line).unwrap();
        sender.send(line).unwrap();
    });
    row("format, then tokio's unbounded channel", &mut costs);
    drop(sender);
    reader.join().unwrap();
}

/// Formatting alone: this crate, by hand, and `serde_json`.
fn formats(event: &Event) {
    let wall = Duration::new(1_700_000_000, 123_456_000);
    let mut out = Vec::with_capacity(1024);
    let mut writer = EventWriter::default();
    let ours = per_event(|| {
        out.clear();
        writer.write(event, wall, &mut out).unwrap();
        black_box(&out);
    });
    let text = String::from_utf8(out.clone()).unwrap();
    let mut by_hand_out = Vec::with_capacity(1024);
    let by_hand = per_event(|| {
        by_hand_out.clear();
        format_by_hand(black_box("net0"), black_box("chardev0"), wall, &mut by_hand_out);
        black_box(&by_hand_out);
    });
    assert_eq!(String::from_utf8(by_hand_out).unwrap(), text, "both write the same");
    let json = per_event(|| {
        out.clear();
        let data = event.encode_data().unwrap();
        let data: &serde_json::value::RawValue = serde_json::from_str(&data).unwrap();
        let message = json!({
            "timestamp": {"seconds": wall.as_secs(), "microseconds": wall.subsec_micros()},
            "event": event.name(), "data": data,
        });
        serde_json::to_writer(&mut out, &message).unwrap();
        black_box(&out);
    });
    println!("\nformat one event{:>37} ns", "");
    let mut table = String::new();
    for (name, cost) in [("ours", ours), ("by hand, itoa", by_hand), ("serde_json, through Value", json)] {
        writeln!(table, "{name:<44} {cost:>8.0}   {:>5.2} × by hand", cost / by_hand).unwrap();
    }
    print!("{table}");
}

fn format_by_hand(netdev: &str, chardev: &str, wall: Duration, out: &mut Vec<u8>) {
    let mut number = itoa::Buffer::new();
    out.extend_from_slice(b"{\"timestamp\": {\"seconds\": ");
    out.extend_from_slice(number.format(wall.as_secs()).as_bytes());
    out.extend_from_slice(b", \"microseconds\": ");
    out.extend_from_slice(number.format(wall.subsec_micros()).as_bytes());
    out.extend_from_slice(b"}, \"event\": \"NETDEV_VHOST_USER_CONNECTED\", \"data\": {\"netdev-id\": \"");
    escape_by_hand(netdev, out);
    out.extend_from_slice(b"\", \"chardev-id\": \"");
    escape_by_hand(chardev, out);
    out.extend_from_slice(b"\"}}\r\n");
}

fn escape_by_hand(text: &str, out: &mut Vec<u8>) {
    for character in text.chars() {
        match character {
            '"' => out.extend_from_slice(b"\\\""),
            '\\' => out.extend_from_slice(b"\\\\"),
            ' '..='~' => out.push(u8::try_from(character).unwrap_or(b'?')),
            _ => out.extend_from_slice(format!("\\u{:04X}", u32::from(character)).as_bytes()),
        }
    }
}

/// Returns the best of many short rounds: on a shared machine, some of them run undisturbed.
fn per_event(mut work: impl FnMut()) -> f64 {
    const ROUNDS: u32 = 10_000;
    let mut best = f64::MAX;
    for _ in 0..200 {
        let start = Instant::now();
        for _ in 0..ROUNDS {
            work();
        }
        best = best.min(start.elapsed().as_secs_f64() * 1e9 / f64::from(ROUNDS));
    }
    best
}

fn ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
