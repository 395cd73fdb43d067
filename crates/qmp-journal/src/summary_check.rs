//! Compares the summary of a sealed segment with the records of the segment.
//!
//! The counts without their classes are compared whatever the version of the summary. What its owner derived, the classes and
//! the changes, is compared if the version is that of the digest that is given.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension as _, Row};

use super::columns::{minute, number};
use super::digest::{Digest, DigestResult, NoDigest};
use super::restore::event_and_data;
use super::segment::IndexedRecord;
use super::summaries::summary_version;
use super::summary::{
    CountKey, MinuteCount, StandingConditions, Summary, SummaryBuilder, read_changes, read_counts,
};

/// The numbers of records by VM, name and minute; the VM 0 stands for all.
type RecordCounts = BTreeMap<(u32, u32, i64), u64>;

/// Collects the records of one segment after the other.
pub(super) struct SummaryCheck<'d> {
    digest: &'d dyn Digest,
    counts: RecordCounts,
    builder: SummaryBuilder,
}

/// The summary that the records of a segment make.
pub(super) struct ExpectedSummary {
    version: u32,
    counts: RecordCounts,
    summary: Summary,
}

/// The damage of a summary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum SummaryFault {
    #[error("the version of its summary cannot be read")]
    Version,
    #[error(
        "its summary has version {found}, and this release knows versions up to {known}: check it with the release that made \
         it, or start the hub of this release, which makes it again"
    )]
    LaterVersion { found: u32, known: u32 },
    #[error("the counts of its summary do not fit its records")]
    Counts,
    #[error("the changes of its summary cannot be read")]
    UnreadableChanges,
    #[error("the changes of its summary do not fit its records")]
    Changes,
    #[error("the conditions after it cannot be read")]
    Standing,
}

impl SummaryFault {
    /// The text for the segment that ends at `last`, with what removes the fault.
    fn text(self, last: u64) -> String {
        match self {
            Self::LaterVersion { .. } => self.to_string(),
            _ => format!(
                "{self}; `DELETE FROM summary WHERE segment = {last}` removes it, and a hub that starts after that makes it again"
            ),
        }
    }
}

impl<'d> SummaryCheck<'d> {
    pub(super) fn new(digest: &'d dyn Digest) -> Self {
        Self { digest, counts: RecordCounts::new(), builder: SummaryBuilder::default() }
    }

    /// Adds a record, with the row of `RESTORE_SQL` from which it was read.
    pub(super) fn add(&mut self, record: &IndexedRecord, row: &Row<'_>) -> rusqlite::Result<()> {
        let IndexedRecord { offset, vm, kind, event, received, .. } = *record;
        let name = event.unwrap_or(kind.id());
        for vm in [0, vm] {
            *self.counts.entry((vm, name, minute(received))).or_default() += 1;
        }
        let (event_name, data) = event_and_data(row)?;
        let digested = DigestResult::of(self.digest, received, kind, event_name, data);
        self.builder.add(offset, vm, name, received, digested);
        Ok(())
    }

    /// Returns the summary of the records of the segment that begins at `first`, and begins the next.
    pub(super) fn take(&mut self, first: u64) -> ExpectedSummary {
        ExpectedSummary {
            version: self.digest.version(),
            counts: std::mem::take(&mut self.counts),
            summary: self.builder.finish(first),
        }
    }
}

impl ExpectedSummary {
    /// The fault of the summary of the segment from `first` to `last`. A segment without a summary has none.
    pub(super) fn compare(
        &self,
        connection: &Connection,
        (first, last): (u64, u64),
    ) -> rusqlite::Result<Option<String>> {
        let sql = "SELECT version, earliest, standing, changes, counts FROM summary WHERE segment = ?1";
        let mut select = connection.prepare_cached(sql)?;
        let found = select.query_row([number(last)], |row| Ok(self.fault(row, first))).optional()?;
        Ok(found.flatten().map(|fault| fault.text(last)))
    }

    fn fault(&self, row: &Row<'_>, first: u64) -> Option<SummaryFault> {
        let Some(version) = summary_version(row, 0) else { return Some(SummaryFault::Version) };
        let is_known = self.version == NoDigest.version() || version <= self.version;
        if !is_known {
            return Some(SummaryFault::LaterVersion { found: version, known: self.version });
        }
        let blob = |index| row.get_ref(index).ok().and_then(|value| value.as_blob().ok());
        let is_derived = version == self.version;
        let counts = blob(4).filter(|counts| self.has_counts(counts, is_derived));
        if counts.is_none() {
            return Some(SummaryFault::Counts);
        }
        let mut earliest = None;
        let changes = blob(3).and_then(|changes| {
            let each_at = |at: i64| earliest = Some(earliest.map_or(at, |before: i64| before.min(at)));
            read_changes_at(changes, first, each_at).map(|()| changes)
        });
        let Some(changes) = changes else { return Some(SummaryFault::UnreadableChanges) };
        let is_earliest = row.get::<_, Option<i64>>(1).is_ok_and(|stored| stored == earliest);
        if !is_earliest || (is_derived && changes != self.summary.changes) {
            return Some(SummaryFault::Changes);
        }
        let standing = row.get_ref(2).ok().and_then(|value| value.as_blob_or_null().ok());
        let is_standing = standing
            .is_some_and(|standing| standing.is_none_or(|bytes| StandingConditions::read(bytes).is_some()));
        (!is_standing).then_some(SummaryFault::Standing)
    }

    /// Whether these are the counts of the records; with their classes if `is_derived`.
    fn has_counts(&self, bytes: &[u8], is_derived: bool) -> bool {
        if is_derived {
            return bytes == self.summary.counts;
        }
        let mut counts = RecordCounts::new();
        let each = |CountKey { vm, name, .. }: CountKey, minutes: &[MinuteCount]| {
            for MinuteCount { minute, records } in minutes {
                let sum = counts.entry((vm, name, *minute)).or_default();
                *sum = sum.saturating_add(*records);
            }
        };
        read_counts(bytes, each).is_some() && counts == self.counts
    }
}

/// Passes the times of all changes to `each`; `None` if the bytes are no changes.
fn read_changes_at(bytes: &[u8], first: u64, mut each: impl FnMut(i64)) -> Option<()> {
    read_changes(bytes, first, |_| true, |change| each(change.change.at.0))
}
