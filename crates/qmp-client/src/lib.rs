#![doc = include_str!("../README.md")]
//!
//! # Entry points
//!
//! - [`connect`] dials a monitor (or waits until it dials in) and returns a [`MonitorClient`], which executes commands for
//!   any number of callers, and the ordered stream of [`Events`].
//! - [`follow_stream`] follows a VM for ever in a task of its own: it reconnects, takes a snapshot of the VM's state at each
//!   attach, and reports when events may be missing. [`follow`] is the same without a task: its owner drives it and
//!   releases each reply.
//! - [`Connection`] is a socket and the protocol's state machine without a task: messages borrow from the receive buffer.
//!
//! Below the typed layer ([`commands`], and `TryFrom<&ReceivedEvent>`) the crate knows messages, not names of events:
//! their meaning is in the catalogue ([`qmp_events`]).

// From the lowest to the highest: a module uses only those listed before it.
mod limits;
mod log;
mod close_reason;
mod execute_error;
mod connect_error;
mod unfinished;
mod socket;
mod custom_dial;
mod connect_config;
mod peer_process;
mod connection;
mod listen;
mod item_queue;
mod events;
mod command_queue;
mod commander;
mod exchange;
mod snapshot;
mod incoming;
mod dial;
mod follow;
mod follow_stream;
mod monitor_client;
mod typed_event;
mod typed;
mod generated;
mod jobs;

pub use close_reason::CloseReason;
pub use command_queue::ReplySink;
pub use commander::{Commander, ForwardedCommand, PendingReply};
pub use connect_config::ConnectConfig;
pub use connect_error::ConnectError;
pub use connection::Connection;
pub use custom_dial::{Dial, DialFuture};
pub use events::{EventItem, Events, ReceivedEvent};
pub use execute_error::ExecuteError;
pub use follow::{EventBatch, Follow, FollowConfig, FollowEvent, RetryConfig, follow, follow_incoming};
pub use follow_stream::{FollowItem, FollowStream, follow_stream};
pub use generated::commands;
pub use incoming::{AcceptedStream, IncomingMonitor, IncomingMonitors};
pub use jobs::JobEnd;
pub use monitor_client::{MonitorClient, connect, connect_stream, connect_with};
pub use peer_process::PeerProcess;
pub use qmp_host::{Budget, InheritedError, Share};
pub use qmp_wire::{
    Address, AddressError, ClientError, ClientOutput, CommandError, CommandId, DetachReason, EventName,
    Greeting, RawEvent, Timestamp, Version,
};
pub use serde_json::value::RawValue;
pub use socket::ByteStream;
pub use typed::{ArgumentDesc, CommandDesc, Nothing, TypedCommand};

/// The catalogue of events: the types of [`qmp_events::Event`], and their releases.
pub use qmp_events;

#[doc = include_str!("../../../docs/clients.md")]
pub mod guide {}
