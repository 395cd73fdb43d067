//! Fan-out: records that several readers request are read and encoded once.
//!
//! Readers that follow the same query in the same format share a [`Fanout`]: one task reads the journal at its head,
//! encodes, and keeps the last chunks in a [`RecentChunks`]. Each reader has its own position and takes the chunk that begins
//! there. A reader between two chunks (just connected, or slow) reads the journal itself up to the beginning of the next
//! chunk and continues with the shared chunks from there. Every reader gets the same bytes as without sharing, no reader
//! waits for another, and the memory is bounded.
//!
//! The task reads only while a reader waits at the head: it reads nothing for readers that all lag.

mod recent;

use std::any::TypeId;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use qmp_host::lock;
use qmp_journal::{Cursor, JournalEnded, Query};
use qmp_wire::Offset;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use super::format::{CHUNK_MAX_RECORDS, CHUNK_READ_BYTES, Chunk, Format, read_chunk};
use super::reads::{ReadError, Reads};
pub(super) use recent::ReadStep;
use recent::RecentChunks;

/// Streams that are shared at a time. Readers of further queries read the journal themselves; with the most text that
/// each may keep, these are 64 MiB.
const SHARED_STREAMS_MAX: usize = 64;

/// The streams that have readers.
#[derive(Debug, Default)]
pub(super) struct Fanouts(Mutex<Vec<Weak<Fanout>>>);

/// The stream of one query in one format, until its last reader is dropped.
#[derive(Debug)]
pub(super) struct Fanout {
    format: TypeId,
    query: Query,
    state: Arc<FanoutState>,
    /// Moves when there is more. The task owns the sender, so readers see the end of the task.
    front: watch::Receiver<Offset>,
    _task: JoinSet<()>,
}

/// State that readers and the task share.
#[derive(Debug)]
struct FanoutState {
    recent: Mutex<RecentChunks>,
    /// Notified when a reader waits at the head.
    reader_waits: Notify,
    /// The furthest position at which a reader waits.
    waiting_position: AtomicU64,
}

/// One reader's subscription to a stream.
#[derive(Debug)]
pub(super) struct Subscription {
    stream: Arc<Fanout>,
    front: watch::Receiver<Offset>,
}

impl Fanouts {
    /// Subscribes a reader of `query`, which has read everything up to `after`, to the stream of that query; `None` if
    /// there are too many streams already.
    pub(super) fn join<F: Format>(
        &self,
        reads: &Reads,
        query: &Query,
        after: Offset,
    ) -> Option<Subscription> {
        let mut streams = lock(&self.0);
        streams.retain(|stream| stream.strong_count() > 0);
        let format = TypeId::of::<F>();
        let same = |stream: &Arc<Fanout>| stream.is_of(format, query);
        let stream = match streams.iter().filter_map(Weak::upgrade).find(same) {
            Some(stream) => stream,
            None if streams.len() >= SHARED_STREAMS_MAX => return None,
            None => {
                let stream = Arc::new(Fanout::start::<F>(reads, query, after));
                streams.push(Arc::downgrade(&stream));
                stream
            }
        };
        let front = stream.front.clone();
        Some(Subscription { stream, front })
    }
}

impl Fanout {
    fn start<F: Format>(reads: &Reads, query: &Query, after: Offset) -> Self {
        let (sender, front) = watch::channel(after);
        let state = Arc::new(FanoutState {
            recent: Mutex::new(RecentChunks::new(after)),
            reader_waits: Notify::new(),
            waiting_position: AtomicU64::new(after.0),
        });
        let cursor = reads.reader().cursor(query.clone(), after).under_way();
        let mut task = JoinSet::new();
        task.spawn(run::<F>(reads.clone(), cursor, Arc::clone(&state), sender));
        Self { format: TypeId::of::<F>(), query: query.clone(), state, front, _task: task }
    }

    fn is_of(&self, format: TypeId, query: &Query) -> bool {
        let has_ended = self.front.has_changed().is_err();
        !has_ended && self.format == format && self.query == *query
    }
}

impl Subscription {
    /// The next chunk for a reader that has everything up to `after`.
    pub(super) fn at(&self, after: Offset) -> ReadStep {
        self.stream.state.recent().at(after)
    }

    /// Waits until there is more for a reader that has everything up to `after`, if [`Self::at`] returned `Front`.
    ///
    /// # Errors
    ///
    /// [`JournalEnded`] if the stream has ended: the reader must read the journal itself.
    pub(super) async fn wait(&mut self, after: Offset) -> Result<(), JournalEnded> {
        let state = &self.stream.state;
        state.waiting_position.fetch_max(after.0, Ordering::AcqRel);
        state.reader_waits.notify_one();
        self.front.wait_for(|front| *front > after).await.map(drop).map_err(|_| JournalEnded)
    }
}

impl FanoutState {
    fn waiting_position(&self) -> Offset {
        Offset(self.waiting_position.load(Ordering::Acquire))
    }

    fn recent(&self) -> MutexGuard<'_, RecentChunks> {
        lock(&self.recent)
    }
}

/// Reads and encodes for all readers, whenever one waits, until the journal ends or cannot be read. Each reader then
/// gets the error from its own read.
async fn run<F: Format>(
    reads: Reads,
    mut cursor: Cursor,
    state: Arc<FanoutState>,
    front: watch::Sender<Offset>,
) {
    loop {
        state.reader_waits.notified().await;
        match next::<F>(&reads, cursor, &state, &front).await {
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
    state: &FanoutState,
    front: &watch::Sender<Offset>,
) -> Result<Cursor, ReadError> {
    loop {
        cursor.wait().await?;
        let memory = reads.memory.take(CHUNK_READ_BYTES).await?;
        let waiting = state.waiting_position();
        if waiting.0.saturating_sub(cursor.position().0) > CHUNK_MAX_RECORDS as u64 {
            // All readers lagged until this one waited. Readers further back read up to this position themselves.
            cursor.advance_to(waiting);
            state.recent().begin_at(waiting);
            front.send_replace(waiting);
        }
        let (chunk, back) = reads.read(move || read_chunk::<F>(cursor, Offset(u64::MAX), memory)).await?;
        cursor = back;
        let text = match chunk {
            Chunk::Text(text) => text,
            Chunk::Large(large) => {
                // Each reader that requests the record reads it itself, and continues from there with the shared chunks.
                cursor.advance_to(large.offset);
                state.recent().begin_at(large.offset);
                front.send_replace(large.offset);
                return Ok(cursor);
            }
        };
        let has_text = !text.is_empty();
        let position = cursor.position();
        state.recent().push(text, position);
        // Readers wake only for text.
        front.send_if_modified(|front| {
            *front = position;
            has_text
        });
        // Continue for a reader that waits at a position after this chunk.
        if has_text && position > state.waiting_position() {
            return Ok(cursor);
        }
    }
}

#[cfg(test)]
mod tests;
