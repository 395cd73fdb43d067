//! A run of a domain, and what is known of it.

use std::time::Instant;

use super::held::Held;
use super::item::Began;
use crate::domain::Domain;
use crate::lifecycle::Lifecycle;

/// A run of a domain.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) domain: Domain,
    pub(super) began: Began,
    pub(super) started: Option<Lifecycle>,
    /// The run ended before its state was known.
    pub(super) stopped: Option<Lifecycle>,
    pub(super) phase: Phase,
    /// Replies that the monitor is not connected.
    pub(super) occupied: u32,
    pub(super) held: Held,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// It was asked whether libvirtd can speak to QEMU; or it cannot yet, and is asked again.
    Connecting,
    /// libvirt has yet to say how the run started.
    Starting,
    /// The state was asked for.
    Asking,
    Open,
    /// libvirtd lost the monitor of an open run, at that time: the run may have ended.
    Losing {
        since: Instant,
    },
    /// libvirtd lost the monitor.
    Unreadable,
}
