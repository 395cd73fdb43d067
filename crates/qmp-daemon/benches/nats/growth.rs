//! How publishing and committing grow with the number of hosts.

use std::path::Path;
use std::time::{Duration, Instant};

use qmp_journal::{Journal, JournalOptions};
use qmp_sinks::Rules;
use qmp_testing::NatsServer;

use crate::fleet::FleetHub;
use crate::{host, rate, records};

const HOSTS: [u64; 3] = [1, 10, 100];
/// Records of all hosts together.
const RECORDS: u64 = 100_000;

pub(crate) async fn run(program: &Path) {
    for hosts in HOSTS {
        let home = tempfile::tempdir().expect("a directory");
        let server = NatsServer::start(program, &home.path().join("nats"), "");
        let published = publish(home.path(), &server, hosts).await;
        let committed = commit(home.path(), &server).await;
        println!(
            "  {hosts:>3} hosts: published {:.0}/s in total, fleet hub commits {:.0}/s",
            rate(RECORDS, published),
            rate(RECORDS, committed)
        );
    }
}

/// The time in which all hosts publish their journals.
async fn publish(home: &Path, server: &NatsServer, hosts: u64) -> Duration {
    let mut journals = Vec::new();
    for index in 0..hosts {
        let path = home.join(format!("host-{index}.db"));
        let journal = records::journal(&path, RECORDS / hosts - 1).await;
        journals.push((journal, path, format!("node{index}")));
    }
    let begun = Instant::now();
    let mut rules: Vec<(Journal, Rules)> = Vec::new();
    for (journal, path, name) in journals {
        let publishing = host::publish(&journal, &path, &name, server).await;
        rules.push((journal, publishing));
    }
    while rules.iter().map(|(_, rules)| rules.statuses()[0].delivered).sum::<u64>() < RECORDS {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let time = begun.elapsed();
    for (_, rules) in &rules {
        // Part of the time: the rule has tried again.
        let status = rules.statuses().remove(0);
        status.last_error.iter().for_each(|error| println!("  a rule has failed once: {error}"));
    }
    for (journal, rules) in rules {
        rules.stop().await;
        journal.close().expect("closes");
    }
    time
}

/// The time in which a fleet hub commits the stream.
async fn commit(home: &Path, server: &NatsServer) -> Duration {
    let journal = Journal::open(&home.join("fleet.db"), JournalOptions::default()).expect("opens");
    let mut head = journal.watch_head();
    let begun = Instant::now();
    let fleet = FleetHub::start(&journal, server).await;
    head.wait_for(|head| head.0 >= RECORDS).await.expect("commits");
    let time = begun.elapsed();
    fleet.stop().await;
    journal.close().expect("closes");
    time
}
