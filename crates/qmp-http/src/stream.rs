//! Streams of records, history first, then live: the part that all formats share.
//!
//! Each client has its own position, which advances as the client reads. A slow client lags; a disconnected one drops its
//! position. A client holds one chunk at a time: the next is read after it has sent that. Readers at the head with the
//! same query share the encoded text (see [`super::fanout`]); a large record is encoded once for all readers at it. All
//! text is counted in one budget, [`ReaderMemory`]: a reader waits for memory, and its stream ends if it gets none in
//! time.
//!
//! [`ReaderMemory`]: qmp_host::reader_memory::ReaderMemory

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use futures_util::stream;
use qmp_host::reader_memory::{Portion, Recipient};
use qmp_journal::{Cursor, JournalError, PrunedRange, Reader};
use qmp_wire::Offset;
use tokio::time::timeout;

use super::fanout::{ReadStep, Subscription};
use super::format::{CHUNK_MAX_BYTES, CHUNK_READ_BYTES, Chunk, Format, read_chunk};
use super::query::RecordQuery;
use super::reader_count::ReaderGuard;
use super::reads::ReadError;
use crate::state::ApiState;

/// The longest piece of a text that a client gets at a time, in bytes: as much as it must accept while others wait.
const PIECE_MAX_BYTES: usize = 2 * CHUNK_MAX_BYTES;

/// How long a following reader waits without a record before it gets a keep-alive, so that proxies keep the connection,
/// and a vanished client is noticed.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// A header of the response: the head when the stream was opened.
const HEAD_HEADER: &str = "qmp-events-head";

/// A header of the response: how many records were removed between the position from which the client continues and the
/// first record that is kept.
const REMOVED_HEADER: &str = "qmp-events-removed";

/// The stream of one client.
pub(super) struct RecordStream<F> {
    /// Encoded text that was not sent yet.
    text: Bytes,
    cursor: Cursor,
    mode: ReadMode,
    /// Records that were removed after the client's position and before its request.
    removed: Option<PrunedRange>,
    api: ApiState,
    /// Where to end; `None` follows without end.
    until: Option<Offset>,
    /// The hub stops: the stream ends with the last record of the journal.
    ending: bool,
    /// Memory for the first chunk.
    memory: Option<Portion>,
    recipient: Arc<Recipient>,
    _guard: ReaderGuard,
    _format: std::marker::PhantomData<F>,
}

/// Where a reader gets its text from.
enum ReadMode {
    /// The journal, because it has not reached the head yet.
    CatchUp,
    Subscribed(Subscription),
    /// The journal, until the end.
    Alone,
}

impl<F: Format> RecordStream<F> {
    /// Finds the position to read from, which is before the last records if `last` is given. Reads up to `until`, or
    /// without end.
    ///
    /// # Errors
    ///
    /// Errors of reading the journal; [`ReadError::Memory`] if there is no memory for another reader.
    pub(super) async fn open(
        api: ApiState,
        request: RecordQuery,
        until: Option<Offset>,
        recipient: Arc<Recipient>,
    ) -> Result<Self, ReadError> {
        let memory = Some(api.reads.memory.take(CHUNK_READ_BYTES).await?);
        let reader = api.reader.clone();
        let (cursor, removed) = api.read(move || open(&reader, request)).await?;
        let mut text = Vec::new();
        F::begin(cursor.position(), &mut text);
        if let Some(removed) = removed {
            F::removed(removed, &mut text);
        }
        let guard = api.reader_count.reader();
        Ok(Self {
            text: text.into(),
            cursor,
            mode: ReadMode::CatchUp,
            removed,
            api,
            until,
            ending: false,
            memory,
            recipient,
            _guard: guard,
            _format: std::marker::PhantomData,
        })
    }

