//! The time from the commit of a record in the host's journal to its commit in the fleet hub's.

use std::path::Path;
use std::time::{Duration, Instant};

use qmp_journal::{Batch, Draft, Journal, JournalOptions};
use qmp_testing::NatsServer;
use qmp_wire::{Body, Offset};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use crate::fleet::FleetHub;
use crate::records::{append, body, received};
use crate::{host, percentile};

/// Records a second.
const RATES: [u64; 2] = [500, 5_000];
const SECONDS: u64 = 5;
/// The first records meet cold caches and new connections.
const WARM_UP: u64 = SECONDS / 5;
/// Records that are received within this time are appended at once.
const TICK: Duration = Duration::from_millis(2);

pub(crate) async fn run(program: &Path) {
    for rate in RATES {
        let home = tempfile::tempdir().expect("a directory");
        let server = NatsServer::start(program, &home.path().join("nats"), "");
        let (mut lags, batches) = measure(home.path(), &server, rate).await;
        lags.sort_unstable();
        let shown = |percent| format!("{:.1} ms", percentile(&lags, percent).as_secs_f64() * 1e3);
        println!(
            "  {rate} records/s: lag p50 {}, p99 {}, most {}; {batches} commits of the fleet hub",
            shown(50),
            shown(99),
            shown(100)
        );
    }
}

/// The lags of the records after the warm-up, and the number of commits of the fleet hub.
async fn measure(home: &Path, server: &NatsServer, rate: u64) -> (Vec<Duration>, usize) {
    let path = home.join("host.db");
    let journal = Journal::open(&path, JournalOptions::default()).expect("opens");
    let fleet_journal = Journal::open(&home.join("fleet.db"), JournalOptions::default()).expect("opens");
    let (mut head, mut fleet_head) = (journal.watch_head(), fleet_journal.watch_head());
    let count = rate * SECONDS;
    let on_host = tokio::spawn(async move { commits(&mut head, count).await });
    let in_fleet = tokio::spawn(async move { commits(&mut fleet_head, count).await });
    let rules = host::publish(&journal, &path, host::HOST, server).await;
    let fleet = FleetHub::start(&fleet_journal, server).await;
    play(&journal, rate, count).await;
    let (on_host, in_fleet) = (on_host.await.expect("no panic"), in_fleet.await.expect("no panic"));
    assert_eq!(fleet_journal.head(), journal.head(), "the offsets of a record are the same in both");
    host::status(&rules);
    rules.stop().await;
    fleet.stop().await;
    fleet_journal.close().expect("closes");
    journal.close().expect("closes");
    let first = rate * WARM_UP;
    let lags = (first..=count).map(|offset| committed_at(&in_fleet, offset) - committed_at(&on_host, offset));
    (lags.collect(), in_fleet.len())
}

/// Appends records at a steady rate.
async fn play(journal: &Journal, rate: u64, count: u64) {
    let (appender, mut batch) = (journal.appender(), Batch::new());
    let attached = Body::Attached { snapshot: "{}".into() };
    batch.push(&Draft { vm: "busy", received: received(0), body: attached });
    let (mut ticks, begun, mut played) = (interval(TICK), Instant::now(), 1);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while played < count {
        ticks.tick().await;
        let elapsed_us = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        let due = elapsed_us * rate / 1_000_000;
        for index in played..due.min(count) {
            batch.push(&Draft { vm: "busy", received: received(index), body: body() });
        }
        played = due.clamp(played, count);
        append(&appender, &mut batch).await;
    }
}

/// The commits up to the offset `upto`: when, and the head after each.
async fn commits(head: &mut watch::Receiver<Offset>, upto: u64) -> Vec<(Instant, u64)> {
    let mut commits = Vec::new();
    loop {
        let Offset(offset) = *head.borrow_and_update();
        commits.push((Instant::now(), offset));
        if offset >= upto {
            return commits;
        }
        head.changed().await.expect("the journal is open");
    }
}

fn committed_at(commits: &[(Instant, u64)], offset: u64) -> Instant {
    commits[commits.partition_point(|(_, head)| *head < offset)].0
}
