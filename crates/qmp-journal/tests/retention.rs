//! Pruning: which records are removed, how readers notice it, and what stays correct without them.

use std::path::Path;
use std::time::{Duration, SystemTime};

use proptest::prelude::*;
use qmp_journal::{
    Batch, CHECKPOINTS_WITHOUT_EPOCH_MAX, Checkpoint, Cursor, Draft, Globs, Journal, JournalOptions,
    PrunedRange, Query, Reader, Retention, Tally,
};
use qmp_wire::{Body, DetachReason, Offset, Record, UnixMicros};

const SECOND: i64 = 1_000_000;

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Only the oldest records are pruned, none that is young enough; index and counts have no trace of them; the
    /// numbers of the other records stay, and further records are numbered on.
    #[test]
    fn only_old_records_are_pruned(rounds in prop::collection::vec(round(), 1..6), segment_records in 1..6_u64) {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("journal.db");
        let mut all: Vec<Record<'static>> = Vec::new();
        let mut journal = open(&path, segment_records, Retention::default());
        let mut first = 0;
        for Round { drafts, younger_than_s, reopen } in rounds {
            append(&journal, &drafts);
            if reopen {
                journal.close().expect("closes");
                journal = open(&path, segment_records, Retention::default());
            }
            let known = all.len();
            all.extend(read(&mut journal.reader().cursor(Query::default(), Offset(known as u64))));
            // Times are whole seconds: half of one lies between any two, however long the test takes.
            let cutoff_us = younger_than_s * SECOND - SECOND / 2;
            keep(&journal, Retention { max_age: Some(age(cutoff_us)), max_bytes: None });
            // No more records are pruned before they were read.
            keep(&journal, Retention::default());

            let before = first;
            first = usize::try_from(journal.reader().first().expect("reads").0 - 1).expect("small");
            let (pruned, kept) = (&all[before..first], &all[first..]);
            prop_assert!(pruned.iter().all(|record| record.received.0 < cutoff_us), "a young record was pruned");
            if segment_records == 1 {
                let old = all[before..].iter().take_while(|record| record.received.0 < cutoff_us).count();
                prop_assert_eq!(pruned.len(), old, "all old records were pruned");
            }
            check(&Reader::open(&path).expect("opens"), kept, all.len())?;
        }
    }
}

/// Epochs and offsets continue when every record of a VM, or every record, was pruned; also for the next hub.
#[test]
fn numbers_continue_after_all_records_are_pruned() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("journal.db");
    let journal = open(&path, 100, Retention::default());
    append(&journal, &[attached("web1", 1), event("web1", 2), detached("web1", 3), attached("db1", 4)]);
    keep(&journal, Retention { max_age: Some(age(100 * SECOND)), max_bytes: None });
    let reader = journal.reader();
    assert_eq!((reader.first().expect("reads"), reader.head().expect("reads")), (Offset(5), Offset(4)));
    let vms: Vec<_> =
        reader.vms().expect("reads").into_iter().map(|vm| (vm.vm, vm.attached, vm.since)).collect();
    assert_eq!(
        vms,
        [("db1".into(), true, None)],
        "an open epoch is known although its first record was pruned"
    );
    journal.close().expect("closes");

    // The next hub closes the epoch of db1, whose last record was pruned.
    let journal = open(&path, 100, Retention::default());
    append(&journal, &[attached("web1", 200), attached("db1", 201)]);
    let records = read(&mut journal.reader().cursor(Query::default(), Offset(0)));
    let numbers: Vec<_> = records
        .iter()
        .map(|record| (record.offset.map_or(0, |offset| offset.0), &*record.vm, record.epoch.0, record.seq.0))
        .collect();
    assert_eq!(numbers, [(5, "db1", 1, 1), (6, "web1", 2, 0), (7, "db1", 2, 0)]);
    let Body::Detached { reason: DetachReason::HubStopped, detail: Some(detail), certain_until } =
        &records[0].body
    else {
        panic!("{:?}", records[0]);
    };
    assert!(
        detail.ends_with("nothing is certain since its last record, which is kept no longer"),
        "{detail}"
    );
    assert!(certain_until.is_some_and(|until| until <= records[0].received), "{certain_until:?}");
}

