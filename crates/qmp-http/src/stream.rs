//! Streams of records, history first, then live: the part that all formats share.
//!
//! Each client has its own position, which advances as the client reads. A slow client lags; a disconnected one drops its
//! position. A client holds one chunk at a time: the next is read after it has sent that. Readers at the head with the
//! same query share the encoded text (see [`super::shared`]); a large record is encoded once for all readers at it. All
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

use super::counts::Counted;
use super::format::{CHUNK_MAX_BYTES, CHUNK_READ_BYTES, Chunk, Format, read_chunk};
use super::parameters::Wanted;
use super::reads::ReadingError;
use super::shared::{Place, Share};
use crate::served::Served;

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
pub(super) struct Reading<F> {
    /// Encoded text that was not sent yet.
    text: Bytes,
    cursor: Cursor,
    sharing: Sharing,
    /// Records that were removed after the client's position and before its request.
    removed: Option<PrunedRange>,
    served: Served,
    /// Where to end; `None` follows without end.
    until: Option<Offset>,
    /// The hub stops: the stream ends with the last record of the journal.
    ending: bool,
    /// Memory for the first chunk.
    memory: Option<Portion>,
    recipient: Arc<Recipient>,
    _counted: Counted,
    _format: std::marker::PhantomData<F>,
}

/// Where a reader gets its text from.
enum Sharing {
    /// The journal, because it has not reached the head yet.
    NotYet,
    With(Share),
    /// The journal, until the end.
    Never,
}

impl<F: Format> Reading<F> {
    /// Finds the position to read from, which is before the last records if `last` is given. Reads up to `until`, or
    /// without end.
    ///
    /// # Errors
    ///
    /// Errors of reading the journal; [`ReadingError::Memory`] if there is no memory for another reader.
    pub(super) async fn open(
        served: Served,
        wanted: Wanted,
        until: Option<Offset>,
        recipient: Arc<Recipient>,
    ) -> Result<Self, ReadingError> {
        let memory = Some(served.reads.memory.take(CHUNK_READ_BYTES).await?);
        let reader = served.reader.clone();
        let (cursor, removed) = served.read(move || open(&reader, wanted)).await?;
        let mut text = Vec::new();
        F::begin(cursor.position(), &mut text);
        if let Some(removed) = removed {
            F::removed(removed, &mut text);
        }
        let counted = served.counts.reader();
        Ok(Self {
            text: text.into(),
            cursor,
            sharing: Sharing::NotYet,
            removed,
            served,
            until,
            ending: false,
            memory,
            recipient,
            _counted: counted,
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
    async fn next(mut self) -> Result<Option<(Bytes, Self)>, ReadingError> {
        self.recipient.taken().await;
        loop {
            if !self.text.is_empty() {
                let piece = self.text.split_to(self.text.len().min(PIECE_MAX_BYTES));
                return Ok(Some((Bytes::from_owner(self.recipient.lend(piece)), self)));
            }
            match self.shared_place() {
                Some(Place::Chunk { text, upto }) => self.take_shared(text, upto),
                Some(Place::Front) => self.wait().await,
                Some(Place::Between { upto }) => self = self.read(upto).await?,
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
    fn shared_place(&self) -> Option<Place> {
        match &self.sharing {
            Sharing::With(share) if !self.ending => Some(share.at(self.cursor.position())),
            _ => None,
        }
    }

    fn take_shared(&mut self, text: Bytes, upto: Offset) {
        self.text = text;
        self.cursor.advance_to(upto);
    }

    /// Subscribes to the shared stream, if that is possible.
    fn join(&mut self) {
        if matches!(self.sharing, Sharing::NotYet) {
            let (query, after) = (self.cursor.query(), self.cursor.position());
            let share = self.served.streams.join::<F>(&self.served.reads, query, after);
            self.sharing = share.map_or(Sharing::Never, Sharing::With);
        }
    }

    /// Reads the next records up to `upto` on a blocking thread.
    async fn read(self, upto: Offset) -> Result<Self, ReadingError> {
        let Self { cursor, memory, served, .. } = self;
        let memory = match memory {
            Some(memory) => memory,
            None => served.reads.memory.take(CHUNK_READ_BYTES).await?,
        };
        let (chunk, mut cursor) = served.read(move || read_chunk::<F>(cursor, upto, memory)).await?;
        let text = match chunk {
            Chunk::Text(text) => text,
            Chunk::Large(large) => {
                let text = served.reads.large_text::<F>(cursor.query(), large).await?;
                cursor.advance_to(large.offset);
                text.map_or_else(Bytes::new, Bytes::from_owner)
            }
        };
        Ok(Self { text, cursor, memory: None, served, ..self })
    }

    /// Waits for more; writes a keep-alive after [`KEEP_ALIVE`] without any.
    async fn wait(&mut self) {
        let mut ends = self.served.ends.clone();
        let more = async {
            tokio::select! {
                more = self.sharing.wait(&mut self.cursor) => more.is_err(),
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
        if let Some(Place::Chunk { text, upto }) = self.shared_place() {
            self.take_shared(text, upto);
        }
        if self.text.is_empty() {
            let mut text = Vec::new();
            F::keep_alive(self.cursor.position(), &mut text);
            self.text = text.into();
        }
    }
}

impl Sharing {
    /// Waits for records after the position of `cursor`.
    ///
    /// # Errors
    ///
    /// The journal has ended: there are no further records.
    async fn wait(&mut self, cursor: &mut Cursor) -> Result<(), JournalError> {
        if let Self::With(share) = self {
            if share.wait(cursor.position()).await.is_err() {
                // The next read returns the reason.
                *self = Self::Never;
            }
            return Ok(());
        }
        cursor.wait().await
    }
}

/// The cursor at the requested position, and the records that were removed before it.
fn open(reader: &Reader, wanted: Wanted) -> Result<(Cursor, Option<PrunedRange>), JournalError> {
    let after = wanted.after.unwrap_or_default();
    let Some(last) = wanted.last else {
        let removed = PrunedRange::before(reader.first()?, after);
        let after = removed.map_or(after, |removed| removed.upto);
        return Ok((reader.cursor(wanted.query, after), removed));
    };
    let begin = reader.last_begin(&wanted.query, last)?;
    Ok((reader.cursor(wanted.query, begin.max(after)), None))
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
    struct Short;

    impl Format for Short {
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
        let served = Served::of_no_vms(&journal, path, ends).await;
        append(&journal.appender(), "STOP").await;

        let query = Query { event: qmp_journal::Globs::parse(["STOP"]).expect("a glob"), ..Query::default() };
        let wanted = Wanted { query, ..Wanted::default() };
        let reading =
            Reading::<Short>::open(served.clone(), wanted, None, served.reads.memory.recipient()).await;
        let reading = reading.expect("opens");
        assert_eq!(served.counts.readers(), 1);
        let mut body = reading.into_body().into_data_stream();
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
        assert_eq!(served.counts.readers(), 0);
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
