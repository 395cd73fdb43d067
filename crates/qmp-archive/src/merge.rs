//! Reads the records of many Parquet files in the order of their offsets.
//!
//! A part is sorted by VM, and a journal by offset. The row groups are read in the order of their lowest offsets, and a record is
//! passed on when its offset is below those of all row groups that were not read. So the records in memory are those of row groups
//! whose offsets overlap: one window of an export.

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::path::PathBuf;

use qmp_wire::{Offset, Record};

use super::memory::text_bytes;
use super::part::Part;
use super::part_error::PartError;

/// Records that wait for their turn, at most. An export writes windows of fewer; a file that another program sorted otherwise may
/// need more.
const OVERLAP_MAX_RECORDS: usize = 4 << 20;

/// Bytes of the texts of records that wait for their turn, at most.
const OVERLAP_MAX_BYTES: usize = 1 << 30;

/// Errors of reading parts.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MergeError {
    /// A file cannot be read.
    #[error("{}: {source}", path.display())]
    Part {
        /// Its path.
        path: PathBuf,
        /// The error.
        source: PartError,
    },
    /// Too many row groups have offsets that overlap.
    #[error(
        "{}: too many records are out of the order of their offsets; write the files again with ORDER BY \"offset\"",
        path.display()
    )]
    Unordered {
        /// The file that was read.
        path: PathBuf,
    },
    /// A record has a lower offset than the file says of its row group, and comes too late.
    #[error("{}: offset {} is lower than the statistics of its row group say", path.display(), offset.0)]
    Statistics {
        /// The path of the file.
        path: PathBuf,
        /// The offset of the record.
        offset: Offset,
    },
}

/// Yields the records of parts of one journal in the order of their offsets.
#[derive(Debug)]
pub struct OffsetMerge {
    parts: Vec<Part>,
    /// Row groups that were not read: the lowest offset, the part, and the number of the group in it.
    groups: VecDeque<(u64, usize, usize)>,
    /// Records that were read, by offset and the order of reading.
    waiting: BTreeMap<(Offset, u64), Record<'static>>,
    waiting_bytes: usize,
    read: u64,
    passed: Offset,
}

impl OffsetMerge {
    /// Begins to read `parts`.
    #[must_use]
    pub fn new(parts: Vec<Part>) -> Self {
        let mut groups = Vec::new();
        for (index, part) in parts.iter().enumerate() {
            groups.extend(part.lowest_offsets().enumerate().map(|(group, lowest)| (lowest, index, group)));
        }
        groups.sort_unstable();
        Self {
            parts,
            groups: groups.into(),
            waiting: BTreeMap::new(),
            waiting_bytes: 0,
            read: 0,
            passed: Offset(0),
        }
    }

    /// The number of records of all parts, as the files say.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.parts.iter().map(Part::rows).sum()
    }

    /// Returns the next record; `None` after the last.
    ///
    /// # Errors
    ///
    /// Any [`MergeError`].
    pub fn next_record(&mut self) -> Result<Option<Record<'static>>, MergeError> {
        loop {
            let due = self.waiting.first_key_value().map(|((offset, _), _)| offset.0);
            match (due, self.groups.front()) {
                (Some(offset), Some((lowest, ..))) if offset < *lowest => return Ok(self.pass()),
                (_, None) => return Ok(self.pass()),
                (_, Some(_)) => self.read_group()?,
            }
        }
    }

    fn pass(&mut self) -> Option<Record<'static>> {
        let ((offset, _), record) = self.waiting.pop_first()?;
        self.waiting_bytes -= text_bytes(&record);
        self.passed = offset;
        Some(record)
    }

    fn read_group(&mut self) -> Result<(), MergeError> {
        let Some((_, part, group)) = self.groups.pop_front() else { return Ok(()) };
        let part = &self.parts[part];
        let mut add = |record: Record<'static>| {
            let offset = record.offset.unwrap_or_default();
            self.read += 1;
            self.waiting_bytes += text_bytes(&record);
            self.waiting.insert((offset, self.read), record);
            if offset < self.passed {
                return Err(ReadError::Merge(MergeError::Statistics {
                    path: part.path().to_owned(),
                    offset,
                }));
            }
            if self.waiting.len() > OVERLAP_MAX_RECORDS || self.waiting_bytes > OVERLAP_MAX_BYTES {
                return Err(ReadError::Merge(MergeError::Unordered { path: part.path().to_owned() }));
            }
            Ok(())
        };
        part.read_group(group, &mut add).map_err(|error| match error {
            ReadError::Part(source) => MergeError::Part { path: part.path().to_owned(), source },
            ReadError::Merge(error) => error,
        })
    }
}

/// An error of a row group, before it has the path of its file.
enum ReadError {
    Part(PartError),
    Merge(MergeError),
}

impl From<PartError> for ReadError {
    fn from(error: PartError) -> Self {
        Self::Part(error)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::cell::Origin;
    use crate::part_writer::write_part;
    use crate::samples::event;

    fn part(folder: &Path, name: &str, mut records: Vec<Record<'static>>) -> Part {
        let origin = Origin { journal: "j".into(), host: "here".into(), is_local: true };
        let path = folder.join(name);
        std::fs::write(&path, write_part(Vec::new(), &origin, &mut records).unwrap()).unwrap();
        Part::open(&path).unwrap()
    }

    #[test]
    fn records_come_in_the_order_of_offsets() {
        let home = tempfile::tempdir().unwrap();
        let records = |range: std::ops::Range<u64>, vm| range.map(move |offset| event(offset * 2, vm, 1));
        let first = part(home.path(), "a", records(1..50, "z").chain(records(50..60, "a")).collect());
        let odd = (1..100).map(|offset| event(offset * 2 + 1, "m", 1)).collect();
        let parts = vec![
            part(home.path(), "b", odd),
            first,
            part(home.path(), "c", records(300..310, "b").collect()),
        ];
        let mut merge = OffsetMerge::new(parts);
        assert_eq!(merge.rows(), 168);
        let mut offsets = Vec::new();
        while let Some(record) = merge.next_record().unwrap() {
            offsets.push(record.offset.unwrap().0);
            // A part is read when it is due.
            assert!(offsets.len() > 158 || !merge.groups.is_empty(), "{offsets:?}");
        }
        assert_eq!(offsets.len(), 168);
        assert!(offsets.is_sorted());
    }
}
