//! The state of the migration.

use std::collections::{BTreeMap, BTreeSet};

/// The current or last migration, and the settings of the next one.
#[derive(Debug, Default)]
pub(crate) struct Migration {
    pub(super) status: Option<Status>,
    /// Enabled capabilities.
    pub(super) capabilities: BTreeSet<Box<str>>,
    /// The numbers among the parameters that a client has set.
    pub(super) parameters: BTreeMap<Box<str>, u64>,
    pub(super) max_bandwidth: Option<u64>,
    pub(super) downtime_limit_ms: Option<u64>,
    /// Bytes a second that the guest changes, and bytes of memory to move.
    pub(super) dirty_bytes_per_second: u64,
    pub(super) used_bytes: Option<u64>,
    /// Distinguishes the migration from a later one.
    pub(super) number: u64,
    pub(super) passes: u64,
    /// The error of the next migration; `None` if it succeeds.
    pub(super) fails: Option<Box<str>>,
    pub(super) error: Option<Box<str>>,
    /// Whether the guest ran when the migration reached its end.
    pub(super) was_running: bool,
    /// The address of the migration: where it listens or connects.
    pub(super) uri: Box<str>,
    pub(super) role: Role,
}

/// The role of this machine in COLO.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Role {
    #[default]
    None,
    Primary,
    Secondary,
}

/// The state of a migration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
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
    pub(super) fn as_str(self) -> &'static str {
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
    pub(super) fn is_over(self) -> bool {
        matches!(self, Self::Cancelled | Self::Completed | Self::Failed)
    }
}

impl Migration {
    pub(super) fn has(&self, capability: &str) -> bool {
        self.capabilities.contains(capability)
    }

    pub(super) fn is_under_way(&self) -> bool {
        self.status.is_some_and(|status| !status.is_over())
    }
}
