//! A host without a connection for an hour: its records of a thousand VMs arrive at full speed, while other hosts publish.

use std::path::Path;

use qmp_host::clock;
use qmp_journal::{Batch, Draft, Journal, JournalOptions};
use qmp_testing::{NatsServer, wait_for};
use qmp_wire::{Body, DetachReason, UnixMicros};
use serde_json::Value;
use tempfile::TempDir;

use crate::hosts::{FleetHub, Host};
use crate::support::directory;

const VMS: usize = 1_000;

/// Records of each VM.
const RECORDS: usize = 10;

const HOUR_MICROS: i64 = 3_600_000_000;

/// A home whose journal has the records of the last hour.
fn home_of_an_hour() -> TempDir {
    let home = directory();
    let journal = Journal::open(&home.path().join("journal.db"), JournalOptions::default()).expect("opens");
    let begin = clock::now().0 - HOUR_MICROS;
    let names: Vec<String> = (0..VMS).map(|vm| format!("vm{vm}")).collect();
    for round in 0..RECORDS {
        let mut batch = Batch::new();
        for (index, vm) in names.iter().enumerate() {
            let at = i64::try_from(round * VMS + index).expect("small");
            let share = HOUR_MICROS / i64::try_from(RECORDS * VMS).expect("small");
            let received = UnixMicros(begin + at * share);
            batch.push(&Draft { vm, received, body: body(round, received) });
        }
        journal.appender().append(&mut batch).expect("room");
    }
    journal.close().expect("closes");
    home
}

fn body(round: usize, received: UnixMicros) -> Body<'static> {
    match round {
        0 => Body::Attached { snapshot: "{\"query-status\": {\"status\": \"running\"}}".into() },
        round if round + 1 == RECORDS => {
            Body::Detached { reason: DetachReason::HubStopped, detail: None, certain_until: Some(received) }
        }
        round => Body::Event {
            name: ["STOP", "RESUME"][round % 2].into(),
            sent_name: None,
            timestamp: None,
            data: None,
        },
    }
}

/// The largest lag of the fleet hub that was shown, in records and in seconds.
#[derive(Debug, Default)]
struct Lag {
    records: u64,
    seconds: f64,
}

impl Lag {
    fn read(&mut self, hub: &FleetHub) -> Option<Value> {
        let source = hub.get("/v1/hub")["from"][0].clone();
        self.records = self.records.max(source["lag_records"].as_u64()?);
        self.seconds = self.seconds.max(source["lag_seconds"].as_f64()?);
        Some(source)
    }
}

#[test]
fn host_that_was_cut_off_for_an_hour_catches_up() {
    NatsServer::programs().iter().for_each(|program| cut_off(program));
}

fn cut_off(program: &Path) {
    let nats = directory();
    let server = NatsServer::start(program, nats.path(), "");
    let rule = format!("nats = '{}'", server.url());
    let others = ["node1", "node2"].map(|name| Host::start(name, &["web1", "db1"], &rule));
    let hub = FleetHub::start(&rule);
    wait_for("the other hosts", || (hub.records().len() == 4).then_some(()));
    let cut_off = Host::start_in(home_of_an_hour(), "node9", &[], &rule);
    let (mut lag, mut rounds) = (Lag::default(), 0_u32);
    let expected = (VMS * RECORDS) as u64;
    wait_for("the records of the hour", || {
        others[rounds as usize % 2].execute("web1", "storm");
        rounds += 1;
        let source = lag.read(&hub)?;
        (source["records"].as_u64()? >= expected && source["lag_records"] == 0).then_some(())
    });
    eprintln!("{lag:?} in {rounds} rounds");
    assert!(lag.records > 100 && lag.seconds > 60.0, "{lag:?}");
    let hosts: Vec<&Host> = others.iter().chain([&cut_off]).collect();
    let records = hub.wait_for_records_of(&hosts);
    assert_eq!(records.len(), VMS + 4);
    let names = ["qmp_fleet_lag_records", "qmp_fleet_lag_seconds", "qmp_fleet_holes", "qmp_fleet_lost_total"];
    // The last storms of the other hosts may still arrive.
    wait_for("metrics without lag and loss", || {
        let metrics = hub.get_text("/metrics");
        let is_zero = |name: &str| {
            let line = format!("{name}{{source=\"{}/qmp\"}} 0", server.url());
            metrics.lines().any(|one| one == line)
        };
        names.into_iter().all(is_zero).then_some(())
    });
}
