//! The client's side of the protocol: greeting, negotiation, command mode.
//!
//! The machine holds no socket and no clock. Whoever drives it passes in what was read
//! ([`Client::handle_input`]), takes out what happened ([`Client::poll_output`]) until nothing is left, and
//! writes what is to be sent ([`Client::transmit`]).
//!
//! What QEMU does and a client must bear:
//!
//! - An event may arrive at any time, even before the greeting (it was meant for the client before us) and
//!   before the reply of `qmp_capabilities`. It is delivered where it stands in the stream.
//! - The reply to a command of the client before us may be written to us. Replies are therefore paired by id
//!   and by nothing else; a reply without an id of ours is [`Output::Stray`].
//! - An error without an id answers a message that the server could not read. It is not held against any
//!   command, `qmp_capabilities` included: that one is sent with an id and in valid JSON, so an error without
//!   id is never its refusal. It is [`Output::Unattributed`].
//! - QEMU 0.12 greets without a version and knows no negotiation: its monitor is in command mode at once.
//! - `CommandNotFound` as the answer to `qmp_capabilities` means that the monitor is in command mode already
//!   (a proxy that negotiated before us): in negotiation mode that command always exists.
//! - A second greeting means that the server has started over. Events may have been lost and replies never
//!   come, so the connection ends with an error.
//!
//! Source: QEMU `monitor/qmp.c`; observed on QEMU 7.2 and 11.1.

mod commands;
mod config;
mod machine;
mod request;

pub use config::{ClientConfig, ClientError, CommandId, NEGOTIATION_TIMEOUT, Output};
pub use machine::Client;