/// A file that is too large shrinks to its limit while it is written, and its pages are used again.
/// Checkpoints stay without their records. Of VMs without an epoch, the newest ones stay.
#[test]
fn checkpoints_outlast_their_records_up_to_a_limit() {
    let directory = tempfile::tempdir().expect("a directory");
    let journal = open(&directory.path().join("journal.db"), 1_000, Retention::default());
    let names: Vec<String> =
        (0..CHECKPOINTS_WITHOUT_EPOCH_MAX + 2).map(|index| format!("vm{index}")).collect();
    let mut batch = Batch::new();
    for name in &names {
        let vm: &'static str = name.clone().leak();
        batch.push(&attached(vm, 1));
        // The first VM stays attached.
        if vm != "vm0" {
            batch.push(&detached(vm, 2));
        }
    }
    for (offset, vm) in (1..).zip(&names) {
        let (version, state) = ("1".into(), "state".into());
        batch.push_checkpoint(Checkpoint {
            vm: (**vm).into(),
            offset: Offset(offset),
            version,
            checksum: 0,
            state,
        });
    }
    journal.appender().append(&mut batch).expect("there is room");
    let everything = Retention { max_age: None, max_bytes: Some(1) };
    for second in 3..6 {
        append(&journal, &vec![event("db1", second); 1_000]);
        keep(&journal, everything);
    }
    let reader = journal.reader();
    assert!(reader.first().expect("reads").0 > u64::from(2 * CHECKPOINTS_WITHOUT_EPOCH_MAX));
    let has = |vm: &str| reader.checkpoint(vm).expect("reads").is_some();
    let last = names.last().expect("a name");
    assert_eq!((has("vm0"), has("vm1"), has("vm2"), has(last)), (true, false, true, true));
}

#[test]
fn journal_size_stays_within_limit() {
    const MAX_BYTES: u64 = 1 << 20;
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("journal.db");
    let journal = open(&path, 500, Retention { max_age: None, max_bytes: Some(MAX_BYTES) });
    let drafts: Vec<_> = (0..500).map(|_| event("web1", 1)).collect();
    for _ in 0..60 {
        append(&journal, &drafts);
    }
    let order = journal.retain(Retention { max_age: None, max_bytes: Some(MAX_BYTES - 1) });
    block_on(journal.wait_for_pruning(order)).expect("is open");
    assert!(journal.reader().first().expect("reads").0 > 15_000, "most are pruned");
    journal.close().expect("closes");
    let bytes = std::fs::metadata(&path).expect("is there").len();
    assert!(bytes < MAX_BYTES * 3 / 2, "{bytes} bytes: freed pages are used again");
}

/// A cursor within the pruned records reports their number once; a cursor at the start does not.
#[test]
fn cursor_reports_pruned_range_once() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("journal.db");
    let journal = open(&path, 2, Retention::default());
    append(&journal, &(1..=6).map(|second| event("web1", second)).collect::<Vec<_>>());
    let reader = journal.reader();
    let cursor = |after| reader.cursor(Query::default(), Offset(after));
    let mut reading = cursor(0);
    assert_eq!(offsets(&reading.next_batch(1).expect("reads")), [1]);
    let mut cursors = [cursor(0), cursor(2), cursor(4), cursor(5), reading];
    keep(&journal, Retention { max_age: Some(age(5 * SECOND - 1)), max_bytes: None });
    let results = cursors.each_mut().map(|cursor| {
        let read = offsets(&cursor.next_batch(10).expect("reads"));
        let removed = cursor.take_removed().map(|PrunedRange { after, upto }| (after.0, upto.0));
        assert_eq!(cursor.take_removed(), None, "once");
        (read, removed)
    });
    let expected = [
        (vec![5, 6], None),
        (vec![5, 6], Some((2, 4))),
        (vec![5, 6], None),
        (vec![6], None),
        (vec![5, 6], Some((1, 4))),
    ];
    assert_eq!(results, expected);
}

#[derive(Clone, Debug)]
struct Round {
    drafts: Vec<Draft<'static>>,
    /// Records received before this second are to be pruned.
    younger_than_s: i64,
    reopen: bool,
}

