//! Migration, outgoing and incoming, and its companions (COLO, failover, VFIO, SPICE clients).

mod colo;
mod incoming;
mod lifecycle;
mod outgoing;
mod settings;

use std::collections::BTreeSet;

pub(super) use lifecycle::at_exit;

use crate::commands::Entry;

/// The current or last migration, and the settings of the next one.
#[derive(Debug, Default)]
pub(crate) struct Migration {
    status: Option<Status>,
    /// Enabled capabilities.
    capabilities: BTreeSet<Box<str>>,
    max_bandwidth: Option<u64>,
    downtime_limit_ms: Option<u64>,
    /// Bytes a second that the guest changes, and bytes of memory to move.
    dirty_bytes_per_second: u64,
    used_bytes: Option<u64>,
    /// Distinguishes the migration from a later one.
    number: u64,
    passes: u64,
    /// The error of the next migration; `None` if it succeeds.
    fails: Option<Box<str>>,
    error: Option<Box<str>>,
    /// Whether the guest ran when the migration reached its end.
    was_running: bool,
    /// The address of the migration: where it listens or connects.
    uri: Box<str>,
    role: Role,
}

/// The role of this machine in COLO.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Role {
    #[default]
    None,
    Primary,
    Secondary,
}

/// The state of a migration.
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

    /// Returns whether the migration has ended.
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
