//! Compares the counts of a summary with the records of its segment.
//!
//! The class and the changes of a record are the matter of the journal's owner, and are not compared.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension as _};

use super::columns::{minute, number};
use super::segment::IndexedRecord;
use super::summary::{CountKey, MinuteCount, read_counts};

/// The records of a segment, by VM, name and minute; the VM 0 stands for all.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct SummaryCheck(BTreeMap<(u32, u32, i64), u64>);

impl SummaryCheck {
    /// Adds a record.
    pub(super) fn add(&mut self, record: &IndexedRecord) {
        let name = record.event.unwrap_or(record.kind.id());
        for vm in [0, record.vm] {
            *self.0.entry((vm, name, minute(record.received))).or_default() += 1;
        }
    }

    /// Returns the records of a segment, and begins the next.
    pub(super) fn take(&mut self) -> Self {
        std::mem::take(self)
    }

    /// The fault of the summary of the segment that ends at `last`. A segment without a summary has none.
    pub(super) fn compare(
        &self,
        connection: &Connection,
        last: u64,
    ) -> rusqlite::Result<Option<&'static str>> {
        let mut select = connection.prepare_cached("SELECT counts FROM summary WHERE segment = ?1")?;
        let found: Option<Vec<u8>> = select.query_row([number(last)], |row| row.get(0)).optional()?;
        let Some(bytes) = found else { return Ok(None) };
        let mut counts = Self::default();
        let each = |CountKey { vm, name, .. }: CountKey, minutes: &[MinuteCount]| {
            for MinuteCount { minute, records } in minutes {
                let sum = counts.0.entry((vm, name, *minute)).or_default();
                *sum = sum.saturating_add(*records);
            }
        };
        let is_read = read_counts(&bytes, each);
        Ok((is_read.is_none() || counts != *self).then_some("its summary does not fit its records"))
    }
}
