//! A reader with a subscription gets the same bytes as one without.

use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

use axum::body::BodyDataStream;
use futures_util::{FutureExt as _, StreamExt as _};
use proptest::prelude::*;
use qmp_journal::{Batch, Draft, Globs, Journal, JournalOptions, PrunedRange};
use qmp_wire::{Body, Record, UnixMicros};
use tokio::task::JoinHandle;

use super::*;
use crate::query::RecordQuery;
use crate::state::ApiState;
use crate::stream::RecordStream;

/// Writes the offset of each record with enough padding that a few records exceed the text that a stream keeps.
struct BulkyFormat;

const BULK: usize = 200 << 10;

impl Format for BulkyFormat {
    fn record(record: &Record<'_>, out: &mut Vec<u8>) {
        let offset = record.offset.unwrap_or_default().0;
        out.extend_from_slice(offset.to_string().as_bytes());
        out.resize(out.len() + BULK, b' ');
        out.push(b'\n');
    }

    fn begin(position: Offset, out: &mut Vec<u8>) {
        out.extend_from_slice(format!("{}\n", position.0).as_bytes());
    }

    fn removed(_removed: PrunedRange, _out: &mut Vec<u8>) -> bool {
        false
    }

    fn keep_alive(_position: Offset, _out: &mut Vec<u8>) {}
}

/// Counts how often a record is encoded.
struct CountingFormat;

static WRITTEN: AtomicUsize = AtomicUsize::new(0);

impl Format for CountingFormat {
    fn record(_record: &Record<'_>, out: &mut Vec<u8>) {
        WRITTEN.fetch_add(1, Ordering::Relaxed);
        out.push(b'r');
    }

    fn removed(_removed: PrunedRange, _out: &mut Vec<u8>) -> bool {
        false
    }

    fn keep_alive(_position: Offset, out: &mut Vec<u8>) {
        out.push(b'k');
    }
}

struct Fixture {
    journal: Journal,
    api: ApiState,
    ends: watch::Sender<bool>,
    _home: tempfile::TempDir,
}

/// One step of a generated test.
#[derive(Clone, Debug)]
enum Step {
    /// Commits this many STOPs, then RESUMEs.
    Commit { stops: usize, resumes: usize },
    /// Connects a reader of everything or of RESUME, this far before the head.
    Join { resumes_only: bool, behind: u64 },
    /// Polls the readers whose bit is set.
    Take { readers: u64 },
}

struct Reader {
    request: RecordQuery,
    body: BodyDataStream,
    text: Vec<u8>,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0_usize..3, 0_usize..3).prop_map(|(stops, resumes)| Step::Commit { stops, resumes }),
        (any::<bool>(), 0_u64..6).prop_map(|(resumes_only, behind)| Step::Join { resumes_only, behind }),
        // Most readers are polled each time, so that they reach the head and subscribe.
        (any::<u64>(), any::<u64>()).prop_map(|(some, others)| Step::Take { readers: some | others }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn reader_gets_the_same_bytes_with_and_without_sharing(
        steps in proptest::collection::vec(step(), 1..60),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        runtime.expect("a runtime").block_on(play(steps));
    }
}

async fn play(steps: Vec<Step>) {
    let fixture = Fixture::new().await;
    let mut readers: Vec<Reader> = Vec::new();
    for step in steps {
        match step {
            Step::Commit { stops, resumes } => fixture.commit(stops, resumes).await,
            Step::Join { resumes_only, behind } => {
                let after = Offset(fixture.api.head().0.saturating_sub(behind));
                readers.push(Reader::connect(&fixture, request(resumes_only, after)).await);
            }
            Step::Take { readers: bits } => {
                for (n, reader) in readers.iter_mut().enumerate() {
                    if bits >> (n % 64) & 1 == 1 {
                        reader.poll().await;
                    }
                }
            }
        }
    }
    let head = fixture.api.head();
    fixture.ends.send_replace(true);
    for mut reader in readers {
        while let Some(chunk) = reader.body.next().await {
            reader.text.extend_from_slice(&chunk.expect("readable"));
        }
        let alone = RecordStream::<BulkyFormat>::open(
            fixture.api.clone(),
            reader.request.clone(),
            Some(head),
            fixture.api.reads.memory.recipient(),
        )
        .await;
        let mut alone = alone.expect("opens").into_body().into_data_stream();
        let mut expected = Vec::new();
        while let Some(chunk) = alone.next().await {
            expected.extend_from_slice(&chunk.expect("readable"));
        }
        // Not `assert_eq`: it would print hundreds of KiB of spaces.
        assert!(reader.text == expected, "{:?}", (offsets(&reader.text), offsets(&expected)));
    }
}

