//! The number of selected records that a rule has not read: a thread beside the rule reads ahead and counts.

use std::time::Duration;

use qmp_host::BlockingTask;
use qmp_journal::{Cursor, Reader};
use qmp_wire::Offset;
use tokio::time::Instant;

use super::rule::RuleConfig;

/// Records that are read at once.
const BACKLOG_BATCH_RECORDS: usize = 4_096;

/// Selected records that one call counts at most; a later call continues there. A rule with a longer backlog reports as many.
const BACKLOG_COUNT_MAX: u64 = 100_000;

/// How often the records that wait for a receiver are counted.
pub(super) const BACKLOG_INTERVAL: Duration = Duration::from_secs(1);

/// The selected records after those that the rule has read.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    ahead: Option<Cursor>,
    task: Option<BlockingTask<(Cursor, u64)>>,
    begun_at: Option<Instant>,
    /// The selected records that were counted, from the same offset on as `read`.
    counted: u64,
    /// Those of them that the rule has read.
    read: u64,
}

impl Backlog {
    /// Counts the records after `position`, up to which the rule has read, or goes on to count. Returns how many more there
    /// are than before.
    pub(super) async fn count(&mut self, reader: &Reader, rule: &RuleConfig, position: Offset) -> u64 {
        self.begin(reader, rule, position);
        self.take_result(position).await
    }

    /// Begins to count without waiting for the result, once in [`BACKLOG_INTERVAL`].
    pub(super) fn count_beside(&mut self, reader: &Reader, rule: &RuleConfig, position: Offset) {
        if self.begun_at.is_none_or(|at| at.elapsed() >= BACKLOG_INTERVAL) {
            self.begin(reader, rule, position);
        }
    }

    /// Takes the result of [`count_beside`](Self::count_beside), if there is one. Returns how many more records there are
    /// than before.
    pub(super) async fn take_counted(&mut self, position: Offset) -> u64 {
        if self.task.as_ref().is_some_and(BlockingTask::is_finished) {
            self.take_result(position).await
        } else {
            0
        }
    }

    /// The rule has read so many selected records up to `position`.
    pub(super) fn read(&mut self, records: u64, position: Offset) {
        self.read += records;
        if self.ahead.as_ref().is_some_and(|ahead| ahead.position() < position) {
            *self = Self { begun_at: self.begun_at, ..Self::default() };
        }
    }

    /// The records that were counted.
    pub(super) const fn records(&self) -> u64 {
        self.counted.saturating_sub(self.read)
    }

    async fn take_result(&mut self, position: Offset) -> u64 {
        let Some(task) = self.task.take() else { return 0 };
        let before = self.records();
        let (ahead, found) = task.join().await;
        self.counted += found;
        self.ahead = Some(ahead);
        self.read(0, position);
        self.records().saturating_sub(before)
    }

    fn begin(&mut self, reader: &Reader, rule: &RuleConfig, position: Offset) {
        if self.task.is_some() {
            return;
        }
        self.begun_at = Some(Instant::now());
        let ahead = self.ahead.take().filter(|ahead| ahead.position() >= position);
        if ahead.is_none() {
            (self.counted, self.read) = (0, 0);
        }
        let mut ahead = ahead.unwrap_or_else(|| reader.cursor(rule.selection.query(), position));
        let selection = rule.selection.clone();
        self.task = Some(BlockingTask::spawn(move || {
            let mut found = 0;
            // The rule itself reports that the journal cannot be read.
            while let Ok(records) = ahead.next_batch(BACKLOG_BATCH_RECORDS) {
                found += records.iter().filter(|record| selection.matches(record)).count() as u64;
                if records.is_empty() || found >= BACKLOG_COUNT_MAX {
                    break;
                }
            }
            (ahead, found)
        }));
    }
}