    /// The headers of the response; `head` is the head when the stream was opened.
    pub(super) fn headers(&self, head: Offset) -> [(&'static str, String); 2] {
        let removed = self.removed.map_or(0, PrunedRange::records);
        [(HEAD_HEADER, head.0.to_string()), (REMOVED_HEADER, removed.to_string())]
    }

    /// The body of the response.
    pub(super) fn into_body(self) -> Body {
        Body::from_stream(stream::try_unfold(self, Self::next))
    }

    /// The next piece for the client; `None` at the end.
    async fn next(mut self) -> Result<Option<(Bytes, Self)>, ReadError> {
        self.recipient.taken().await;
        loop {
            if !self.text.is_empty() {
                let piece = self.text.split_to(self.text.len().min(PIECE_MAX_BYTES));
                return Ok(Some((Bytes::from_owner(self.recipient.lend(piece)), self)));
            }
            match self.next_step() {
                Some(ReadStep::Chunk { text, upto }) => self.take_chunk(text, upto),
                Some(ReadStep::Front) => self.wait().await,
                Some(ReadStep::Between { upto }) => self = self.read(upto).await?,
                None => {
                    let upto = self.until.unwrap_or(Offset(u64::MAX));
                    self = self.read(upto).await?;
                    if self.text.is_empty() {
                        if self.until.is_some() || self.ending {
                            return Ok(None);
                        }
                        self.join();
                        self.wait().await;
                    }
                }
            }
        }
    }

    /// The next step of the subscription at the stream's position; `None` without a subscription.
    fn next_step(&self) -> Option<ReadStep> {
        match &self.mode {
            ReadMode::Subscribed(subscription) if !self.ending => {
                Some(subscription.at(self.cursor.position()))
            }
            _ => None,
        }
    }

    fn take_chunk(&mut self, text: Bytes, upto: Offset) {
        self.text = text;
        self.cursor.advance_to(upto);
    }

    /// Subscribes to the shared stream, if that is possible.
    fn join(&mut self) {
        if matches!(self.mode, ReadMode::CatchUp) {
            let (query, after) = (self.cursor.query(), self.cursor.position());
            let subscription = self.api.streams.join::<F>(&self.api.reads, query, after);
            self.mode = subscription.map_or(ReadMode::Alone, ReadMode::Subscribed);
        }
    }

    /// Reads the next records up to `upto` on a blocking thread.
    async fn read(self, upto: Offset) -> Result<Self, ReadError> {
        let Self { cursor, memory, api, .. } = self;
        let memory = match memory {
            Some(memory) => memory,
            None => api.reads.memory.take(CHUNK_READ_BYTES).await?,
        };
        let (chunk, mut cursor) = api.read(move || read_chunk::<F>(cursor, upto, memory)).await?;
        let text = match chunk {
            Chunk::Text(text) => text,
            Chunk::Large(large) => {
                let text = api.reads.large_text::<F>(cursor.query(), large).await?;
                cursor.advance_to(large.offset);
                text.map_or_else(Bytes::new, Bytes::from_owner)
            }
        };
        Ok(Self { text, cursor, memory: None, api, ..self })
    }

    /// Waits for more; writes a keep-alive after [`KEEP_ALIVE`] without any.
    async fn wait(&mut self) {
        let mut ends = self.api.ends.clone();
        let more = async {
            tokio::select! {
                more = self.mode.wait(&mut self.cursor) => more.is_err(),
                // The sender lives as long as the hub: without it there are no further records either.
                _ = ends.wait_for(|ends| *ends) => true,
            }
        };
        match timeout(KEEP_ALIVE, more).await {
            Ok(ending) => self.ending = ending,
            Err(_) => self.keep_alive(),
        }
    }

    fn keep_alive(&mut self) {
        // Records outside the query wake no reader, so the position may have advanced.
        if let Some(ReadStep::Chunk { text, upto }) = self.next_step() {
            self.take_chunk(text, upto);
        }
        if self.text.is_empty() {
            let mut text = Vec::new();
            F::keep_alive(self.cursor.position(), &mut text);
            self.text = text.into();
        }
    }
}

impl ReadMode {
    /// Waits for records after the position of `cursor`.
    ///
    /// # Errors
    ///
    /// The journal has ended: there are no further records.
    async fn wait(&mut self, cursor: &mut Cursor) -> Result<(), JournalError> {
        if let Self::Subscribed(subscription) = self {
            if subscription.wait(cursor.position()).await.is_err() {
                // The next read returns the reason.
                *self = Self::Alone;
            }
            return Ok(());
        }
        cursor.wait().await
    }
}

/// The cursor at the requested position, and the records that were removed before it.
fn open(reader: &Reader, request: RecordQuery) -> Result<(Cursor, Option<PrunedRange>), JournalError> {
    let after = request.after.unwrap_or_default();
    let Some(last) = request.last else {
        let removed = PrunedRange::before(reader.first()?, after);
        let after = removed.map_or(after, |removed| removed.upto);
        return Ok((reader.cursor(request.query, after), removed));
    };
    let begin = reader.last_begin(&request.query, last)?;
    Ok((reader.cursor(request.query, begin.max(after)), None))
}

#[cfg(test)]
mod memory_tests;

#[cfg(test)]
mod tests {
    use futures_util::StreamExt as _;
    use qmp_journal::{Appender, Batch, Draft, Journal, JournalOptions, Query};
    use qmp_wire::{Body as RecordBody, Record, UnixMicros};
    use tokio::sync::watch;

