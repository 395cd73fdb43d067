//! Measures events delivered per second by number of clients, and memory per client. The load is one management
//! stack, or a thousand dashboards.
//!
//! `cargo bench -p qmp-server --bench fanout`
#![allow(clippy::unwrap_used, reason = "a test or a bench")]

#[path = "load/mod.rs"]
mod load;

use std::{
    io::Write,
    os::unix::net::UnixStream,
    time::{Duration, Instant},
};

use load::{Readers, event, serve};
use qmp_server::{EmitOutcome, EventWriter, SlowReader};

/// Deliveries to measure in each row.
const DELIVERIES: usize = 2_000_000;

fn main() {
    println!("{:<34} {:>14} {:>16} {:>10}", "delivered", "events/s", "deliveries/s", "of limit");
    for clients in [1, 10, 100, 1000] {
        let limit = limit(clients);
        show(&format!("limit: 64 KiB writes, {clients}"), clients, limit, limit);
        show(&format!("ours, {clients}"), clients, ours(clients), limit);
        show(&format!("one write per event, {clients}"), clients, one_by_one(clients), limit);
    }
    memory();
    lone();
}

fn show(name: &str, clients: usize, deliveries: f64, limit: f64) {
    let events = deliveries / clients as f64;
    println!("{name:<34} {events:>14.0} {deliveries:>16.0} {:>9.2}", deliveries / limit);
}

/// Emits as fast as the monitor accepts, without ever filling its queue.
fn ours(clients: usize) -> f64 {
    const BURST: usize = 2000;
    let (monitor, mut readers) = serve(clients, 0, 0, SlowReader::Close);
    let emitter = monitor.emitter();
    let event = event();
    let bursts = (DELIVERIES / clients / BURST).max(3);
    let start = Instant::now();
    for _ in 0..bursts {
        for _ in 0..BURST {
            assert_eq!(emitter.emit(&event), EmitOutcome::Queued);
        }
        readers.wait_for(BURST, Duration::from_secs(60));
    }
    let deliveries = (bursts * BURST * clients) as f64 / start.elapsed().as_secs_f64();
    monitor.stop().unwrap();
    deliveries
}

/// Prepared text, written to each client in turn by a loop without other work.
fn limit(clients: usize) -> f64 {
    let line = line();
    let lines = (64 << 10) / line.len();
    write_to_all(clients, &line.repeat(lines), lines)
}

fn one_by_one(clients: usize) -> f64 {
    write_to_all(clients, &line(), 1)
}

fn write_to_all(clients: usize, text: &[u8], lines: usize) -> f64 {
    let (ours, theirs): (Vec<_>, Vec<_>) = (0..clients).map(|_| UnixStream::pair().unwrap()).unzip();
    let mut readers = Readers::of(theirs);
    let rounds = (DELIVERIES / 4 / clients / lines).max(3);
    let start = Instant::now();
    for _ in 0..rounds {
        for mut client in &ours {
            client.write_all(text).unwrap();
        }
    }
    readers.wait_for(rounds * lines, Duration::from_secs(60));
    (rounds * lines * clients) as f64 / start.elapsed().as_secs_f64()
}

fn line() -> Vec<u8> {
    let mut line = Vec::new();
    EventWriter::default().write(&event(), Duration::from_secs(1_700_000_000), &mut line).unwrap();
    line
}

/// Memory of the process for each client, the bench's own end of the socket included.
fn memory() {
    const CLIENTS: usize = 1000;
    let before = resident_bytes();
    let (monitor, readers) = serve(CLIENTS, 0, 0, SlowReader::Close);
    let each = resident_bytes().saturating_sub(before) / CLIENTS;
    println!("\nmemory per idle connection: {each} bytes resident ({CLIENTS} connections)");
    drop(readers);
    monitor.stop().unwrap();
}

fn resident_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap();
    status.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

/// Latency of a single event to one reader that sleeps.
fn lone() {
    let (monitor, mut readers) = serve(1, 0, 0, SlowReader::Close);
    let emitter = monitor.emitter();
    let event = event();
    let mut costs: Vec<_> = (0..2000)
        .map(|_| {
            std::thread::sleep(Duration::from_micros(300));
            let start = Instant::now();
            emitter.emit(&event);
            readers.spin_for(1);
            u64::try_from(start.elapsed().as_nanos()).unwrap()
        })
        .collect();
    let (p50, p99, worst) = load::percentiles(&mut costs);
    println!(
        "one event to one sleeping reader: p50 {} µs, p99 {} µs, worst {} µs",
        p50 / 1000,
        p99 / 1000,
        worst / 1000
    );
    monitor.stop().unwrap();
}
