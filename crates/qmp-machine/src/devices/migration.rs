//! Migration: to another host, from another host, and what hangs on it (COLO, failover, VFIO, SPICE clients).

mod colo;
mod course;
mod incoming;
mod outgoing;
mod settings;

use std::collections::BTreeSet;

pub(super) use course::at_exit;

use crate::table::Entry;

/// The migration under way or done, and how the next one is to be.
#[derive(Debug, Default)]
pub(crate) struct Migration {
    status: Option<Status>,
    /// Capabilities that are on.
    capabilities: BTreeSet<Box<str>>,
    max_bandwidth: Option<u64>,
    downtime_limit_ms: Option<u64>,
    /// How fast the guest changes memory, and how much of it there is to move.
    dirty_bytes_per_second: u64,
    used_bytes: Option<u64>,
    /// Tells a migration apart from a later one.
    number: u64,
    passes: u64,
    /// Why the next migration fails, if it does.
    fails: Option<Box<str>>,
    error: Option<Box<str>>,
    /// Whether the guest ran when its migration came to its end.
    was_running: bool,
    /// Where the migration listens or goes.
    uri: Box<str>,
    role: Role,
}

/// Which side of COLO this machine is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Role {
    #[default]
    None,
    Primary,
    Secondary,
}

/// Where a migration stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    Setup,
    Cancelling,
    Cancelled,
    Active,
    PostcopyActive,
    PostcopyPaused,
    PostcopyRecoverSetup,
    PostcopyRecover,
    Completed,
    Failing,
    Failed,
    Colo,
    PreSwitchover,
    Device,
    WaitUnplug,
}

impl Status {
    fn as_str(self) -> &'static str {
        match self {
            Self::Setup => "setup",
            Self::Cancelling => "cancelling",
            Self::Cancelled => "cancelled",
            Self::Active => "active",
            Self::PostcopyActive => "postcopy-active",
            Self::PostcopyPaused => "postcopy-paused",
            Self::PostcopyRecoverSetup => "postcopy-recover-setup",
            Self::PostcopyRecover => "postcopy-recover",
            Self::Completed => "completed",
            Self::Failing => "failing",
            Self::Failed => "failed",
            Self::Colo => "colo",
            Self::PreSwitchover => "pre-switchover",
            Self::Device => "device",
            Self::WaitUnplug => "wait-unplug",
        }
    }

    /// Whether it is over.
    fn is_over(self) -> bool {
        matches!(self, Self::Cancelled | Self::Completed | Self::Failed)
    }
}

impl Migration {
    fn has(&self, capability: &str) -> bool {
        self.capabilities.contains(capability)
    }

    fn is_under_way(&self) -> bool {
        self.status.is_some_and(|status| !status.is_over())
    }
}

pub(crate) fn commands() -> Vec<Entry> {
    [settings::commands(), outgoing::commands(), incoming::commands(), colo::commands()]
        .into_iter()
        .flatten()
        .collect()
}
