//! `kill -9` of a real process, many times, while records are appended.
//!
//! The test runs itself as a child that appends and prints each head that the journal acknowledged, and kills it at a
//! random moment. Then it opens the file as the next hub would. The seed of every round is printed;
//! `QMP_JOURNAL_KILL_SEED=N` repeats one.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use qmp_journal::{Batch, Draft, Journal, JournalOptions, Query, Reader, Retention};
use qmp_wire::{Body, DetachReason, Offset, Record, UnixMicros};

const ROUNDS: u64 = 36;
/// Small, so that kills also interrupt seals.
const SEGMENT_RECORDS: u64 = 500;
/// The size of some segments of this test.
const RETAINED_BYTES: u64 = 1 << 20;
const VMS: [&str; 3] = ["web1", "web2", "db1"];
const NAME: &str = "kill_loses_no_acknowledged_record";
const CHILD_PATH: &str = "QMP_JOURNAL_KILL_PATH";
const SEED: &str = "QMP_JOURNAL_KILL_SEED";

#[test]
fn kill_loses_no_acknowledged_record() {
    if let Some(path) = std::env::var_os(CHILD_PATH) {
        append_for_ever(Path::new(&path), seed_from_environment().expect("the parent gives a seed"));
    }
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("journal.db");
    let first = seed_from_environment().unwrap_or_else(|| u64::from(std::process::id()) << 20);
    let (mut acknowledged, mut first_kept) = (0, 1);
    for seed in first..first + ROUNDS {
        if is_early(seed) {
            let fresh = directory.path().join(format!("{seed}.db"));
            let acknowledged = one_round(&fresh, seed);
            println!("seed {seed}: killed while the journal was created, or after offset {acknowledged}");
            check(&fresh, acknowledged, seed);
        } else {
            acknowledged = one_round(&path, seed).max(acknowledged);
            println!("seed {seed}: killed after offset {acknowledged}");
            let kept = check(&path, acknowledged, seed);
            assert!(kept >= first_kept, "seed {seed}: removed records are back");
            first_kept = kept;
        }
    }
    // A single seed may be one that keeps everything.
    assert!(first_kept > 1 || seed_from_environment().is_some(), "nothing was removed in any round");
}

/// Some rounds end while the file is created, most while records are appended.
fn is_early(seed: u64) -> bool {
    seed.is_multiple_of(3)
}

/// Some rounds prune the oldest records meanwhile.
fn is_shrinking(seed: u64) -> bool {
    seed.is_multiple_of(2)
}

