//! Scenarios: events caused in a real QEMU by their real causes, through the hub into its journal.
//!
//! A [`Scenario`] says how QEMU is started and what happens; [`Scenario::start`] starts it with two monitors. One is
//! the hub's; the other is the scenario's own, a socket read to bytes by nothing of this project's libraries. The
//! scenario drives the [`Vm`] over the latter, and says which lines come:
//!
//! ```no_run
//! use qmp_real_qemu::Scenario;
//!
//! let scenario = Scenario::new("stop", "The command `stop`.").shows(&["STOP"]);
//! let Some(mut vm) = scenario.start() else { return };
//! vm.execute("cont");
//! vm.send("stop");
//! vm.lines(&["STOP", "reply"]);
//! vm.finds("why-paused cause=host-stop");
//! vm.end();
//! ```
//!
//! [`Vm::end`] then checks what holds of every run: what the journal has is what the raw monitor saw, byte for byte and
//! in its order; nothing of it violates the catalogue; no finding says that something is missing or unknown; and the
//! findings that the scenario named are there.
//!
//! - `QMP_QEMU` names another program than `qemu-system-x86_64`. Where it cannot be run, a scenario says so and passes;
//!   with `CI` set that is a failure.
//! - `QMP_PROGRAM` names the program `qmp`: then the hub is `qmp serve`, and its journal is read by `qmp log --follow`.
//!   Without it, the hub runs within the test.
//! - `QMP_CAPTURE_DIR` names a directory in which every scenario leaves what its raw monitor said, see [`CaptureDescription`].

mod boot;
mod host;
mod expected;
mod capture_description;
mod program;
mod qemu;
mod monitor;
mod judge;
mod hub;
mod scenario;
mod vm;
mod linux;

pub use boot::Boot;
pub use capture_description::{CaptureDescription, captures};
pub use host::tells_how_processes_end;
pub use hub::events_in_the_journal;
pub use linux::{GuestFiles, KERNEL_COMMAND_LINE, Linux};
pub use monitor::MonitorLine;
pub use program::{is_missing, program};
pub use scenario::Scenario;
pub use vm::Vm;