    use super::*;

    /// Writes offsets, `b` for the beginning, `k` for a keep-alive.
    struct OffsetFormat;

    impl Format for OffsetFormat {
        fn record(record: &Record<'_>, out: &mut Vec<u8>) {
            out.extend_from_slice(format!("{} ", record.offset.unwrap_or_default().0).as_bytes());
        }

        fn begin(position: Offset, out: &mut Vec<u8>) {
            out.extend_from_slice(format!("b{} ", position.0).as_bytes());
        }

        fn removed(removed: PrunedRange, out: &mut Vec<u8>) -> bool {
            out.extend_from_slice(format!("-{} ", removed.records()).as_bytes());
            true
        }

        fn keep_alive(position: Offset, out: &mut Vec<u8>) {
            out.extend_from_slice(format!("k{} ", position.0).as_bytes());
        }
    }

    /// The paused clock advances only while every task waits for it, so this takes no time.
    #[tokio::test(start_paused = true)]
    async fn stream_without_records_sends_a_keep_alive_every_15_seconds() {
        let home = tempfile::tempdir().expect("a directory");
        let path = home.path().join("journal.db");
        let journal = Journal::open(&path, JournalOptions::default()).expect("opens");
        let (stop, ends) = watch::channel(false);
        let api = ApiState::without_vms(&journal, path, ends).await;
        append(&journal.appender(), "STOP").await;

        let query = Query { event: qmp_journal::Globs::parse(["STOP"]).expect("a glob"), ..Query::default() };
        let request = RecordQuery { query, ..RecordQuery::default() };
        let stream =
            RecordStream::<OffsetFormat>::open(api.clone(), request, None, api.reads.memory.recipient())
                .await;
        let stream = stream.expect("opens");
        assert_eq!(api.reader_count.readers(), 1);
        let mut body = stream.into_body().into_data_stream();
        let began = tokio::time::Instant::now();
        assert_eq!(next(&mut body).await, "b0 ");
        assert_eq!(next(&mut body).await, "1 ");
        assert_eq!(began.elapsed(), Duration::ZERO);
        assert_eq!(next(&mut body).await, "k1 ");
        assert_eq!(next(&mut body).await, "k1 ");
        assert_eq!(began.elapsed().as_secs(), 30);
        // The record is outside the query; the position advances.
        append(&journal.appender(), "RESUME").await;
        assert_eq!(next(&mut body).await, "k2 ");
        append(&journal.appender(), "STOP").await;
        assert_eq!(next(&mut body).await, "3 ");
        stop.send_replace(true);
        assert_eq!(next(&mut body).await, "");
        drop(body);
        assert_eq!(api.reader_count.readers(), 0);
    }

    async fn append(appender: &Appender, event: &str) {
        let mut batch = Batch::new();
        let body = RecordBody::Event { name: event.into(), sent_name: None, timestamp: None, data: None };
        batch.push(&Draft { vm: "vm1", received: UnixMicros(1), body });
        let ticket = appender.append(&mut batch).expect("there is room");
        appender.committed(ticket).await.expect("is committed");
    }

    /// The next chunk; empty at the end.
    async fn next(body: &mut axum::body::BodyDataStream) -> String {
        let chunk = body.next().await.map(|chunk| chunk.expect("readable")).unwrap_or_default();
        String::from_utf8(chunk.into()).expect("UTF-8")
    }
}
