//! Run states.

/// What a machine is doing.
///
/// Source: QAPI `RunState` of QEMU 2.8 and later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the names are QAPI's")]
pub enum RunState {
    Debug,
    Inmigrate,
    InternalError,
    IoError,
    Paused,
    Postmigrate,
    Prelaunch,
    FinishMigrate,
    RestoreVm,
    Running,
    SaveVm,
    Shutdown,
    Suspended,
    Watchdog,
    GuestPanicked,
    Colo,
}

/// All run states, in the order of the schema.
pub const RUN_STATES: [RunState; 16] = [
    RunState::Debug,
    RunState::Inmigrate,
    RunState::InternalError,
    RunState::IoError,
    RunState::Paused,
    RunState::Postmigrate,
    RunState::Prelaunch,
    RunState::FinishMigrate,
    RunState::RestoreVm,
    RunState::Running,
    RunState::SaveVm,
    RunState::Shutdown,
    RunState::Suspended,
    RunState::Watchdog,
    RunState::GuestPanicked,
    RunState::Colo,
];

impl RunState {
    /// The string on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Inmigrate => "inmigrate",
            Self::InternalError => "internal-error",
            Self::IoError => "io-error",
            Self::Paused => "paused",
            Self::Postmigrate => "postmigrate",
            Self::Prelaunch => "prelaunch",
            Self::FinishMigrate => "finish-migrate",
            Self::RestoreVm => "restore-vm",
            Self::Running => "running",
            Self::SaveVm => "save-vm",
            Self::Shutdown => "shutdown",
            Self::Suspended => "suspended",
            Self::Watchdog => "watchdog",
            Self::GuestPanicked => "guest-panicked",
            Self::Colo => "colo",
        }
    }
}
