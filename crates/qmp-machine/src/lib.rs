#![doc = include_str!("../README.md")]
//!
//! # Entry points
//!
//! - [`Machine`] is the machine: [`perform`](Machine::perform) performs an act of a client, the guest or the host.
//! - [`RunningMachine`] owns the monitor's thread: the addresses for clients, and the clock.
//! - [`Action`] names an act: a QEMU command, or an `x-guest-…` or `x-host-…` command for acts that a QEMU does not
//!   perform on command. The same names work on the monitor and in scripts.

mod action;
mod clock;
mod commands;
mod config;
mod devices;
mod event;
pub mod fault;
mod guest;
mod machine;
pub mod replay;
mod run_control;
mod running;
pub mod script;
mod timers;
mod transitions;
mod vm;

pub use action::{Action, ActionError};
pub use clock::MachineClock;
pub use config::MachineConfig;
pub use guest::Guest;
pub use machine::{Machine, MachineAccess};
pub use running::RunningMachine;
pub use transitions::{PanicAction, Policy, RebootAction, ShutdownAction, WatchdogPolicy};
