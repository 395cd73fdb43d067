//! Acting: rules of the configuration, and the sinks to which they deliver records.
//!
//! A rule says which records (event, finding, kind, VM, conditions on the data), how often at most, and what to do
//! with them: run a command, call a webhook, tell journald, write a file. Each rule is a cursor on the journal with a
//! task of its own: it delivers in order and at least once, waits for a receiver that is away for as long as it takes,
//! and nobody else notices. Where it stands is kept beside the journal (`JOURNAL.sinks`), so that it goes on there
//! after a crash.
//!
//! ```text
//! journal ─ Cursor ─ Selection ─ Gate (at-most) ─ Sink ─ receiver
//!                                   │               │
//!                                   └─ Positions ───┘   what was delivered, and what is held back
//! ```
//!
//! The crate never knows monitors, VMs, the hub or the configuration file: it reads a journal, and a table of settings.
//!
//! A new kind of sink is a file here and its line in `kind.rs`. Why it is built this way: `docs/adr/0007-sinks.md`.

mod at_most;
mod delivery;
mod message_id;
mod positions;
mod rule;
mod status;
mod fields;
mod cloud_event;
mod runner;
mod rules;
mod file;
mod journald;
mod run;
mod kind;
mod webhook;

pub use at_most::{AtMost, AtMostError};
pub use delivery::{Action, Delivering, Delivery, Failure, Origin, Outcome, Sink};
pub use kind::{KINDS, Kind};
pub use message_id::message_id;
pub use positions::PositionsError;
pub use rule::{RuleConfig, Selection};
pub use rules::{Changes, Rules, RulesError, STOP_DELIVERY_MAX};
pub use status::{GivenUpRecord, SinkState, SinkStatus};
