//! An emulated machine that speaks QMP: it starts in a millisecond, needs no QEMU, and performs rare acts of a real
//! guest on command.
//!
//! [`Machine::start`] runs a machine in this process, in place of a QEMU in tests. Its clock moves only when the
//! test advances it, so that a test never waits:
//!
//! ```
//! use qmp_machine::{Action, Machine, MachineConfig};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! let running = Machine::start(MachineConfig::default()).unwrap();
//! let address = running.address().unwrap();
//! let (monitor, mut events) = qmp_client::connect(&address).await.unwrap();
//!
//! running.machine().perform(&Action::new("x-guest-panic")).unwrap();
//!
//! let qmp_client::EventItem::Event(event) = events.next().await.unwrap() else { panic!("no event") };
//! assert_eq!(&*event.name, "GUEST_PANICKED");
//! # drop(monitor);
//! # });
//! ```
//!
//! - [`Machine`] is the machine: [`perform`](Machine::perform) performs an act of a client, the guest or the host.
//! - [`RunningMachine`] owns the monitor's thread: the addresses for clients, and the clock.
//! - [`Action`] names an act: a QEMU command, or an `x-guest-…` or `x-host-…` command for acts that a QEMU does not
//!   perform on command. The same names work on the monitor and in scripts.
//!
//! Each event of the claimed release can be caused here, together with the other events and state changes that a
//! QEMU makes. `docs/machine.md` lists what is emulated and where the machine differs from a QEMU.

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
