//! The place of a VM in its history: the last record that was read, and the records that are missing before the next.
//!
//! The records of an epoch are numbered without a hole, and so are the epochs. A hole shows records that retention has
//! removed or that cannot be read: what they were is unknown. A record that a hub added to those of another host's VM is not
//! in their sequence.

use qmp_wire::{Record, Seq, UnixMicros};

use crate::finding::Id;
use crate::persist::persist;
use crate::state::MissingRecords;

/// A record that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Its epoch and number.
    pub id: Id,
    /// When it was received.
    pub received: UnixMicros,
}

persist!(Position { id, received });
persist!(MissingRecords { after, before });

impl Position {
    pub(crate) fn of(record: &Record<'_>) -> Self {
        Self { id: (record.epoch, record.seq), received: record.received }
    }
}

/// The records that are missing before `record`, after the record at `last`. An epoch that `is_open` lacks its end.
pub(crate) fn missing_before(
    record: &Record<'_>,
    last: Option<Position>,
    is_open: bool,
) -> Option<MissingRecords> {
    if record.seq.is_added() {
        return None;
    }
    let before = (record.epoch, record.seq);
    let Some(Position { id: after, .. }) = last else {
        return (record.seq > Seq(0)).then_some(MissingRecords { after: None, before });
    };
    let is_next = before.0 == after.0 && before.1.0 == after.1.0.saturating_add(1);
    let is_next_epoch = before.0.0 == after.0.0.saturating_add(1) && before.1 == Seq(0) && !is_open;
    (before > after && !is_next && !is_next_epoch).then_some(MissingRecords { after: Some(after), before })
}
