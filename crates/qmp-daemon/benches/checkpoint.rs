//! How the time of a hub's restart, and of reading the state of a VM from a file, grow with the length of one epoch.
//!
//! `cargo bench -p qmp-daemon --bench checkpoint [-- RECORDS]`: RECORDS, a tenth and a hundredth of them; default 10^6
//! (the targets are for 10^7: two gigabytes in `TMPDIR`, a few minutes). Absolute times vary with the load of the
//! machine; the exponents are the result: 0 means the same time at any length, 1 means ten times the time for ten
//! times the records.

use std::path::Path;
use std::time::{Duration, Instant};

use qmp_daemon::{Daemon, DaemonConfig};
use qmp_findings::Correlators;
use qmp_hub::restore_checkpoint;
use qmp_journal::{Batch, Draft, Globs, Journal, JournalOptions, Overrun, Query, Reader};
use qmp_wire::{Body, Offset, UnixMicros};

const MIDNIGHT: i64 = 1_767_312_000_000_000;
const ROUNDS: usize = 3;

fn main() {
    let records =
        std::env::args().filter_map(|argument| argument.parse().ok()).next_back().unwrap_or(1_000_000_u64);
    println!(
        "{:>10} {:>14} {:>14} {:>14} {:>14}",
        "records", "first start", "restart", "state, whole", "state"
    );
    let rows: Vec<(u64, [Duration; 4])> = [records / 100, records / 10, records]
        .into_iter()
        .map(|records| (records, measure(records)))
        .collect();
    for (records, times) in &rows {
        println!(
            "{records:>10} {:>14.1?} {:>14.1?} {:>14.1?} {:>14.1?}",
            times[0], times[1], times[2], times[3]
        );
    }
    let exponent =
        |column: usize| (rows[2].1[column].as_secs_f64() / rows[1].1[column].as_secs_f64()).log10();
    let [first, again, whole, state] = [0, 1, 2, 3].map(exponent);
    println!("{:>10} {first:>14.2} {again:>14.2} {whole:>14.2} {state:>14.2}", "exponent");
}

/// The first start of a hub with findings, a later start, and the state of the VM read from a file without and with its
/// checkpoint.
fn measure(records: u64) -> [Duration; 4] {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("journal.db");
    fill(&path, records);
    let first = start(&path);
    let again = median(|| start(&path));
    let whole = state(&path, false);
    [first, again, whole, median(|| state(&path, true))]
}

/// One VM with one epoch, which is stopped and resumed from time to time.
fn fill(path: &Path, records: u64) {
    let journal = Journal::open(path, JournalOptions::default()).expect("opens");
    let (appender, mut batch) = (journal.appender(), Batch::new());
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let snapshot = r#"{"query-status": {"status": "running", "running": true}}"#;
    for index in 0..records {
        let body = match index {
            0 => Body::Attached { snapshot: snapshot.into() },
            _ => {
                let name = match index % 50_000 {
                    100 => "STOP",
                    101 => "RESUME",
                    _ => "BLOCK_IO_ERROR",
                };
                let data = r#"{"device": "virtio0", "node-name": "b", "operation": "write", "action": "report", "reason": "Input/output error"}"#;
                let data = (name == "BLOCK_IO_ERROR").then(|| data.into());
                Body::Event { name: name.into(), sent_name: None, timestamp: None, data }
            }
        };
        let received = UnixMicros(MIDNIGHT + index.cast_signed() * 1_000_000);
        batch.push(&Draft { vm: "busy", received, body });
        if batch.len() >= 10_000 {
            while let Err(Overrun) = appender.append(&mut batch) {
                runtime.block_on(appender.room()).expect("the journal is open");
            }
        }
    }
    appender.append(&mut batch).expect("there is room");
    journal.close().expect("closes");
}

/// Starts a hub and stops it; the stop waits until its findings have caught up.
fn start(path: &Path) -> Duration {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let mut config = DaemonConfig::new(path.to_owned());
    config.findings = true;
    let begun = Instant::now();
    runtime.block_on(async {
        let hub = Daemon::start(config).await.expect("starts");
        hub.stop().await.expect("stops");
    });
    begun.elapsed()
}

/// Reads the state of the VM, as `qmp why` does.
fn state(path: &Path, from_checkpoint: bool) -> Duration {
    let begun = Instant::now();
    let reader = Reader::open(path).expect("opens");
    let (mut correlators, mut found) = (Correlators::new(), Vec::new());
    let everything = (Offset(0), reader.head().expect("reads"));
    let last = restore_checkpoint(&mut correlators, &reader, "busy", everything, |_| from_checkpoint);
    assert_eq!(last.is_some(), from_checkpoint, "there is a checkpoint");
    let query = Query { vm: Globs::parse(["busy"]).expect("a name"), ..Query::default() };
    let mut cursor = reader.cursor(query, last.map(|last| last.offset).unwrap_or_default());
    loop {
        let batch = cursor.next_batch(1_024).expect("reads");
        if batch.is_empty() {
            break;
        }
        batch.iter().for_each(|record| correlators.record(record, &mut found));
    }
    assert!(correlators.state("busy").is_some());
    begun.elapsed()
}

fn median(mut run: impl FnMut() -> Duration) -> Duration {
    let mut times: Vec<Duration> = (0..ROUNDS).map(|_| run()).collect();
    times.sort_unstable();
    times[ROUNDS / 2]
}
