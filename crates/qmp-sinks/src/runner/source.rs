//! The records of a rule, read from the journal on a thread beside the rule.

use qmp_host::BlockingTask;
use qmp_journal::{Cursor, JournalError, Reader};
use qmp_wire::{Offset, Record};

/// Records that a rule reads from the journal at once.
pub(super) const SINK_BATCH_RECORDS: usize = 1_024;

/// Reads batches, one at a time.
pub(super) struct RecordSource {
    reader: Reader,
    state: SourceState,
}

enum SourceState {
    Idle(Box<Cursor>),
    Reading(BlockingTask<ReadBatch>),
    /// Only while the state changes.
    Taken,
}

/// The result of one read.
struct ReadBatch {
    cursor: Box<Cursor>,
    /// The position before it.
    before: Offset,
    records: Result<Vec<Record<'static>>, JournalError>,
}

/// Records that the rule does not get.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct MissedRecords {
    /// Retention removed them.
    pub(super) removed: u64,
    /// They cannot be read.
    pub(super) lost: u64,
}

impl RecordSource {
    pub(super) fn new(reader: Reader, cursor: Cursor) -> Self {
        Self { reader, state: SourceState::Idle(Box::new(cursor.under_way())) }
    }

    /// Begins to read a batch, unless one is being read.
    pub(super) fn begin(&mut self) {
        self.state = match std::mem::replace(&mut self.state, SourceState::Taken) {
            SourceState::Idle(mut cursor) => SourceState::Reading(BlockingTask::spawn(move || {
                let before = cursor.position();
                let records = cursor.next_batch(SINK_BATCH_RECORDS);
                ReadBatch { cursor, before, records }
            })),
            other => other,
        };
    }

    /// Whether a batch was read: [`next`](Self::next) returns at once.
    pub(super) fn has_batch(&self) -> bool {
        matches!(&self.state, SourceState::Reading(task) if task.is_finished())
    }

    /// Reads the next batch; it is empty at the head. Returns it with the offset up to which everything was read.
    pub(super) async fn next(
        &mut self,
    ) -> (Result<Vec<Record<'static>>, JournalError>, Offset, MissedRecords) {
        self.begin();
        let SourceState::Reading(task) = std::mem::replace(&mut self.state, SourceState::Taken) else {
            unreachable!("a batch is being read since `begin`")
        };
        let ReadBatch { mut cursor, before, records } = task.join().await;
        let removed = cursor.take_removed().map_or(0, |removed| removed.upto.0 - removed.after.0);
        let position = cursor.position();
        let lost = self.reader.lost_records(before, position);
        self.state = SourceState::Idle(cursor);
        (records, position, MissedRecords { removed, lost })
    }

    /// Waits for more records, unless a batch is being read.
    pub(super) async fn wait(&mut self) -> Result<(), JournalError> {
        match &mut self.state {
            SourceState::Idle(cursor) => cursor.wait().await,
            SourceState::Reading(_) | SourceState::Taken => Ok(()),
        }
    }
}
