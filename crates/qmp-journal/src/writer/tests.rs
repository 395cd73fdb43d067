//! The writer on a paused clock, with a storage that fails, waits or ends at a chosen commit.

use std::collections::{BTreeSet, HashSet};
use std::path::PathBuf;

use qmp_host::clock::SteadyClock;
use qmp_wire::{Body, Epoch, Record, Seq};
use tokio::time::Instant as Moment;

use super::*;
use crate::Overrun;
use crate::queue::Appender;
use crate::sqlite::SqliteStorage;
use crate::{Draft, Feed, ForeignBatch, ForeignError, Query, Reader, StreamPosition, verify};

/// When each test begins: 2026-01-01T00:00:00Z.
const START: UnixMicros = UnixMicros(1_767_225_600_000_000);

/// The result of one commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    /// The disk is full, and nothing is written.
    Full,
    /// The commit takes effect, and its result is an error.
    FailsAfterEffect,
    Slow(Duration),
    /// The process ends.
    CrashBefore,
    CrashAfter,
}

/// A file of SQLite whose commits have the faults of a list, and after its end those of its last entry.
#[derive(Debug)]
struct FaultyStorage {
    inner: SqliteStorage,
    faults: Vec<Fault>,
    commits: usize,
}

impl FaultyStorage {
    fn full() -> StorageError {
        let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_FULL);
        rusqlite::Error::SqliteFailure(code, None).into()
    }
}

impl Storage for FaultyStorage {
    async fn commit(&mut self, names: &[NewName], plan: &Plan<'_>) -> Result<(), StorageError> {
        let fault = self.faults.get(self.commits).or(self.faults.last()).copied();
        self.commits += 1;
        match fault.unwrap_or(Fault::None) {
            Fault::None => {}
            Fault::Full => return Err(Self::full()),
            Fault::FailsAfterEffect => {
                self.inner.commit(names, plan).await?;
                return Err(Self::full());
            }
            Fault::Slow(span) => tokio::time::sleep(span).await,
            Fault::CrashBefore => std::future::pending().await,
            Fault::CrashAfter => {
                self.inner.commit(names, plan).await?;
                std::future::pending::<()>().await;
            }
        }
        self.inner.commit(names, plan).await
    }

    fn path(&self) -> &Path {
        self.inner.path()
    }

    fn restore(&mut self, options: &JournalOptions) -> Result<RestoredJournal, JournalError> {
        self.inner.restore(options)
    }

    fn find_name(&self, role: Role, name: &str) -> Result<Option<u32>, StorageError> {
        self.inner.find_name(role, name)
    }

    fn publish(&mut self, head: &PublishedHead) {
        self.inner.publish(head);
    }

    fn write_checkpoints(&mut self, checkpoints: &[Checkpoint]) -> Result<(), StorageError> {
        self.inner.write_checkpoints(checkpoints)
    }

    fn measure(&self, oldest: Option<UnixMicros>) -> Result<retention::Measurement, StorageError> {
        self.inner.measure(oldest)
    }

    fn prune(
        &mut self,
        first: u64,
        upto: u64,
        is_needed: impl Fn(u32) -> bool,
    ) -> Result<HashSet<u32>, StorageError> {
        self.inner.prune(first, upto, is_needed)
    }

    fn fill(&mut self) -> Result<bool, StorageError> {
        self.inner.fill()
    }

    fn close(self) -> Result<(), JournalError> {
        self.inner.close()
    }
}

