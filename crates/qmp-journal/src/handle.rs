//! The journal as the hub holds it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use qmp_host::Duties;
use qmp_wire::Offset;
use tokio::sync::watch;

use super::error::{JournalEnded, JournalError};
use super::figures::Gauge;
use super::file;
use super::limits::{JOURNAL_QUEUE_MAX_BYTES, SEGMENT_RECORDS};
use super::queue::{Appender, Queue};
use super::reader::Reader;
use super::retention::Retention;
use super::writer::{Health, Writer};

/// How a journal is written.
#[derive(Clone, Copy, Debug)]
pub struct JournalOptions {
    /// How much may wait for the disk, in bytes.
    pub queue_max_bytes: usize,
    /// How many records make a segment, at least 1. It may differ from one opening to the next.
    pub segment_records: u64,
    /// How long records are kept.
    pub retention: Retention,
}

impl Default for JournalOptions {
    fn default() -> Self {
        Self {
            queue_max_bytes: JOURNAL_QUEUE_MAX_BYTES,
            segment_records: SEGMENT_RECORDS,
            retention: Retention::default(),
        }
    }
}

/// Names an order to keep records for so long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retaining(u64);

/// A journal that this process writes.
///
/// Dropping it writes what waits and closes the file; [`close`](Self::close) also says how that went.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    queue: Arc<Queue>,
    head: watch::Receiver<Offset>,
    health: watch::Receiver<Health>,
    reader: Reader,
    gauge: Gauge,
    duties: Duties,
    writer: Option<JoinHandle<Result<(), JournalError>>>,
}

impl Journal {
    /// Opens `path` for writing, makes it when there is nothing, and starts the writer's thread.
    ///
    /// Epochs that a hub left open are closed: `hub stopped`, with since when nothing is certain.
    ///
    /// # Errors
    ///
    /// Any [`JournalError`] but those of records; a file that is no journal is left as it is.
    pub fn open(path: &Path, options: JournalOptions) -> Result<Self, JournalError> {
        let (connection, lock) = file::open_writer(path)?;
        let locked = lock.journal();
        let writer = Writer::start(path, connection, lock, options)?;
        let (queue, head, health) = writer.outlets();
        let gauge = writer.gauge();
        let reader = Reader::beside_writer(path, head.clone(), locked)?;
        let writer = std::thread::Builder::new()
            .name("journal".into())
            .spawn(move || writer.run())
            .map_err(|source| JournalError::Io { doing: "start the writer of", path: path.into(), source })?;
        Ok(Self {
            path: path.into(),
            queue,
            head,
            health,
            reader,
            gauge,
            duties: Duties::default(),
            writer: Some(writer),
        })
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A way in, for one task.
    #[must_use]
    pub fn appender(&self) -> Appender {
        Appender::new(Arc::clone(&self.queue))
    }

    /// A reader that learns of each commit at once.
    #[must_use]
    pub fn reader(&self) -> Reader {
        self.reader.clone()
    }

    /// The last offset that is committed: what a crash cannot take back.
    #[must_use]
    pub fn head(&self) -> Offset {
        *self.head.borrow()
    }

    /// Tells of each commit.
    #[must_use]
    pub fn watch_head(&self) -> watch::Receiver<Offset> {
        self.head.clone()
    }

    /// Tells whether the journal can be written, and if not, why.
    #[must_use]
    pub fn health(&self) -> watch::Receiver<Health> {
        self.health.clone()
    }

    /// Keeps records for so long from here on. What is too old or too much goes, beside everything else.
    ///
    /// Returns what to wait for with [`retained`](Self::retained).
    pub fn retain(&self, retention: Retention) -> Retaining {
        Retaining(self.queue.order_retention(retention))
    }

    /// How long records are kept.
    #[must_use]
    pub fn retention(&self) -> Retention {
        self.queue.retention().0
    }

    /// Whether there is a writer: it lives while it waits for a disk that takes nothing, too.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        // The writer has the sender, and drops it however it ends.
        self.health.has_changed().is_ok()
    }

    /// Waits until everything is gone that was to go by this order, or by a later one.
    ///
    /// # Errors
    ///
    /// [`JournalEnded`] if the journal was closed before.
    pub async fn retained(&self, order: Retaining) -> Result<(), JournalEnded> {
        self.queue.until_retained(order.0).await
    }

    /// Which tasks of the hub that writes this journal ended unexpectedly.
    pub fn duties(&self) -> Duties {
        self.duties.clone()
    }

    /// Tells the figures of this journal.
    pub fn gauge(&self) -> Gauge {
        self.gauge.clone()
    }

    /// Writes what waits and closes the file. Appending fails from here on.
    ///
    /// May wait for the disk: call it where blocking is allowed.
    ///
    /// # Errors
    ///
    /// [`JournalError::Unwritten`] if the disk takes nothing, not at the last try either.
    pub fn close(mut self) -> Result<(), JournalError> {
        self.finish()
    }

    fn finish(&mut self) -> Result<(), JournalError> {
        // First, since the writer closes its own connection once the queue is closed, and clears up if it is the last.
        self.reader.keep_none();
        self.queue.close();
        match self.writer.take() {
            Some(writer) => writer.join().unwrap_or(Err(JournalEnded.into())),
            None => Ok(()),
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        if let Err(error) = self.finish() {
            tracing::error!(journal = %self.path.display(), "the journal did not close well: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn journal_without_records_is_not_stalled() {
        let home = tempfile::tempdir().expect("a directory");
        for opened in ["new", "existing"] {
            let journal = Journal::open(&home.path().join("journal.db"), JournalOptions::default());
            let journal = journal.expect("opens");
            assert_eq!(journal.gauge().in_commit_since(), None, "{opened}");
            journal.close().expect("closes");
        }
    }
}
