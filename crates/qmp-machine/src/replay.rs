//! Replay: a recording as a live monitor.
//!
//! A [`Recording`] is read from a capture of what a monitor said, or from records of a journal. [`Replay`] serves it: the
//! greeting that was recorded, the events byte for byte and at their distance from each other, and answers to the
//! commands whose answers are known. Where the recorded monitor closed the connection, the replayed one does, too, and
//! waits for the client to come back.
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

mod answers;
mod capture;
mod client;
mod recording;
mod records;
mod server;
mod tape;

pub use recording::{Recording, RecordingBuilder, RecordingError};
pub use server::{QUIET_BEFORE_END, Replay, Replaying};