/// The pauses double from 50 ms up to 2 s, and the records are committed once, in order.
#[tokio::test(start_paused = true)]
async fn commit_is_retried_with_growing_pauses_until_the_disk_has_room() {
    let journal = TestJournal::new();
    let mut faults = vec![Fault::Full; 7];
    faults.push(Fault::None);
    let began = Moment::now();
    journal
        .run(&faults, async |outlets| {
            let ticket = append(&outlets, 3).expect("room");
            let appender = Appender::new(Arc::clone(&outlets.queue));
            let mut health = outlets.health.clone();
            let stalled =
                health.wait_for(|health| *health != Health::Writing).await.expect("it runs").clone();
            let Health::Stalled { since, error } = stalled else { panic!("{stalled}") };
            assert_eq!(since, START);
            assert!(error.starts_with("the disk is full: free some space"), "{error}");
            assert_eq!(*outlets.head.borrow(), Offset(0), "nothing is published that is not committed");
            assert_eq!(appender.committed(ticket).await, Ok(Offset(3)));
            let pauses = [50, 100, 200, 400, 800, 1_600, 2_000];
            assert_eq!(began.elapsed(), Duration::from_millis(pauses.iter().sum()));
            assert_eq!(*health.borrow_and_update(), Health::Writing);
            let figures = outlets.gauge.read();
            assert_eq!((figures.commits, figures.commit_failures, figures.queue_bytes), (1, 7, 0));
        })
        .await;
    assert_eq!(journal.numbers(), [1, 2, 3]);
}

/// A commit whose result is an error may be on the disk: it is recognized, and not written again.
#[tokio::test(start_paused = true)]
async fn commit_that_failed_after_it_took_effect_is_acknowledged_once() {
    for segment_records in [1, 2, 100] {
        let journal = TestJournal { segment_records, ..TestJournal::new() };
        journal
            .run(&[Fault::FailsAfterEffect, Fault::None], async |outlets| {
                let ticket = append(&outlets, 2).expect("room");
                let appender = Appender::new(Arc::clone(&outlets.queue));
                assert_eq!(appender.committed(ticket).await, Ok(Offset(2)));
                let next = append(&outlets, 1).expect("room");
                assert_eq!(appender.committed(next).await, Ok(Offset(3)));
            })
            .await;
        assert_eq!(journal.numbers(), [1, 2, 3], "segments of {segment_records}");
        assert_eq!(verify(&journal.path()).expect("opens").faults, Vec::<Box<str>>::new());
    }
}

/// The queue fills while a commit waits for the disk: appenders are refused at once, and none waits.
#[tokio::test(start_paused = true)]
async fn slow_commit_makes_no_appender_wait_and_loses_no_accepted_record() {
    let journal = TestJournal { queue_max_bytes: 10_000, ..TestJournal::new() };
    let began = Moment::now();
    let mut accepted = 1;
    journal
        .run(&[Fault::Slow(Duration::from_secs(10)), Fault::None], async |outlets| {
            append(&outlets, 1).expect("room");
            tokio::time::sleep(Duration::from_secs(4)).await;
            assert_eq!(outlets.gauge.in_commit_since(), Some(START));
            while append(&outlets, 1).is_ok() {
                accepted += 1;
            }
            assert_eq!(began.elapsed(), Duration::from_secs(4), "no appender waited");
            assert_eq!(*outlets.head.borrow(), Offset(0));
            let appender = Appender::new(Arc::clone(&outlets.queue));
            appender.room().await.expect("it runs");
            assert_eq!(began.elapsed(), Duration::from_secs(10));
            let last = append(&outlets, 1).expect("room");
            accepted += 1;
            assert_eq!(appender.committed(last).await, Ok(Offset(accepted)));
        })
        .await;
    assert!(accepted > 10, "{accepted}");
    assert_eq!(journal.numbers(), (1..=accepted).collect::<Vec<_>>());
}