/// Starts the child, kills it after a random time, and returns the last head that it printed.
fn one_round(path: &Path, seed: u64) -> u64 {
    let mut random = Random(seed);
    let mut child = Command::new(std::env::current_exe().expect("this test"))
        .args([NAME, "--exact", "--nocapture"])
        .env(CHILD_PATH, path)
        .env(SEED, seed.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the child starts");
    let lines = BufReader::new(child.stdout.take().expect("is piped")).lines();
    let mut run_for =
        Some(Duration::from_micros(random.below(if is_early(seed) { 60_000 } else { 120_000 })));
    let mut kill = |child: &Child| {
        if let Some(run_for) = run_for.take() {
            let pid = child.id();
            std::thread::spawn(move || {
                std::thread::sleep(run_for);
                kill_9(pid);
            });
        }
    };
    if is_early(seed) {
        kill(&child);
    }
    let mut acknowledged = 0;
    for line in lines {
        let line = line.expect("the child prints text");
        // The last line may be cut, and the test harness prints lines, too.
        if let Some(head) = line.strip_prefix("head ").and_then(|rest| rest.strip_suffix('.')) {
            acknowledged = head.parse().expect("a number");
            kill(&child);
        }
    }
    child.wait().expect("the child ends");
    acknowledged
}

/// Kills a child of this test that is not reaped yet, so that its process id cannot be that of another process.
fn kill_9(pid: u32) {
    let pid = rustix::process::Pid::from_raw(pid.cast_signed()).expect("a process id");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("can be killed");
}

/// Opens the file as the next hub does, and compares all of it with the expected records. Returns the first offset that
/// is kept.
fn check(path: &Path, acknowledged: u64, seed: u64) -> u64 {
    let options = JournalOptions { segment_records: SEGMENT_RECORDS, ..JournalOptions::default() };
    let journal = Journal::open(path, options).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    assert!(journal.head().0 >= acknowledged, "seed {seed}: {acknowledged} was acknowledged");
    journal.close().expect("closes");
    let reader = Reader::open(path).expect("opens");
    let mut cursor = reader.cursor(Query::default(), Offset(0));
    // With retention, the first records are missing, and with them the beginnings of some epochs.
    let first = reader.first().expect("reads").0;
    let mut expected_offset = first;
    let mut open = [(first == 1).then_some(false); VMS.len()];
    loop {
        let batch = cursor.next_batch(10_000).expect("reads");
        if batch.is_empty() {
            break;
        }
        for record in batch {
            assert_eq!(record.offset, Some(Offset(expected_offset)), "seed {seed}: no holes");
            expected_offset += 1;
            let vm = VMS.iter().position(|vm| *vm == record.vm).expect("a VM of this test");
            check_record(&record, &mut open[vm], seed);
        }
    }
    assert!(!open.contains(&Some(true)), "seed {seed}: every epoch has an end");
    check_postings(&reader, expected_offset - first, seed);
    first
}

fn check_record(record: &Record<'_>, open: &mut Option<bool>, seed: u64) {
    match &record.body {
        Body::Attached { snapshot } => {
            assert_ne!(*open, Some(true), "seed {seed}: {record:?}");
            assert_eq!(&**snapshot, "{}");
            *open = Some(true);
        }
        Body::Event { name, data, .. } => {
            assert_ne!(*open, Some(false), "seed {seed}: {record:?}");
            let (expected_name, expected_data) = event(&record.vm, record.epoch.0, record.seq.0);
            assert_eq!((&**name, data.as_deref()), (&*expected_name, Some(&*expected_data)), "seed {seed}");
        }
        Body::Detached { reason, .. } => {
            assert_ne!(*open, Some(false), "seed {seed}: {record:?}");
            assert!(*reason == DetachReason::HubStopped, "seed {seed}: {record:?}");
            *open = Some(false);
        }
        Body::Finding { .. } => panic!("seed {seed}: {record:?}"),
    }
}

/// The index has every record: reading each VM alone finds them all.
fn check_postings(reader: &Reader, records: u64, seed: u64) {
    let mut found = 0;
    for vm in VMS {
        let query = Query { vm: qmp_journal::Globs::parse([vm]).expect("a pattern"), ..Query::default() };
        let mut cursor = reader.cursor(query, Offset(0));
        loop {
            let batch = cursor.next_batch(10_000).expect("reads");
            if batch.is_empty() {
                break;
            }
            found += batch.len() as u64;
        }
    }
    assert_eq!(found, records, "seed {seed}");
}

/// The event that the child appends with these numbers: derived from them alone, so that every byte can be checked.
fn event(vm: &str, epoch: u32, seq: u64) -> (String, String) {
    let padding = "x".repeat((seq % 200) as usize);
    (
        format!("EVENT_{}", seq % 20),
        format!("{{\"vm\": \"{vm}\",  \"at\": [{epoch}, {seq}], \"pad\": \"{padding}\"}}"),
    )
}

/// The child: a hub whose VMs send events without end.
fn append_for_ever(path: &Path, seed: u64) -> ! {
    let mut random = Random(seed ^ 0x5eed);
    // Small, so that old records are pruned all the while.
    let retention = Retention { max_age: None, max_bytes: is_shrinking(seed).then_some(RETAINED_BYTES) };
    let options = JournalOptions { segment_records: SEGMENT_RECORDS, retention, ..JournalOptions::default() };
    let journal = Journal::open(path, options).expect("opens");
    let epochs: Vec<u32> = {
        let known = journal.reader().vms().expect("reads");
        VMS.iter()
            .map(|vm| known.iter().find(|found| *found.vm == **vm).map_or(0, |found| found.epoch.0) + 1)
            .collect()
    };
    let appender = journal.appender();
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let mut seqs = [0_u64; VMS.len()];
    let mut batch = Batch::new();
    loop {
        for _ in 0..=random.below(40) {
            let vm = usize::try_from(random.below(VMS.len() as u64)).expect("small");
            let (name, data) = event(VMS[vm], epochs[vm], seqs[vm]);
            let body = match seqs[vm] {
                0 => Body::Attached { snapshot: "{}".into() },
                _ => Body::Event {
                    name: name.into(),
                    sent_name: None,
                    timestamp: None,
                    data: Some(data.into()),
                },
            };
            batch.push(&Draft { vm: VMS[vm], received: UnixMicros(1_767_323_045_000_000), body });
            seqs[vm] += 1;
        }
        // Several appends share a commit at times.
        let Ok(ticket) = appender.append(&mut batch) else {
            runtime.block_on(appender.room()).expect("the journal is open");
            continue;
        };
        if random.below(3) == 0 {
            let head = runtime.block_on(appender.committed(ticket)).expect("is committed");
            let mut out = std::io::stdout().lock();
            writeln!(out, "head {}.", head.0).and_then(|()| out.flush()).expect("the parent listens");
        }
    }
}

fn seed_from_environment() -> Option<u64> {
    std::env::var(SEED).ok().map(|seed| seed.parse().expect("a number"))
}

/// A small generator of random numbers (`SplitMix64`).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }
}
