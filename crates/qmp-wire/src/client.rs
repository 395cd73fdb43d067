//! The client's side of the protocol: greeting, negotiation, command mode.
//!
//! The state machine holds no socket and no clock. Its driver passes the bytes read ([`Client::handle_input`]),
//! takes the outputs ([`Client::poll_output`]) until none is left, and writes the bytes to send
//! ([`Client::transmit`]).
//!
//! Behaviour of QEMU that a client has to handle:
//! - An event may arrive at any time, even before the greeting (it was meant for the previous client) and before
//!   the reply of `qmp_capabilities`. It is delivered at its position in the stream.
//! - The reply to a command of the previous client may be written to us. Replies are therefore paired by id only; a
//!   reply without an id of ours is [`ClientOutput::Stray`].
//! - An error without an id refers to a message that the server could not read. It is not attributed to any
//!   command, `qmp_capabilities` included: that one is sent with an id and in valid JSON, so an error without id is
//!   never its refusal. It is [`ClientOutput::Unattributed`].
//! - QEMU 0.12 greets without a version and has no negotiation: its monitor is in command mode at once.
//! - `CommandNotFound` as the reply to `qmp_capabilities` means that the monitor is already in command mode (behind
//!   a proxy that negotiated): in negotiation mode that command always exists.
//! - A second greeting means that the server has restarted the session. Events may have been lost and replies may
//!   be missing, so the connection ends with an error.
//!
//! Source: QEMU `monitor/qmp.c`; observed on QEMU 7.2 and 11.1.

mod request;
mod commands;
mod config;
mod machine;

pub use config::{ClientConfig, ClientError, ClientOutput, CommandId, NEGOTIATION_TIMEOUT};
pub use machine::Client;
