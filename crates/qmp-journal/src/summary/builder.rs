//! Collects what a summary has of the records of a segment.

use super::changes::{ChangeOf, write_changes};
use super::counts::{Cell, Key, write_counts};
use crate::columns::minute;
use crate::digest::DigestResult;

/// The summary of a segment, encoded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    /// The earliest time of a change; `None` without changes.
    pub(crate) earliest: Option<i64>,
    pub(crate) changes: Vec<u8>,
    pub(crate) counts: Vec<u8>,
}

/// The records of a segment.
#[derive(Debug, Default)]
pub(crate) struct SummaryBuilder {
    cells: Vec<Cell>,
    changes: Vec<ChangeOf<'static>>,
}

impl SummaryBuilder {
    /// Adds the record at `offset`, the next one.
    pub(crate) fn add(&mut self, offset: u64, vm: u32, name: u32, received: i64, digested: DigestResult) {
        let DigestResult { class, changes } = digested;
        self.cells.push(Cell { vm, key: Key::new(name, class), minute: minute(received) });
        self.changes.extend(changes.into_iter().map(|change| ChangeOf { vm, offset, change }));
    }

    /// Encodes the summary of the segment that begins at `first`, and begins the next.
    pub(crate) fn finish(&mut self, first: u64) -> Summary {
        let summary = Summary {
            earliest: self.changes.iter().map(|change| change.change.at.0).min(),
            changes: write_changes(&mut self.changes, first),
            counts: write_counts(&mut self.cells),
        };
        self.cells.clear();
        self.changes.clear();
        summary
    }
}