#[tokio::test]
async fn record_is_encoded_once_for_all_waiting_readers() {
    let fixture = Fixture::new().await;
    let query = Query { event: Globs::parse(["STOP"]).expect("a glob"), ..Query::default() };
    let request = RecordQuery { query: query.clone(), after: Some(Offset(0)), ..RecordQuery::default() };
    let mut readers: Vec<JoinHandle<Vec<u8>>> = Vec::new();
    for _ in 0..40 {
        let stream = RecordStream::<CountingFormat>::open(
            fixture.api.clone(),
            request.clone(),
            None,
            fixture.api.reads.memory.recipient(),
        )
        .await;
        let mut body = stream.expect("opens").into_body().into_data_stream();
        readers.push(tokio::spawn(async move {
            let mut text = Vec::new();
            while let Some(chunk) = body.next().await {
                text.extend_from_slice(&chunk.expect("readable"));
            }
            text
        }));
    }
    fixture.until(|fixture| fixture.subscriptions() == vec![40]).await;
    for _ in 0..5 {
        fixture.commit(4, 1).await;
    }
    fixture.until(|_| WRITTEN.load(Ordering::Relaxed) == 20).await;
    fixture.ends.send_replace(true);
    for reader in readers {
        assert_eq!(reader.await.expect("no panic"), [b'r'; 20]);
    }
    // Readers that lagged when the hub ended encoded the rest themselves.
    fixture.until(|fixture| fixture.subscriptions().is_empty()).await;
}

#[tokio::test]
async fn queries_over_the_sharing_limit_are_read_without_sharing() {
    let fixture = Fixture::new().await;
    let mut readers = Vec::new();
    for n in 0..SHARED_STREAMS_MAX + 2 {
        let query = Query { since: Some(UnixMicros(n as i64)), ..Query::default() };
        let request = RecordQuery { query, ..RecordQuery::default() };
        readers.push(Reader::connect(&fixture, request).await);
    }
    let deadline = Instant::now() + Duration::from_secs(10);
    while fixture.subscriptions().len() < SHARED_STREAMS_MAX {
        assert!(Instant::now() < deadline, "{:?}", fixture.subscriptions());
        for reader in &mut readers {
            reader.poll().await;
        }
    }
    fixture.commit(1, 0).await;
    for (n, reader) in readers.iter_mut().enumerate() {
        assert_eq!(offsets(&reader.text), [0], "the beginning");
        let chunk = reader.body.next().await.expect("a chunk").expect("readable");
        // All queries select the record, which was received at 100.
        assert_eq!(offsets(&chunk), [1], "{n}");
    }
    drop(readers);
    fixture.until(|fixture| fixture.subscriptions().is_empty()).await;
}

impl Fixture {
    async fn new() -> Self {
        let home = tempfile::tempdir().expect("a directory");
        let path = home.path().join("journal.db");
        let journal = Journal::open(&path, JournalOptions::default()).expect("opens");
        let (ends, ending) = watch::channel(false);
        let api = ApiState::without_vms(&journal, path, ending).await;
        Self { journal, api, ends, _home: home }
    }

    async fn commit(&self, stops: usize, resumes: usize) {
        let mut batch = Batch::new();
        let names = std::iter::repeat_n("STOP", stops).chain(std::iter::repeat_n("RESUME", resumes));
        for name in names {
            let body = Body::Event { name: name.into(), sent_name: None, timestamp: None, data: None };
            batch.push(&Draft { vm: "vm1", received: UnixMicros(100), body });
        }
        let appender = self.journal.appender();
        let ticket = appender.append(&mut batch).expect("there is room");
        appender.committed(ticket).await.expect("is committed");
    }

    /// The number of readers of each stream.
    fn subscriptions(&self) -> Vec<usize> {
        let streams = self.api.streams.0.lock().expect("no panic");
        streams.iter().map(Weak::strong_count).filter(|count| *count > 0).collect()
    }

    async fn until(&self, holds: impl Fn(&Self) -> bool) {
        qmp_testing::poll_until("the streams", async || holds(self).then_some(())).await;
    }
}

impl Reader {
    async fn connect(fixture: &Fixture, request: RecordQuery) -> Self {
        let recipient = fixture.api.reads.memory.recipient();
        let stream =
            RecordStream::<BulkyFormat>::open(fixture.api.clone(), request.clone(), None, recipient).await;
        let stream = stream.expect("opens");
        Self { request, body: stream.into_body().into_data_stream(), text: Vec::new() }
    }

    /// Polls the body, and keeps the chunk if one is ready.
    async fn poll(&mut self) {
        for _ in 0..20 {
            if let Some(Some(chunk)) = self.body.next().now_or_never() {
                self.text.extend_from_slice(&chunk.expect("readable"));
                return;
            }
            // Other threads read the journal meanwhile.
            tokio::task::yield_now().await;
        }
    }
}

fn request(resumes_only: bool, after: Offset) -> RecordQuery {
    let event: &[&str] = if resumes_only { &["RESUME"] } else { &[] };
    let query = Query { event: Globs::parse(event).expect("globs"), ..Query::default() };
    RecordQuery { query, after: Some(after), ..RecordQuery::default() }
}

fn offsets(text: &[u8]) -> Vec<u64> {
    let text = String::from_utf8_lossy(text);
    text.lines().map(|line| line.trim_end().parse().expect("a number")).collect()
}
