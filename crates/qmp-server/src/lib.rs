#![doc = include_str!("../README.md")]
//!
//! # Entry points
//!
//! - [`Monitor`] serves any number of clients on any number of [`Listener`]s, on its own thread
//!   ([`Monitor::spawn`]) or inside the embedder's event loop ([`Monitor::process`]).
//! - [`Emitter`] emits events from any thread and never waits. Rate limits are those of the claimed release.
//! - [`Command`] describes and runs a command; a [`PendingCommand`] gets its reply later, from any thread.

mod counters;
mod event;
mod names;
mod panics;
mod slow_reader;
mod socket;
mod time_source;
mod caller;
mod arrivals;
mod listener;
mod dialer;
mod handover;
mod text;
mod types;
mod check;
mod outgoing;
mod rules;
mod validation;
mod connection;
mod pending_command;
mod command;
mod builtin;
mod schema;
mod commands;
mod descriptor_store;
mod queue;
mod emitter;
mod monitor;
mod thread;
mod builder;

pub use builder::{CONNECTIONS_MAX, MonitorBuilder, OUTPUT_MAX_BYTES, STOP_TIMEOUT};
pub use caller::{Caller, ConnectionId, DESCRIPTORS_MAX, DialerId, ListenerId};
pub use check::{check_arguments, wrap_unsigned};
pub use command::{Command, NoArguments};
pub use counters::Stats;
pub use descriptor_store::DescriptorStore;
pub use dialer::Dialer;
pub use emitter::{EmitOutcome, Emitter};
pub use event::{EmitEvent, NamedEvent, TextEvent};
pub use handover::{Handover, HandoverError};
pub use listener::Listener;
pub use monitor::Monitor;
pub use names::{EventNameError, check_event_name};
pub use outgoing::EVENTS_DROPPED;
pub use pending_command::PendingCommand;
pub use qmp_events::{EventKind, RUN_STATES, RunState};
pub use qmp_host::{InheritedError, PeerCredentials};
pub use qmp_wire::{
    Address, SocketOptions,
    dialect::{Hidden, Object, Value},
    server::Refusal,
};
pub use queue::{QUEUE_MAX_BYTES, SILENT_SOURCES_MAX};
pub use rules::HiddenOutput;
pub use slow_reader::SlowReader;
pub use text::EventWriter;
pub use thread::MonitorThread;
pub use time_source::{HostClock, ManualClock, TimeSource};
pub use types::{AlternateType, EnumType, Member, ObjectType, Type, Variants};
pub use validation::{InvalidOutput, Validation};

#[doc = include_str!("../../../docs/embedding.md")]
pub mod guide {}
