//! Frames, messages, state machines and records of the QEMU Monitor Protocol, without any I/O.
//!
//! Bytes and time are arguments; messages, bytes to send and deadlines are results. This crate does not interpret
//! events: name and raw JSON are passed on unchanged.
//! - [`FrameReader`] splits a stream of bytes into [`Message`]s, by JSON value and not by line.
//! - [`Client`] is the client's side of the protocol: greeting, negotiation, commands and their replies.
//! - [`CaptureReader`] splits a recording of such a stream, or of records, into its values with their positions.
//! - [`Record`] is an entry of a journal, and its line of JSON.

mod address;
mod capture;
mod client;
pub mod dialect;
mod envelope;
mod event_name;
mod frame;
mod json;
mod layout;
mod message;
mod record;
pub mod server;
mod socket_options;
mod timestamp;

pub use address::{Address, AddressError};
pub use capture::{CaptureEntry, CaptureError, CaptureFault, CaptureReader, CaptureValue};
pub use client::{Client, ClientConfig, ClientError, CommandId, NEGOTIATION_TIMEOUT, Output};
pub use event_name::{EVENT_NAME_MAX_BYTES, EventName};
pub use frame::{FRAME_MAX_BYTES, FrameError, FrameReader, has_memory};
pub use json::NESTING_MAX;
pub use message::{CommandError, Greeting, Message, RawEvent, Version};
pub use record::{Body, Causes, DetachReason, Epoch, Offset, Record, RecordError, Seq, UnixMicros};
pub use socket_options::{SocketOptions, SocketOptionsError};
pub use timestamp::{Timestamp, TimestampError};
