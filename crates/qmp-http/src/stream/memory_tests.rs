//! Memory of readers that do not read. The tests measure the counted budget, not the memory of the process.

use axum::body::BodyDataStream;
use futures_util::{FutureExt as _, StreamExt as _};
use qmp_host::reader_memory::READER_MEMORY_MAX_BYTES;
use qmp_journal::{Batch, Draft, Globs, Journal, JournalOptions, Query};
use qmp_wire::{Body as RecordBody, Record, UnixMicros};
use tokio::sync::watch;

use super::*;

/// Records as their JSON.
struct JsonFormat;

impl Format for JsonFormat {
    fn record(record: &Record<'_>, out: &mut Vec<u8>) {
        record.write_json(out);
        out.push(b'\n');
    }

    fn removed(_removed: PrunedRange, _out: &mut Vec<u8>) -> bool {
        false
    }

    fn keep_alive(_position: Offset, _out: &mut Vec<u8>) {}
}

struct Fixture {
    journal: Journal,
    api: ApiState,
    _ends: watch::Sender<bool>,
    _home: tempfile::TempDir,
}

const READERS: usize = 30;

#[tokio::test]
async fn readers_of_a_large_record_share_its_text() {
    let fixture = Fixture::new().await;
    fixture.commit(1, 3 << 20).await;
    let mut readers = Vec::new();
    for n in 0..READERS {
        let mut body = fixture.read(n, None).await.expect("opens");
        let piece = body.next().await.expect("a piece").expect("readable");
        assert_eq!(piece.len(), PIECE_MAX_BYTES);
        readers.push((body, piece));
    }
    let used = fixture.api.reads.memory.used();
    assert!((3 << 20..(3 << 20) + 1_000).contains(&used), "{used} bytes for {READERS} readers");
    let (mut body, first) = readers.pop().expect("one");
    assert!(body.next().now_or_never().is_none(), "no further piece while the first is held");
    let mut text = first.to_vec();
    drop(first);
    while let Some(piece) = body.next().await {
        text.extend_from_slice(&piece.expect("readable"));
    }
    assert!(text.len() > 3 << 20 && text.ends_with(b"}\n"));
    drop((body, readers));
    assert_eq!(fixture.api.reads.memory.used(), 0);
}

#[tokio::test]
async fn reader_that_does_not_read_has_one_chunk() {
    let fixture = Fixture::new().await;
    fixture.commit(300, 7_000).await;
    let mut readers = Vec::new();
    for n in 0..READERS {
        let mut body = fixture.read(n, None).await.expect("opens");
        let piece = body.next().await.expect("a piece").expect("readable");
        readers.push((body, piece));
    }
    let used = fixture.api.reads.memory.used();
    assert!(used <= READERS * PIECE_MAX_BYTES, "{used} bytes for {READERS} readers");
}

#[tokio::test]
async fn last_records_are_found_without_reading_their_text() {
    let fixture = Fixture::new().await;
    for _ in 0..3 {
        fixture.commit(3, 7_000).await;
        fixture.commit(1, 1 << 20).await;
    }
    for (last, expected) in [(1, 12..=12), (5, 8..=12), (100, 1..=12)] {
        let mut body = fixture.read(0, Some(last)).await.expect("opens");
        assert!(fixture.api.reads.memory.used() <= CHUNK_READ_BYTES);
        let mut text = Vec::new();
        while let Some(piece) = body.next().await {
            text.extend_from_slice(&piece.expect("readable"));
        }
        let text = String::from_utf8(text).expect("UTF-8");
        let offsets = text.lines().map(|line| {
            let record: serde_json::Value = serde_json::from_str(line).expect("JSON");
            record["offset"].as_u64().expect("an offset")
        });
        assert_eq!(offsets.collect::<Vec<_>>(), expected.collect::<Vec<_>>(), "{last}");
    }
}

#[tokio::test]
async fn condition_on_data_selects_large_records() {
    let fixture = Fixture::new().await;
    fixture.commit(1, 1 << 20).await;
    for (condition, expected) in [("n=1", true), ("n=2", false)] {
        let query = Query { where_: vec![condition.parse().expect("a condition")], ..Query::default() };
        for last in [None, Some(1)] {
            let request = RecordQuery { query: query.clone(), last, ..RecordQuery::default() };
            let mut body = fixture.open(request).await.expect("opens");
            assert_eq!(body.next().await.is_some(), expected, "{condition} {last:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn reader_is_refused_while_there_is_no_memory() {
    let fixture = Fixture::new().await;
    let used = fixture.api.reads.memory.try_take(READER_MEMORY_MAX_BYTES).expect("there is room");
    assert!(matches!(fixture.read(0, None).await, Err(ReadError::Memory(_))));
    drop(used);
    assert!(fixture.read(0, None).await.is_ok());
}

#[tokio::test]
async fn stream_ends_with_an_error_while_memory_stays_short() {
    let fixture = Fixture::new().await;
    fixture.commit(1, 1 << 20).await;
    let mut body = fixture.read(0, None).await.expect("opens");
    let _used =
        fixture.api.reads.memory.try_take(READER_MEMORY_MAX_BYTES - CHUNK_READ_BYTES).expect("there is room");
    tokio::time::pause();
    assert!(body.next().await.expect("an end").is_err());
}

impl Fixture {
    async fn new() -> Self {
        let home = tempfile::tempdir().expect("a directory");
        let path = home.path().join("journal.db");
        let journal = Journal::open(&path, JournalOptions::default()).expect("opens");
        let (ends, ending) = watch::channel(false);
        let api = ApiState::without_vms(&journal, path, ending).await;
        Self { journal, api, _ends: ends, _home: home }
    }

    /// Commits events with `data_bytes` of data each.
    async fn commit(&self, events: usize, data_bytes: usize) {
        let data = format!(r#"{{"n": 1, "text": "{}"}}"#, "z".repeat(data_bytes));
        let mut batch = Batch::new();
        for _ in 0..events {
            let (name, data) = ("N".into(), Some(data.as_str().into()));
            let body = RecordBody::Event { name, sent_name: None, timestamp: None, data };
            batch.push(&Draft { vm: "vm1", received: UnixMicros(1), body });
        }
        let appender = self.journal.appender();
        let ticket = appender.append(&mut batch).expect("there is room");
        appender.committed(ticket).await.expect("is committed");
    }

    /// Reads all events up to the head, with a query that no other reader has.
    async fn read(&self, n: usize, last: Option<usize>) -> Result<BodyDataStream, ReadError> {
        let event = Globs::parse(["N".to_owned(), format!("x{n}")]).expect("globs");
        let query = Query { event, ..Query::default() };
        self.open(RecordQuery { query, last, ..RecordQuery::default() }).await
    }

    async fn open(&self, request: RecordQuery) -> Result<BodyDataStream, ReadError> {
        let (api, head) = (self.api.clone(), self.api.head());
        let recipient = api.reads.memory.recipient();
        let stream = RecordStream::<JsonFormat>::open(api, request, Some(head), recipient).await?;
        Ok(stream.into_body().into_data_stream())
    }
}