/// Each acknowledged record is in the journal that the next hub opens, no identity is assigned twice, and each epoch has
/// an end.
#[tokio::test(start_paused = true)]
async fn crash_at_any_commit_loses_no_acknowledged_record() {
    for crash in [Fault::CrashBefore, Fault::CrashAfter] {
        for at in 0..8 {
            let journal = TestJournal { segment_records: 3, ..TestJournal::new() };
            let mut faults = vec![Fault::None; at];
            faults.push(crash);
            let mut acknowledged = 0;
            journal
                .run(&faults, async |outlets| {
                    let appender = Appender::new(Arc::clone(&outlets.queue));
                    for size in [0, 2, 4, 1, 3, 1, 5, 1] {
                        let mut bodies = vec![event(); size];
                        // An epoch that is open when another one opens is closed by the writer.
                        bodies.insert(0, Body::Attached { snapshot: "{}".into() });
                        let ticket = append_all(&outlets, &bodies).expect("room");
                        let committed = appender.committed(ticket);
                        match tokio::time::timeout(Duration::from_secs(60), committed).await {
                            Ok(head) => acknowledged = head.expect("it runs").0,
                            Err(_crashed) => break,
                        }
                    }
                })
                .await;
            let name = format!("{crash:?} at {at}");
            journal.run(&[Fault::None], async |_| {}).await;
            let records = journal.records();
            assert!(records.len() as u64 >= acknowledged, "{name}: {acknowledged} were acknowledged");
            let ids: BTreeSet<_> = records.iter().map(|record| (record.epoch, record.seq)).collect();
            assert_eq!(ids.len(), records.len(), "{name}");
            let end = records.last().map(|record| &record.body);
            assert!(matches!(end, None | Some(Body::Detached { .. })), "{name}: {end:?}");
            assert_eq!(verify(&journal.path()).expect("opens").faults, Vec::<Box<str>>::new(), "{name}");
        }
    }
}

/// At any commit, the positions of a feed and a stream include exactly the foreign records that are in the journal, and the next
/// hub continues after them without a repetition.
#[tokio::test(start_paused = true)]
async fn crash_at_any_commit_keeps_foreign_records_and_feed_position_together() {
    for crash in [Fault::CrashBefore, Fault::CrashAfter, Fault::FailsAfterEffect] {
        for at in 0..7 {
            let journal = TestJournal { segment_records: 3, ..TestJournal::new() };
            let mut faults = vec![Fault::None; at];
            faults.extend([crash, Fault::None]);
            let name = format!("{crash:?} at {at}");
            // The next hub has the rest.
            for faults in [&faults[..], &[Fault::None][..]] {
                journal.run(faults, async |outlets| feed_all(&journal, &outlets).await).await;
                let (mut epochs, records) = (Vec::new(), journal.records());
                for record in records.iter().filter(|record| record.vm == "node1/web1") {
                    epochs.push((record.epoch.0, record.seq.0));
                }
                let reader = Reader::open(&journal.path()).expect("opens");
                let feeds = reader.feeds().expect("reads");
                let committed = feeds.first().map_or(0, |feed| feed.offset.0);
                let expected: Vec<_> = (1..=committed).map(foreign_numbers).collect();
                assert_eq!(epochs, expected, "{name}");
                let streams = reader.stream_positions().expect("reads");
                assert_eq!(streams.first().map_or(0, |position| position.sequence), committed, "{name}");
                assert!(!records.iter().any(|record| matches!(record.body, Body::Detached { .. })), "{name}");
            }
            assert_eq!(
                Reader::open(&journal.path()).expect("opens").feeds().expect("reads")[0].offset.0,
                FED
            );
            assert_eq!(verify(&journal.path()).expect("opens").faults, Vec::<Box<str>>::new(), "{name}");
        }
    }
}

/// The records of the foreign journal.
const FED: u64 = 30;

/// The epoch and number of its record at `offset`: epochs of seven records with holes, which no record closes.
fn foreign_numbers(offset: u64) -> (u32, u64) {
    (1 + u32::try_from(offset / 7).expect("small"), offset % 7 * 3)
}

/// Appends the foreign records after the position of the feed in batches, with records of this hub between them.
async fn feed_all(journal: &TestJournal, outlets: &WriterOutlets) {
    let appender = Appender::new(Arc::clone(&outlets.queue));
    let feeds = Reader::open(&journal.path()).expect("opens").feeds().expect("reads");
    let mut offset = feeds.first().map_or(0, |feed| feed.offset.0);
    for size in [1, 4, 2, 9, 5, 30] {
        let mut batch = ForeignBatch::new();
        let upto = (offset + size).min(FED);
        for offset in offset + 1..=upto {
            let (epoch, seq) = foreign_numbers(offset);
            let body = if seq == 0 { Body::Attached { snapshot: "{}".into() } } else { event() };
            let (epoch, seq) = (Epoch(epoch), Seq(seq));
            let record = Record { offset: None, vm: "node1/web1".into(), epoch, seq, received: START, body };
            batch.push(&record).expect("the numbers grow");
        }
        offset = upto;
        let (journal, host) = ("0a".into(), "node1".into());
        batch.set_feed(Feed { journal, host, offset: Offset(offset), received: START });
        batch.set_stream_position(StreamPosition { stream: "qmp".into(), sequence: offset });
        let mut own = Batch::new();
        own.push(&Draft { vm: "web1", received: START, body: event() });
        appender.append(&mut own).expect("room");
        let ticket = appender.append_foreign(&mut batch).expect("room");
        if tokio::time::timeout(Duration::from_secs(60), appender.committed(ticket)).await.is_err() {
            break;
        }
    }
}

