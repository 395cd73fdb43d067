//! The core of the hub: attaches to monitors, discovers VMs, serves relays, and records in a journal what VMs send.
//!
//! [`Hub::start`] follows every VM that the [`HubConfig`] names. Each VM is one task that reads its monitor and appends
//! records to the journal; every reader is a cursor on the journal. HTTP, rules and the configuration file are crates above
//! this one.
//!
//! What the hub uses of its host is an [`Environment`], which a test replaces: the clock, and how connections are made.

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
pub use observer::{Observed, Observer, RestoredState, restore_checkpoint};
pub use silence::{
    ANSWERS_AGAIN, SILENT, SILENT_AFTER_DEFAULT, SILENT_AFTER_MAX, SILENT_AFTER_MIN, SilentAfter,
    SilentAfterError,
};
pub use taken::no_greeting_cause;
pub use vm::{Counter, Origin, Standing, State, VM_NAME_MAX_BYTES, Vm, VmCounts, VmName, VmNameError};
