//! The records at which a VM is detached.

use qmp_wire::{Body, DetachReason, Record};

/// Whether the record says that QEMU closed its monitor, not just that the hub lost the connection.
pub(super) fn is_gone(record: &Record<'_>) -> bool {
    matches!(&record.body, Body::Detached { reason: DetachReason::PeerClosed, .. })
}

/// Whether the record says that no further records of a VM follow: it ended, or was removed from the hub.
pub(super) fn is_left(record: &Record<'_>) -> bool {
    matches!(&record.body, Body::Detached { reason: DetachReason::PeerClosed | DetachReason::Removed, .. })
}