/// A batch with positions is one transaction, also if it is larger than the others may be.
#[tokio::test(start_paused = true)]
async fn large_foreign_batch_is_one_transaction() {
    let journal = TestJournal { segment_records: 10_000, queue_max_bytes: 64 << 20, ..TestJournal::new() };
    let records = COMMIT_MAX_RECORDS as u64 + 1;
    journal
        .run(&[Fault::None, Fault::CrashBefore], async |outlets| {
            append(&outlets, 5).expect("room");
            let mut batch = ForeignBatch::new();
            for seq in 1..=records {
                let (vm, body) = ("node1/web1".into(), event());
                let (epoch, seq) = (Epoch(1), Seq(seq));
                let record = Record { offset: None, vm, epoch, seq, received: START, body };
                batch.push(&record).expect("the numbers grow");
            }
            batch.set_stream_position(StreamPosition { stream: "qmp".into(), sequence: records });
            let appender = Appender::new(Arc::clone(&outlets.queue));
            let ticket = appender.append_foreign(&mut batch).expect("room");
            let committed = tokio::time::timeout(Duration::from_secs(60), appender.committed(ticket)).await;
            assert!(committed.is_err(), "the second transaction is not committed");
        })
        .await;
    assert_eq!(journal.records().len(), 5, "none of the batch");
    assert_eq!(Reader::open(&journal.path()).expect("opens").stream_positions().expect("reads"), []);
}

/// A repetition is refused before anything of its batch is queued, also by the next hub.
#[tokio::test(start_paused = true)]
async fn foreign_record_that_is_not_after_the_last_of_its_vm_is_refused() {
    let journal = TestJournal::new();
    let record = |vm: &'static str, epoch, seq| {
        let (epoch, seq) = (Epoch(epoch), Seq(seq));
        Record { offset: None, vm: vm.into(), epoch, seq, received: START, body: event() }
    };
    let batch = |records: &[Record<'static>]| {
        let mut batch = ForeignBatch::new();
        records.iter().for_each(|record| batch.push(record).expect("in order"));
        batch
    };
    for round in 0..2 {
        journal
            .run(&[Fault::None], async |outlets| {
                let appender = Appender::new(Arc::clone(&outlets.queue));
                if round == 0 {
                    let mut first = batch(&[record("a/web1", 2, 5), record("b/web1", 1, 9)]);
                    let ticket = appender.append_foreign(&mut first).expect("room");
                    appender.committed(ticket).await.expect("commits");
                }
                for (epoch, seq) in [(2, 5), (2, 4), (1, 7)] {
                    let mut again = batch(&[record("c/web1", 1, 1), record("a/web1", epoch, seq)]);
                    let refused = appender.append_foreign(&mut again).expect_err("a repetition");
                    let (epoch, seq, last_epoch, last_seq) = (Epoch(epoch), Seq(seq), Epoch(2), Seq(5));
                    let vm = "a/web1".into();
                    assert_eq!(refused, ForeignError::Repeated { vm, epoch, seq, last_epoch, last_seq });
                    assert_eq!(again.len(), 2, "unchanged");
                }
                assert_eq!(appender.last_foreign("c/web1"), None);
                assert_eq!(appender.last_foreign("a/web1"), Some((Epoch(2), Seq(5))));
            })
            .await;
        assert_eq!(journal.records().len(), 2);
    }
    let mut own = ForeignBatch::new();
    let cases = [record("web1", 1, 1), record("a/web1", u32::MAX, 1), record("a/web1", 1, 1 << 52)];
    let attached = Body::Attached { snapshot: "{}".into() };
    let cases = cases.into_iter().chain([Record { body: attached, ..record("a/web1", 1, 1) }]);
    for record in cases {
        own.push(&record).expect_err("not the record of another host");
    }
}

