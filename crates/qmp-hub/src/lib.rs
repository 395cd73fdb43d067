//! The hub: attaches to monitors, keeps the journal, serves readers.
//!
//! [`Hub::start`] opens the journal, follows every VM that the [`HubConfig`] names, and serves HTTP. Each VM is
//! one task that reads its monitor and hands what it says to the journal; every reader, over HTTP or in the same
//! process, is a cursor on the journal.

mod audit;
mod limits;
mod environment;
pub mod conditions;
mod reason;
mod layout;
mod qemu_command;
mod taken;
mod role;
mod commands;
mod silence;
pub mod relay;
mod vm;
mod observer;
mod silence_watch;
mod attach;
mod fleet;
pub mod discovery;
mod asking;
mod absence;
mod hub;

pub use audit::{Audit, Peer, Who};
pub use commands::{Commands, UnderWay};
pub use environment::Environment;
pub use fleet::{Fleet, FleetError, Member, Vms};
pub use hub::{Hub, HubConfig, HubError};
pub use limits::{STOP_COMMIT_MAX, STOP_HTTP_MAX};
pub use observer::{Observed, Observer, restore_checkpoint};
pub use silence::{
    ANSWERS_AGAIN, SILENT, SILENT_AFTER_DEFAULT, SILENT_AFTER_MAX, SILENT_AFTER_MIN, SilentAfter,
    SilentAfterError,
};
pub use vm::{Counter, Origin, Standing, State, VM_NAME_MAX_BYTES, Vm, VmCounts, VmName, VmNameError};
