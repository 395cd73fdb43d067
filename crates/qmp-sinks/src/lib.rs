#![doc = include_str!("../README.md")]
//!
//! # How it works
//!
//! A rule has a selection of records (event, finding, kind, VM, conditions on the data), a limit of deliveries, and an
//! action: run a command, call a webhook, post OpenTelemetry logs, write to journald, write to a file,
//! publish to NATS JetStream. Each rule is a cursor on the journal with
//! its own task: it delivers in order and at least once, waits for an unavailable receiver without end, and does not
//! affect other rules. The position of each rule is kept beside the journal (`JOURNAL.sinks`), so that the rule
//! continues there after a crash.
//!
//! ```text
//! journal ─ Cursor ─ Selection ─ Gate (at-most) ─ Sink ─ receiver
//!                                   │               │
//!                                   └─ Positions ───┘   delivered and held-back records
//! ```
//!
//! The crate never knows monitors, VMs, the hub or the configuration file: it reads a journal, and a table of settings.
//!
//! A new kind of sink is a file here and its line in `kinds.rs`. `docs/adr/0007-sinks.md` has the reasons for the
//! design.

mod delivery_limit;
mod delivery;
mod keys;
mod kind;
mod message_id;
mod open_alerts;
mod state_end;
mod reported_states;
mod rule;
mod silences;
mod positions;
mod status;
mod fields;
mod severity;
mod cloud_event;
mod backlog;
mod runner;
mod rules;
mod state_rules;
mod file;
mod journald;
mod run;
mod http;
mod webhook;
mod otlp;
mod nats;
mod kinds;

pub use delivery::{
    Delivery, DeliveryFailure, DeliveryFuture, DeliveryOrigin, DeliveryOutcome, Rejection, RuleAction, Sink,
    SinkEvent, SinkEventFuture,
};
pub use delivery_limit::{DeliveryLimit, DeliveryLimitError};
pub use kind::SinkKind;
pub use kinds::{KINDS, VARIANTS};
pub use message_id::message_id;
pub use positions::PositionsError;
/// Checks the name of this host in deliveries.
pub use qmp_wire::check_host_name;
pub use rule::{RuleConfig, Selection, StateSelection};
pub use rules::{Changes, Rules, RulesError, STOP_DELIVERY_MAX};
pub use silences::{SILENCE_MAX, SILENCE_PATTERN_MAX_BYTES, Silence, SilenceError};
pub use status::{GivenUpRecord, SinkState, SinkStatus};
