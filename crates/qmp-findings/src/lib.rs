//! Findings: what the records of a VM say when they are read together.
//!
//! Correlators read the records of each VM in the order of the journal and conclude: why it stopped, what a job
//! came to, what should have followed and did not. They are pure. Time comes from the records alone, and from
//! [`Correlators::time_passed`] for what did *not* happen; a deadline fires at its own moment, however late that
//! is noticed, so that the same records give the same findings on every replay, in any batching.
//!
//! Findings do not feed back: a record that is a finding is passed over. Each VM is tracked on its own, and
//! starts afresh with each epoch: past a doubt nothing may be concluded from what was before it. Only the
//! difference between what was known and what is there then is told, and why a VM stands as it does goes on where it is
//! found as it was.
//!
//! ```text
//! records ─ Tracked (one a VM): local time → input → each correlator → budget → findings
//! ```
//!
//! Every kind, with an example, is in `docs/findings.md`; why it is built this way in `docs/adr/0005-findings.md`.
//! A new correlator is a file in `src/`, with its `mod` line and its line in `correlator_set.rs`; its kinds stand in `kinds.rs`.
//!
//! This crate must never know a clock, a file, a socket or a task: what the records say is all that it is given. Modules
//! are listed from the lowest to the highest, and each imports only those before it.

mod limits;
mod finding;
mod text;
mod saved;
pub mod state;
mod saved_values;
mod local_time;
mod question;
mod process;
mod observation;
mod subject;
mod conclusion;
mod epoch;
mod correlator;
mod budget;

mod clock_steps;
mod drift;
mod interrupted;
mod jobs;
mod migration;
mod powerdown;
mod sequels;
mod storms;
mod unplug;
mod unplug_ignored;
mod unseen;
mod why;

mod kinds;
mod members;
mod saved_words;
mod correlator_set;
mod unended;
mod tracker;
mod correlators;
mod checkpoint;

pub use checkpoint::SavedState;
pub use correlators::Correlators;
pub use finding::{Finding, Id};
pub use kinds::{ANSWERS_AGAIN, KINDS, SILENT};
pub use limits::*;
pub use members::{assert_listed, kinds, members};
pub use observation::{COMMAND, PROCESS_ENDED, QUERY, is_evidence};
pub use process::{Process, ProcessStart};
pub use question::Question;
pub use unended::Unended;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
