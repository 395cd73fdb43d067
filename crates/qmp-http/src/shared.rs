//! Fan-out: records that several readers request are read and encoded once.
//!
//! Readers that follow the same query in the same format share a [`Stream`]: one task reads the journal at its head,
//! encodes, and keeps the last chunks in a [`Recent`]. Each reader has its own position and takes the chunk that begins
//! there. A reader between two chunks (just connected, or slow) reads the journal itself up to the beginning of the next
//! chunk and continues with the shared chunks from there. Every reader gets the same bytes as without sharing, no reader
//! waits for another, and the memory is bounded.
//!
//! The task reads only while a reader waits at the head: it reads nothing for readers that all lag.

mod recent;

use std::any::TypeId;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use qmp_journal::{Cursor, JournalEnded, Query};
use qmp_wire::Offset;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use super::format::{CHUNK_MAX_RECORDS, CHUNK_READ_BYTES, Chunk, Format, read_chunk};
use super::reads::{ReadingError, Reads};
pub(super) use recent::Place;
use recent::Recent;

/// Streams that are shared at a time. Readers of further queries read the journal themselves; with the most text that
/// each may keep, these are 64 MiB.
const SHARED_STREAMS_MAX: usize = 64;

/// The streams that have readers.
#[derive(Debug, Default)]
pub(super) struct Streams(Mutex<Vec<Weak<Stream>>>);

/// The stream of one query in one format. It ends with its last reader.
#[derive(Debug)]
pub(super) struct Stream {
    format: TypeId,
    query: Query,
    kept: Arc<Kept>,
    /// Moves when there is more. The task owns the sender, so readers see the end of the task.
    front: watch::Receiver<Offset>,
    _task: JoinSet<()>,
}

/// State that readers and the task share.
#[derive(Debug)]
struct Kept {
    recent: Mutex<Recent>,
    /// Notified when a reader waits at the head.
    wanted: Notify,
    /// The furthest position at which a reader waits.
    wanted_after: AtomicU64,
}

/// One reader's subscription to a stream.
#[derive(Debug)]
pub(super) struct Share {
    stream: Arc<Stream>,
    front: watch::Receiver<Offset>,
}

impl Streams {
    /// Subscribes a reader of `query`, which has read everything up to `after`, to the stream of that query; `None` if
    /// there are too many streams already.
    pub(super) fn join<F: Format>(&self, reads: &Reads, query: &Query, after: Offset) -> Option<Share> {
        let mut streams = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        streams.retain(|stream| stream.strong_count() > 0);
        let format = TypeId::of::<F>();
        let same = |stream: &Arc<Stream>| stream.is_of(format, query);
        let stream = match streams.iter().filter_map(Weak::upgrade).find(same) {
            Some(stream) => stream,
            None if streams.len() >= SHARED_STREAMS_MAX => return None,
            None => {
                let stream = Arc::new(Stream::start::<F>(reads, query, after));
                streams.push(Arc::downgrade(&stream));
                stream
            }
        };
        let front = stream.front.clone();
        Some(Share { stream, front })
    }
}

impl Stream {
    fn start<F: Format>(reads: &Reads, query: &Query, after: Offset) -> Self {
        let (sender, front) = watch::channel(after);
        let kept = Arc::new(Kept {
            recent: Mutex::new(Recent::new(after)),
            wanted: Notify::new(),
            wanted_after: AtomicU64::new(after.0),
        });
        let cursor = reads.reader().cursor(query.clone(), after).under_way();
        let mut task = JoinSet::new();
        task.spawn(run::<F>(reads.clone(), cursor, Arc::clone(&kept), sender));
        Self { format: TypeId::of::<F>(), query: query.clone(), kept, front, _task: task }
    }

    fn is_of(&self, format: TypeId, query: &Query) -> bool {
        let has_ended = self.front.has_changed().is_err();
        !has_ended && self.format == format && self.query == *query
    }
}

impl Share {
    /// The next chunk for a reader that has everything up to `after`.
    pub(super) fn at(&self, after: Offset) -> Place {
        self.stream.kept.recent().at(after)
    }

    /// Waits until there is more for a reader that has everything up to `after`, if [`Self::at`] returned `Front`.
    ///
    /// # Errors
    ///
    /// [`JournalEnded`] if the stream has ended: the reader must read the journal itself.
    pub(super) async fn wait(&mut self, after: Offset) -> Result<(), JournalEnded> {
        let kept = &self.stream.kept;
        kept.wanted_after.fetch_max(after.0, Ordering::AcqRel);
        kept.wanted.notify_one();
        self.front.wait_for(|front| *front > after).await.map(drop).map_err(|_| JournalEnded)
    }
}

impl Kept {
    fn wanted_after(&self) -> Offset {
        Offset(self.wanted_after.load(Ordering::Acquire))
    }

    fn recent(&self) -> MutexGuard<'_, Recent> {
        // Nothing panics between two steps of one change.
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads and encodes for all readers, whenever one waits, until the journal ends or cannot be read. Each reader then
/// gets the error from its own read.
async fn run<F: Format>(reads: Reads, mut cursor: Cursor, kept: Arc<Kept>, front: watch::Sender<Offset>) {
    loop {
        kept.wanted.notified().await;
        match next::<F>(&reads, cursor, &kept, &front).await {
            Ok(back) => cursor = back,
            Err(error) => {
                tracing::debug!("a shared stream ends: {error}");
                return;
            }
        }
    }
}

/// Waits for the next chunk, and publishes it.
async fn next<F: Format>(
    reads: &Reads,
    mut cursor: Cursor,
    kept: &Kept,
    front: &watch::Sender<Offset>,
) -> Result<Cursor, ReadingError> {
    loop {
        cursor.wait().await?;
        let memory = reads.memory.take(CHUNK_READ_BYTES).await?;
        let wanted = kept.wanted_after();
        if wanted.0.saturating_sub(cursor.position().0) > CHUNK_MAX_RECORDS as u64 {
            // All readers lagged until this one waited. Readers further back read up to this position themselves.
            cursor.advance_to(wanted);
            kept.recent().begin_at(wanted);
            front.send_replace(wanted);
        }
        let (chunk, back) = reads.read(move || read_chunk::<F>(cursor, Offset(u64::MAX), memory)).await?;
        cursor = back;
        let text = match chunk {
            Chunk::Text(text) => text,
            Chunk::Large(large) => {
                // Each reader that requests the record reads it itself, and continues from there with the shared chunks.
                cursor.advance_to(large.offset);
                kept.recent().begin_at(large.offset);
                front.send_replace(large.offset);
                return Ok(cursor);
            }
        };
        let has_text = !text.is_empty();
        let position = cursor.position();
        kept.recent().push(text, position);
        // Readers wake only for text.
        front.send_if_modified(|front| {
            *front = position;
            has_text
        });
        // Continue for a reader that waits at a position after this chunk.
        if has_text && position > kept.wanted_after() {
            return Ok(cursor);
        }
    }
}

#[cfg(test)]
mod tests;