fn round() -> impl Strategy<Value = Round> {
    let draft = (prop::sample::select(&["web1", "web2", "db1"][..]), 0..400_i64, 0..6_u8).prop_map(
        |(vm, second, kind)| match kind {
            0 => attached(vm, second),
            1 => detached(vm, second),
            _ => event(vm, second),
        },
    );
    let drafts = prop::collection::vec(draft, 0..30);
    (drafts, 0..400_i64, any::<bool>()).prop_map(|(drafts, younger_than_s, reopen)| Round {
        drafts,
        younger_than_s,
        reopen,
    })
}

/// Every query returns what the kept records give.
fn check(reader: &Reader, kept: &[Record<'static>], head: usize) -> Result<(), TestCaseError> {
    prop_assert_eq!(reader.head().expect("reads"), Offset(head as u64));
    prop_assert_eq!(read(&mut reader.cursor(Query::default(), Offset(0))), kept.to_vec());
    for vm in ["web1", "web2", "db1"] {
        let query = Query { vm: Globs::parse([vm]).expect("a pattern"), ..Query::default() };
        let expected: Vec<_> = kept.iter().filter(|record| record.vm == vm).cloned().collect();
        prop_assert_eq!(read(&mut reader.cursor(query.clone(), Offset(0))), expected.clone());
        let last = reader.last(&query, 3).expect("reads").records;
        prop_assert_eq!(&last[..], &expected[expected.len().saturating_sub(3)..]);
        let of_each = reader.last_of_each_vm().expect("reads");
        prop_assert_eq!(of_each.iter().find(|record| record.vm == vm), expected.last());
    }
    let is_event = |record: &&Record<'_>| matches!(record.body, Body::Event { .. });
    let tally = reader.tally(&Globs::default(), UnixMicros(i64::MIN), UnixMicros(i64::MAX)).expect("reads");
    let in_minute = |minute: i64| {
        kept.iter()
            .filter(is_event)
            .filter(|record| record.received.0.div_euclid(60 * SECOND) == minute)
            .count()
    };
    for Tally { minute, records, .. } in &tally {
        prop_assert_eq!(in_minute(minute.0 / (60 * SECOND)) as u64, *records);
    }
    prop_assert_eq!(
        tally.iter().map(|tally| tally.records).sum::<u64>(),
        kept.iter().filter(is_event).count() as u64
    );
    Ok(())
}

fn open(path: &Path, segment_records: u64, retention: Retention) -> Journal {
    let options = JournalOptions { segment_records, retention, ..JournalOptions::default() };
    Journal::open(path, options).expect("opens")
}

fn keep(journal: &Journal, retention: Retention) {
    let order = journal.retain(retention);
    block_on(journal.wait_for_pruning(order)).expect("is open");
}

/// The age of a record that was received at this time.
fn age(received_us: i64) -> Duration {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    let now_us = i64::try_from(now.as_micros()).expect("fits");
    Duration::from_micros(u64::try_from(now_us - received_us).expect("in the past"))
}

fn append(journal: &Journal, drafts: &[Draft<'static>]) {
    let mut batch = Batch::new();
    drafts.iter().for_each(|draft| batch.push(draft));
    let appender = journal.appender();
    let ticket = appender.append(&mut batch).expect("there is room");
    block_on(appender.committed(ticket)).expect("is committed");
}

fn read(cursor: &mut Cursor) -> Vec<Record<'static>> {
    let mut records = Vec::new();
    loop {
        let batch = cursor.next_batch(7).expect("reads");
        if batch.is_empty() {
            return records;
        }
        records.extend(batch);
    }
}

fn offsets(records: &[Record<'_>]) -> Vec<u64> {
    records.iter().map(|record| record.offset.map_or(0, |offset| offset.0)).collect()
}

fn event(vm: &'static str, second: i64) -> Draft<'static> {
    let data = Some(format!("{{\"pad\": \"{}\"}}", "x".repeat(100)).into());
    Draft {
        vm,
        received: UnixMicros(second * SECOND),
        body: Body::Event { name: "STOP".into(), sent_name: None, timestamp: None, data },
    }
}

fn attached(vm: &'static str, second: i64) -> Draft<'static> {
    Draft { vm, received: UnixMicros(second * SECOND), body: Body::Attached { snapshot: "{}".into() } }
}

fn detached(vm: &'static str, second: i64) -> Draft<'static> {
    let body = Body::Detached { reason: DetachReason::PeerClosed, detail: None, certain_until: None };
    Draft { vm, received: UnixMicros(second * SECOND), body }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime").block_on(future)
}
