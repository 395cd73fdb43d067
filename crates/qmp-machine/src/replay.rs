//! Replay: serves a recording as a live monitor.
//!
//! A [`Recording`] is read from a capture of a monitor's output, or from records of a journal. [`Replay`] serves
//! it: the recorded greeting, the events byte for byte and at their recorded intervals, and replies to the commands
//! whose replies are known. Where the recorded monitor closed the connection, the replay closes it, too, and waits
//! for the client to reconnect.
//!
//! ```no_run
//! use qmp_machine::replay::{Recording, Replay};
//! use qmp_server::Listener;
//!
//! let recording = Recording::read(&std::fs::read("web1.qmp")?, None)?;
//! let replay = Replay::new(recording).speed(10.0).start(Listener::unix("/tmp/web1.sock")?)?;
//! replay.wait()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

// From the lowest to the highest: a module imports only those listed before it.
mod replies;
mod session;
mod capture;
mod records;
mod recording;
mod tape;
mod client;
mod server;

pub use recording::{Recording, RecordingBuilder, RecordingError};
pub use server::{QUIET_BEFORE_END, Replay, ReplayHandle};
