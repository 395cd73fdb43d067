//! Acknowledged records a second: the rule beside the bare client.

use std::path::Path;
use std::time::{Duration, Instant};

use qmp_journal::Journal;
use qmp_testing::NatsServer;

use crate::{bare, host, percentile, rate, records};

const RECORDS: u64 = 100_000;
const ROUNDS: usize = 5;

pub(crate) async fn run(program: &Path) {
    let home = tempfile::tempdir().expect("a directory");
    let server = NatsServer::start(program, &home.path().join("nats"), "");
    let journal = records::journal(&home.path().join("journal.db"), RECORDS - 1).await;
    let (mut sink, mut bare) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let path = home.path().join(format!("round-{round}"));
        // What runs second finds another state of the server and of the disk.
        if round % 2 == 0 {
            sink.push(publish_by_rule(&journal, &path, &server).await);
            bare.push(bare::publish(&server, RECORDS).await);
        } else {
            bare.push(bare::publish(&server, RECORDS).await);
            sink.push(publish_by_rule(&journal, &path, &server).await);
        }
    }
    journal.close().expect("closes");
    let median = |times: &mut Vec<Duration>| {
        times.sort_unstable();
        rate(RECORDS, percentile(times, 50))
    };
    let shown = |times: &[Duration]| {
        let rates: Vec<String> = times.iter().map(|time| format!("{:.0}", rate(RECORDS, *time))).collect();
        rates.join(" ")
    };
    println!("  rule {}; bare {}", shown(&sink), shown(&bare));
    let (sink, bare) = (median(&mut sink), median(&mut bare));
    println!("  rule {sink:.0}/s, bare client {bare:.0}/s, ratio {:.2}", sink / bare);
}

/// The time in which a rule delivers the records of the journal.
async fn publish_by_rule(journal: &Journal, path: &Path, server: &NatsServer) -> Duration {
    let begun = Instant::now();
    let rules = host::publish(journal, path, host::HOST, server).await;
    while host::status(&rules).delivered < RECORDS {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let time = begun.elapsed();
    rules.stop().await;
    host::delete_stream(server, "qmp").await;
    time
}
