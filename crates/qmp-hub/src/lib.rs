#![doc = include_str!("../README.md")]
//!
//! # Entry points
//!
//! [`Hub::start`] follows every VM that the [`HubConfig`] names. Each VM is one task that reads its monitor and appends
//! records to the journal; every reader is a cursor on the journal.
//!
//! The hub uses its host through an [`Environment`], which a test replaces: the clock, and how connections are made.

mod audit;
mod limits;
mod environment;
pub mod conditions;
mod reason;
mod layout;
mod qemu_command;
mod in_use;
mod role;
mod commands;
mod silence;
pub mod relay;
mod domain_commands;
mod vm;
mod observer;
mod silence_watch;
mod attach;
mod domain_recorder;
mod registry;
pub mod discovery;
mod asking;
mod absence;
#[cfg(feature = "fleet")]
mod fleet;
mod hub;

pub use audit::{Audit, ClientIdentity, Peer};
pub use commands::{CommandsInFlight, InFlightGuard};
pub use environment::Environment;
#[cfg(feature = "fleet")]
pub use fleet::{
    FLEET_STREAM_DEFAULT, FleetConfig, FleetSourceConfig, FleetSourceError, FleetSources, FleetStatus,
    FleetStatuses, HOST_SILENT_AFTER,
};
pub use hub::{Hub, HubConfig, HubStartError};
pub use in_use::no_greeting_cause;
pub use limits::{STOP_COMMIT_MAX, STOP_HTTP_MAX};
pub use observer::{Observer, RestoredState, VmOnTwoHosts, VmStates, restore_checkpoint};
pub use registry::{RegisteredVm, VmRegistry, VmRegistryError, Vms};
pub use silence::{
    ANSWERS_AGAIN, SILENT, SILENT_AFTER_DEFAULT, SILENT_AFTER_MAX, SILENT_AFTER_MIN, SilentAfter,
    SilentAfterError,
};
pub use vm::{
    Counter, FollowedVm, MonitorState, VM_NAME_MAX_BYTES, VmCounts, VmName, VmNameError, VmOrigin, VmStatus,
};
