//! The handle of a journal that this process writes.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use qmp_host::Duties;
use qmp_host::clock::Clock;
use qmp_wire::Offset;
use tokio::sync::watch;

use super::error::{JournalEnded, JournalError};
use super::feed::{Feed, StreamPosition};
use super::figures::Gauge;
use super::health::Health;
use super::options::JournalOptions;
use super::queue::{Appender, Queue};
use super::reader::Reader;
use super::retention::Retention;
use super::sqlite::SqliteStorage;
use super::writer::{Writer, WriterOutlets};

/// Identifies one retention order, for [`Journal::wait_for_pruning`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PruneTicket(u64);

/// A journal that this process writes.
///
/// Dropping the handle writes the queue and closes the file; [`close`](Self::close) also returns the result.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    queue: Arc<Queue>,
    head: watch::Receiver<Offset>,
    health: watch::Receiver<Health>,
    reader: Reader,
    gauge: Gauge,
    duties: Duties,
    writer: Option<WriterThread>,
}

type WriterThread = JoinHandle<Result<(), JournalError>>;

impl Journal {
    /// Opens `path` for writing, creates the file if it is missing, and starts the writer's thread.
    ///
    /// Epochs that a hub left open are closed with the reason `hub stopped` and the last moment that is certain, but not
    /// those of VMs of other hosts, and none without [`closes_open_epochs`](JournalOptions::closes_open_epochs).
    ///
    /// # Errors
    ///
    /// Any [`JournalError`] but those of records; a file that is no journal is left unchanged.
    pub fn open(path: &Path, options: JournalOptions) -> Result<Self, JournalError> {
        let storage = SqliteStorage::open(path)?;
        let locked = storage.locked();
        let (outlets, writer) = start_writer(path, storage, options)?;
        let WriterOutlets { queue, head, health, gauge } = outlets;
        let reader = match Reader::beside_writer(path, head.clone(), locked) {
            Ok(reader) => reader,
            Err(error) => {
                queue.close();
                let _ = writer.join();
                return Err(error);
            }
        };
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

    /// The path of the file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns an appender, for one task.
    #[must_use]
    pub fn appender(&self) -> Appender {
        Appender::new(Arc::clone(&self.queue))
    }

    /// Returns a reader that is notified of each commit at once.
    #[must_use]
    pub fn reader(&self) -> Reader {
        self.reader.clone()
    }

    /// The committed positions of foreign journals, by host and name.
    ///
    /// # Errors
    ///
    /// [`JournalError::Storage`] if the file cannot be read.
    pub fn feeds(&self) -> Result<Vec<Feed>, JournalError> {
        self.reader.feeds()
    }

    /// The committed positions of streams, by name.
    ///
    /// # Errors
    ///
    /// [`JournalError::Storage`] if the file cannot be read.
    pub fn stream_positions(&self) -> Result<Vec<StreamPosition>, JournalError> {
        self.reader.stream_positions()
    }

    /// The last committed offset: a crash cannot take it back.
    #[must_use]
    pub fn head(&self) -> Offset {
        *self.head.borrow()
    }

    /// Returns a channel that has the head after each commit.
    #[must_use]
    pub fn watch_head(&self) -> watch::Receiver<Offset> {
        self.head.clone()
    }

    /// Returns a channel that says whether the journal can be written, and if not, why.
    #[must_use]
    pub fn health(&self) -> watch::Receiver<Health> {
        self.health.clone()
    }

    /// Sets the retention policy from here on. The writer prunes beside its other work.
    ///
    /// Returns a ticket to wait for with [`wait_for_pruning`](Self::wait_for_pruning).
    pub fn retain(&self, retention: Retention) -> PruneTicket {
        PruneTicket(self.queue.order_retention(retention))
    }

    /// The retention policy.
    #[must_use]
    pub fn retention(&self) -> Retention {
        self.queue.retention().0
    }

    /// Whether the writer's thread is alive. A writer that retries on a full disk is alive.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        // The writer owns the sender, which is dropped however the thread ends.
        self.health.has_changed().is_ok()
    }

    /// Waits until pruning for this retention order, or a later one, has finished.
    ///
    /// # Errors
    ///
    /// [`JournalEnded`] if the journal was closed before.
    pub async fn wait_for_pruning(&self, order: PruneTicket) -> Result<(), JournalEnded> {
        self.queue.wait_for_pruning(order.0).await
    }

    /// The tasks of the hub that writes this journal, and which of them ended unexpectedly.
    pub fn duties(&self) -> Duties {
        self.duties.clone()
    }

    /// Returns a gauge that reads the statistics of this journal.
    pub fn gauge(&self) -> Gauge {
        self.gauge.clone()
    }

    /// Writes the queue and closes the file. Appending fails from here on.
    ///
    /// Blocks on the disk: call it where blocking is allowed.
    ///
    /// # Errors
    ///
    /// [`JournalError::Unwritten`] if the last try to write failed, too.
    pub fn close(mut self) -> Result<(), JournalError> {
        self.finish()
    }

    fn finish(&mut self) -> Result<(), JournalError> {
        // First: the writer closes its own connection once the queue is closed, and SQLite cleans up with the last
        // connection.
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
            tracing::error!(journal = %self.path.display(), "the journal was not closed cleanly: {error}");
        }
    }
}

/// Starts the writer in a thread of its own, with a runtime for its pauses.
fn start_writer(
    path: &Path,
    storage: SqliteStorage,
    options: JournalOptions,
) -> Result<(WriterOutlets, WriterThread), JournalError> {
    let failed = |source| JournalError::Io { doing: "start the writer of", path: path.to_owned(), source };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().map_err(failed)?;
    let (started, outlets) = std::sync::mpsc::sync_channel(1);
    let run = async move || match Writer::start(storage, options, Clock::Host).await {
        Ok(writer) => {
            let _ = started.send(Ok(writer.outlets()));
            writer.run().await
        }
        Err(error) => {
            let _ = started.send(Err(error));
            Ok(())
        }
    };
    let thread = std::thread::Builder::new()
        .name("journal".into())
        .spawn(move || runtime.block_on(run()))
        .map_err(failed)?;
    let outlets = outlets.recv().unwrap_or_else(|_| Err(JournalEnded.into()))?;
    Ok((outlets, thread))
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
