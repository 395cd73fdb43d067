//! Scripts: timed actions on a machine.
//!
//! A script is a TOML file: settings of the machine, timed and repeated steps, and faults of its connection. Random
//! decisions come from a seed: the same script and seed give the same bytes. `docs/scripts.md` is the manual.
//!
//! ```
//! use qmp_machine::script::Script;
//!
//! let script = Script::parse("watchdog.toml", r#"
//!     summary = "A guest that hangs every minute"
//!     [[step]]
//!     every = "1min"
//!     jitter = "10s"
//!     guest = "watchdog"
//! "#)?;
//! let mut timeline = script.timeline(7);
//! let first = timeline.take().unwrap();
//! assert_eq!(&*first.action.execute, "x-guest-watchdog");
//! # Ok::<(), qmp_machine::script::ScriptError>(())
//! ```
//!
//! - [`Script::parse`] reads strictly: all problems are reported at once, each with its line.
//! - [`Timeline`] returns the actions and when they are due; time is an argument.
//! - [`Player`] plays a script on a machine, by the clock of the host or by a virtual one.
//! - [`Emulation`] is a machine with its script, faults and sockets on its own thread, restarted after its exit.
//! - [`bundled`] contains the scripts that come with the program.

// From the lowest to the highest: a module imports only those listed before it.
mod span;
mod settings;
mod model;
mod read;
mod timeline;
mod player;
mod emulation;
pub mod bundled;

pub use emulation::{Emulation, EmulationConfig, EmulationEvent};
pub use model::Script;
pub use player::{Player, RefusedAction};
pub use read::{Problem, ScriptError};
pub use settings::{MachineSettings, release};
pub use timeline::{DueAction, Timeline};
