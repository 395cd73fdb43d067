//! The server's side of the protocol: greeting, negotiation, command mode, out-of-band.
//!
//! One [`Server`] serves one connection. It processes the received bytes, hands out the requests that the embedder
//! has to reply to, in the order and at the time at which a QEMU would run them, and collects the bytes to send. It
//! holds no socket, no clock and no thread, and implements no command but `qmp_capabilities`.
//!
//! Source: behaviour of QEMU 7.2 and 11.1.

mod profile;
mod reply;
mod request;
mod negotiation;
mod connection;

pub use connection::{
    PARTIAL_MAX_BYTES, QUEUE_MAX_REQUESTS, RUNNING_MAX_REQUESTS, RequestId, Server, ServerState,
};
pub use profile::Profile;
pub use reply::Refusal;
pub use request::Request;