/// The journal is closed while the disk is full: one more try, without the rest of the pause.
#[tokio::test(start_paused = true)]
async fn close_tries_once_more_and_returns_the_number_of_unwritten_records() {
    let journal = TestJournal::new();
    let writer = journal.writer(&[Fault::Full]).await;
    let outlets = writer.outlets();
    let began = Moment::now();
    append(&outlets, 2).expect("room");
    let close = async {
        tokio::time::sleep(Duration::from_secs(9)).await;
        let tries = outlets.gauge.read().commit_failures;
        outlets.queue.close();
        tries
    };
    let (ended, tries) = within_an_hour(async { tokio::join!(writer.run(), close) }).await;
    assert!(matches!(ended, Err(JournalError::Unwritten { records: 2, .. })), "{ended:?}");
    assert_eq!(began.elapsed(), Duration::from_secs(9));
    assert_eq!(outlets.gauge.read().commit_failures, tries + 1);
    assert_eq!(append(&outlets, 1), Err(Overrun));
}

/// A journal in a directory of its own.
struct TestJournal {
    home: tempfile::TempDir,
    queue_max_bytes: usize,
    segment_records: u64,
}

impl TestJournal {
    fn new() -> Self {
        let home = tempfile::tempdir().expect("a directory");
        Self { home, queue_max_bytes: 1 << 20, segment_records: 100 }
    }

    fn path(&self) -> PathBuf {
        self.home.path().join("journal.db")
    }

    async fn writer(&self, faults: &[Fault]) -> Writer<FaultyStorage> {
        let inner = SqliteStorage::open(&self.path()).expect("opens");
        let storage = FaultyStorage { inner, faults: faults.into(), commits: 0 };
        let Self { queue_max_bytes, segment_records, .. } = *self;
        let options = JournalOptions { queue_max_bytes, segment_records, ..JournalOptions::default() };
        let clock = Clock::Steady(SteadyClock::starting_at(START));
        Writer::start(storage, options, clock).await.expect("starts")
    }

    /// Runs a writer until `test` ends, and ends it then as a crash does.
    async fn run(&self, faults: &[Fault], test: impl AsyncFnOnce(WriterOutlets)) {
        let writer = self.writer(faults).await;
        let outlets = writer.outlets();
        tokio::select! {
            ended = writer.run() => panic!("the writer ended: {ended:?}"),
            () = within_an_hour(test(outlets)) => {}
        }
    }

    fn records(&self) -> Vec<Record<'static>> {
        let reader = Reader::open(&self.path()).expect("opens");
        reader.cursor(Query::default(), Offset(0)).next_batch(10_000).expect("reads")
    }

    /// The offsets of the records, each of which has the next number.
    fn numbers(&self) -> Vec<u64> {
        let records = self.records();
        let is_next = |(record, seq): (&Record<'_>, u64)| record.seq.0 == seq;
        assert!(records.iter().zip(0..).all(is_next), "{records:?}");
        records.iter().map(|record| record.offset.expect("in a journal").0).collect()
    }
}

/// Fails a test in which the writer does not go on.
async fn within_an_hour<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(3_600), work).await.expect("ends")
}

/// Appends `records` events in one batch.
fn append(outlets: &WriterOutlets, records: usize) -> Result<crate::Ticket, Overrun> {
    append_all(outlets, &vec![event(); records])
}

fn append_all(outlets: &WriterOutlets, bodies: &[Body<'_>]) -> Result<crate::Ticket, Overrun> {
    let mut batch = Batch::new();
    for body in bodies {
        batch.push(&Draft { vm: "web1", received: START, body: body.clone() });
    }
    Appender::new(Arc::clone(&outlets.queue)).append(&mut batch)
}

fn event() -> Body<'static> {
    Body::Event { name: "STOP".into(), sent_name: None, timestamp: None, data: None }
}
