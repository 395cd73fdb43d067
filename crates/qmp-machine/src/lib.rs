//! An emulated machine that speaks QMP: it starts in a millisecond, needs no QEMU, and does on command what a real guest
//! does once a year.
//!
//! [`Machine::start`] runs one in this process, as a double of a QEMU for tests. Its clock stands still until it is told
//! to move on, so that a test never waits:
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
//! - [`Machine`] is the machine: [`perform`](Machine::perform) does what a client, the guest or the host does.
//! - [`Running`] is its monitor: where clients connect, and the clock.
//! - [`Action`] names what is to be done: a command of QEMU's, or an `x-guest-…` or `x-host-…` one for all that a QEMU
//!   does not do on command. The same names work on the monitor and in scripts.
//!
//! Every event of the claimed release has its cause here, and comes with what a QEMU sends besides. What is emulated and
//! what differs from a QEMU is told in `docs/machine.md`.

mod action;
mod clock;
mod config;
mod devices;
pub mod fault;
mod guest;
mod machine;
mod raised;
pub mod replay;
mod run_control;
mod running;
pub mod script;
mod table;
mod timers;
mod transitions;
mod vm;

pub use action::{Action, ActionError};
pub use clock::MachineClock;
pub use config::MachineConfig;
pub use guest::Guest;
pub use machine::{Machine, Moment};
pub use running::Running;
pub use transitions::{PanicAction, Policy, RebootAction, ShutdownAction, WatchdogAction};
