#![doc = include_str!("../README.md")]
//!
//! # Entry points
//!
//! - [`Machine`] is the machine: [`perform`](Machine::perform) performs an act of a client, the guest or the host.
//! - [`RunningMachine`] owns the monitor's thread: the addresses for clients, and the clock, which moves only when the test
//!   advances it. [`Machine::start`] returns it.
//! - `MemoryMachine` has no thread: it runs in the tasks of a tokio runtime, on its clock. `Machine::start_in_memory` returns
//!   it.
//! - [`Action`] names an act: a QEMU command, or an `x-guest-…` or `x-host-…` command for acts that a QEMU does not
//!   perform on command. The same names work on the monitor and in scripts.
//! - [`fault`] has the faults between a machine and its clients, [`replay`] serves what a QEMU sent, `script` has timed
//!   acts.

// From the lowest to the highest: a module imports only those listed before it.
mod random;
mod action;
mod clock;
mod event;
mod refusals;
mod transitions;
mod timers;
mod scheduled;
mod guest;
mod config;
mod vm;
mod commands;
mod devices;
mod run_control;
mod machine;
mod monitored;
pub mod fault;
mod running;
#[cfg(feature = "tokio")]
mod runtime;
pub mod replay;
#[cfg(feature = "toml")]
pub mod script;

pub use action::{Action, ActionError};
pub use clock::MachineClock;
pub use config::MachineConfig;
pub use guest::Guest;
pub use machine::{Machine, MachineAccess};
pub use qmp_server::{Address, Listener, Refusal, RunState, Stats};
pub use running::RunningMachine;
#[cfg(feature = "tokio")]
pub use runtime::{ClockHold, MemoryMachine, MemoryStream};
pub use transitions::{PanicAction, Policy, RebootAction, ShutdownAction, WatchdogPolicy};

#[doc = include_str!("../../../docs/testing.md")]
pub mod guide {}
