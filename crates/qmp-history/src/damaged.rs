//! Damaged parts of the journal, as the hub's interface has them.

use qmp_journal::{DamagedSpan, JournalError, Reader};
use qmp_wire::{Offset, UnixMicros};
use serde::Serialize;

use crate::window::Window;

/// A range of records with damage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DamagedRecords {
    /// The offset of the first record.
    pub first: u64,
    /// The offset of the last record.
    pub last: u64,
    /// Whether records are lost to readers.
    pub lost: bool,
    /// A description of the damage.
    pub desc: String,
}

impl DamagedRecords {
    /// The damaged parts of the journal, as far as `reader` and its clones have read them.
    #[must_use]
    pub fn of(reader: &Reader) -> Vec<Self> {
        reader.damage().iter().map(Self::from).collect()
    }

    /// Those in the segments of a window.
    pub(crate) fn in_window(reader: &Reader, window: &Window) -> Result<Vec<Self>, JournalError> {
        let mut damaged = Self::of(reader);
        if !damaged.is_empty() {
            let (Offset(first), Offset(last)) =
                reader.offsets(UnixMicros(window.since), UnixMicros(window.until))?;
            damaged.retain(|range| range.first <= last && range.last >= first);
        }
        Ok(damaged)
    }
}

impl From<&DamagedSpan> for DamagedRecords {
    fn from(span: &DamagedSpan) -> Self {
        let (first, last) = (span.first.0, span.last.0);
        Self { first, last, lost: span.loses_records(), desc: span.to_string() }
    }
}
