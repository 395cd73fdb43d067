#![doc = include_str!("../README.md")]
//!
//! # Entry points
//!
//! - [`FrameReader`] splits a stream of bytes into [`Message`]s, by JSON value and not by line.
//! - [`Client`] is the client's side of the protocol: greeting, negotiation, commands and their replies.
//! - [`CaptureReader`] splits a recording of such a stream, or of records, into its values with their positions.
//! - [`Record`] is an entry of a journal, and its line of JSON.

mod json;
mod timestamp;
mod qualified_name;
mod event_name;
mod layout;
mod frame_error;
mod message;
mod envelope;
mod frame;
mod record;
mod capture;
mod client;
mod address;
mod socket_options;
pub mod dialect;
pub mod server;

pub use address::{Address, AddressError};
pub use capture::{CaptureEntry, CaptureError, CaptureFault, CaptureReader, CaptureValue};
pub use client::{Client, ClientConfig, ClientError, ClientOutput, CommandId, NEGOTIATION_TIMEOUT};
pub use event_name::{EVENT_NAME_MAX_BYTES, EventName};
pub use frame::{FRAME_MAX_BYTES, FrameReader, has_memory};
pub use frame_error::FrameError;
pub use json::NESTING_MAX;
pub use message::{CommandError, Greeting, Message, RawEvent, Version};
pub use qualified_name::{HOST_NAME_MAX_BYTES, HostNameError, QualifiedName, check_host_name};
pub use record::{
    ADDED_SEQ_FIRST, Body, Causes, DetachReason, Epoch, Offset, Record, RecordError, Seq, UnixMicros,
};
pub use socket_options::{SocketOptions, SocketOptionsError};
pub use timestamp::{Timestamp, TimestampError};
