//! Records of other hosts' VMs, with the numbers that their own hubs assigned.
//!
//! The writer keeps epoch and number of such a record, and assigns only its offset. A VM's numbers must grow, but may have
//! holes, and an epoch need not have its `attached` and `detached`: a hub may publish some of its records only. This hub
//! never closes such an epoch.

use std::collections::HashMap;

use qmp_wire::{Body, Epoch, QualifiedName, Record, Seq};

use super::batch::Batch;
use super::error::{JournalEnded, Overrun};
use super::feed::{Feed, StreamPosition};

/// The numbers of a record within its VM.
type Numbers = (Epoch, Seq);

/// Foreign records, and positions that are committed in the transaction of these records.
///
/// A batch with positions is never divided: keep it to some thousand records.
#[derive(Clone, Debug, Default)]
pub struct ForeignBatch {
    batch: Batch,
    /// The first and the last numbers of each VM in the batch.
    vms: HashMap<Box<str>, (Numbers, Numbers)>,
}

/// The last accepted numbers of each VM of other hosts.
#[derive(Debug, Default)]
pub(super) struct ForeignNumbers(HashMap<Box<str>, Numbers>);

/// Errors of appending foreign records.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ForeignError {
    /// The VM is not named as one of another host.
    #[error("{vm:?} does not name a VM of another host: write HOST/VM")]
    NotQualified {
        /// The name.
        vm: Box<str>,
    },
    /// No hub assigns such numbers.
    #[error("a record of {vm} has impossible numbers: kind {kind}, epoch {}, seq {}", epoch.0, seq.0)]
    Numbers {
        /// The VM.
        vm: Box<str>,
        /// The kind of the record.
        kind: &'static str,
        /// The epoch.
        epoch: Epoch,
        /// The number within the epoch.
        seq: Seq,
    },
    /// The journal, or the batch, has the record or a later one of its VM.
    #[error(
        "record {} of epoch {} of {vm} is not after record {} of epoch {}, the last one in the journal",
        seq.0, epoch.0, last_seq.0, last_epoch.0
    )]
    Repeated {
        /// The VM.
        vm: Box<str>,
        /// The epoch of the record.
        epoch: Epoch,
        /// Its number within the epoch.
        seq: Seq,
        /// The epoch of the VM's last record.
        last_epoch: Epoch,
        /// The number of that record.
        last_seq: Seq,
    },
    /// The queue is full.
    #[error(transparent)]
    Overrun(#[from] Overrun),
    /// The journal was closed.
    #[error(transparent)]
    Ended(#[from] JournalEnded),
}

impl ForeignBatch {
    /// An empty batch.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a record at the end; its `vm` is a [`QualifiedName`], its offset is ignored.
    ///
    /// # Errors
    ///
    /// [`ForeignError::NotQualified`], [`ForeignError::Numbers`], and [`ForeignError::Repeated`] if the batch has the
    /// record or a later one of its VM. The batch is unchanged.
    pub fn push(&mut self, record: &Record<'_>) -> Result<(), ForeignError> {
        let Record { vm, epoch, seq, body, .. } = record;
        if QualifiedName::parse(vm).is_none() {
            return Err(ForeignError::NotQualified { vm: (**vm).into() });
        }
        let opens = matches!(body, Body::Attached { .. });
        if epoch.0 == u32::MAX || seq.is_added() || (opens && (epoch.0, seq.0) != (epoch.0.max(1), 0)) {
            let (vm, kind) = ((**vm).into(), body.kind());
            return Err(ForeignError::Numbers { vm, kind, epoch: *epoch, seq: *seq });
        }
        let numbers = (*epoch, *seq);
        match self.vms.get_mut(&**vm) {
            Some((_, last)) if *last >= numbers => return Err(repeated(vm, numbers, *last)),
            Some((_, last)) => *last = numbers,
            None => drop(self.vms.insert((**vm).into(), (numbers, numbers))),
        }
        self.batch.push_foreign(record);
        Ok(())
    }

    /// Sets the position of a foreign journal, in place of the one set before: the last of its records in this batch, or
    /// after them one that is not to be recorded.
    pub fn set_feed(&mut self, feed: Feed) {
        self.batch.positions_mut().set_feed(feed);
    }

    /// Sets the position of a stream, in place of the one set before.
    pub fn set_stream_position(&mut self, position: StreamPosition) {
        self.batch.positions_mut().set_stream(position);
    }

    /// Removes all records and positions, and keeps the buffers.
    pub fn clear(&mut self) {
        self.batch.clear();
        self.vms.clear();
    }

    /// The number of records.
    #[must_use]
    pub fn len(&self) -> usize {
        self.batch.len()
    }

    /// Whether the batch has no record.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.batch.is_empty()
    }

    /// The memory of the batch, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.batch.bytes()
    }

    /// The batch for the queue, and the first and last numbers of each VM in it.
    pub(super) fn parts(&mut self) -> (&mut Batch, &HashMap<Box<str>, (Numbers, Numbers)>) {
        (&mut self.batch, &self.vms)
    }
}

impl ForeignNumbers {
    /// The numbers of the last record of each VM in the journal.
    pub(super) fn new(last: HashMap<Box<str>, Numbers>) -> Self {
        Self(last)
    }

    /// Advances to the last records of a batch, of which the first and the last numbers of each VM are given. After an
    /// error nothing has changed.
    pub(super) fn advance(
        &mut self,
        vms: &HashMap<Box<str>, (Numbers, Numbers)>,
    ) -> Result<(), ForeignError> {
        for (vm, (first, _)) in vms {
            if let Some(last) = self.0.get(vm).filter(|last| *last >= first) {
                return Err(repeated(vm, *first, *last));
            }
        }
        for (vm, (_, last)) in vms {
            match self.0.get_mut(vm) {
                Some(numbers) => *numbers = *last,
                None => drop(self.0.insert(vm.clone(), *last)),
            }
        }
        Ok(())
    }

    /// The numbers of the last record of a VM; `None` without one.
    pub(super) fn last(&self, vm: &str) -> Option<Numbers> {
        self.0.get(vm).copied()
    }
}

fn repeated(vm: &str, (epoch, seq): Numbers, (last_epoch, last_seq): Numbers) -> ForeignError {
    ForeignError::Repeated { vm: vm.into(), epoch, seq, last_epoch, last_seq }
}
