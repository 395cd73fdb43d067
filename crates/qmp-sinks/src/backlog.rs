//! The number of selected records that a rule has not handled: it reads ahead and counts.

use qmp_host::blocking;
use qmp_journal::{Cursor, Reader};
use qmp_wire::Offset;

use super::rule::RuleConfig;

/// Records that are read at once.
const BACKLOG_BATCH_RECORDS: usize = 4_096;

/// Selected records that one call counts at most; a later call continues there. A rule with a longer backlog reports as many.
const BACKLOG_COUNT_MAX: u64 = 100_000;

/// The selected records after those that the rule has read.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    ahead: Option<Cursor>,
    /// The selected records up to the position of `ahead` that the rule has not read.
    records: u64,
}

impl Backlog {
    /// Counts the records after `position`, up to which the rule has read, or goes on to count.
    pub(super) async fn count(&mut self, reader: &Reader, rule: &RuleConfig, position: Offset) -> u64 {
        let ahead = self.ahead.take().filter(|ahead| ahead.position() >= position);
        if ahead.is_none() {
            self.records = 0;
        }
        let mut ahead = ahead.unwrap_or_else(|| reader.cursor(rule.selection.query(), position));
        let selection = rule.selection.clone();
        let (ahead, found) = blocking(move || {
            let mut found = 0;
            // The rule itself reports that the journal cannot be read.
            while let Ok(records) = ahead.next_batch(BACKLOG_BATCH_RECORDS) {
                found += records.iter().filter(|record| selection.matches(record)).count() as u64;
                if records.is_empty() || found >= BACKLOG_COUNT_MAX {
                    break;
                }
            }
            (ahead, found)
        })
        .await;
        self.ahead = Some(ahead);
        self.records += found;
        self.records
    }

    /// The rule has read so many selected records up to `position`.
    pub(super) fn read(&mut self, records: u64, position: Offset) {
        match &self.ahead {
            Some(ahead) if ahead.position() >= position => {
                self.records = self.records.saturating_sub(records);
            }
            _ => *self = Self::default(),
        }
    }

    /// The records that were counted.
    pub(super) const fn records(&self) -> u64 {
        self.records
    }
}
