//! How a connection is made.

use std::sync::Arc;
use std::time::Duration;

use qmp_host::Budget;
use qmp_wire::FRAME_MAX_BYTES;

use crate::custom_dial::Dial;
use crate::unfinished::{MESSAGE_TIMEOUT, process_budget};

/// How long connecting to a TCP host may take; the kernel alone would try for two minutes.
pub(crate) const DIAL_TIMEOUT: Duration = Duration::from_secs(10);

/// How a connection is made.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConnectConfig {
    /// Enable out-of-band execution when the server offers it.
    pub out_of_band: bool,
    /// How long greeting and negotiation may take together.
    pub negotiation_timeout: Duration,
    /// How long connecting to a TCP host may take. Waiting for a QEMU to dial in has no limit.
    pub dial_timeout: Duration,
    /// Longest message accepted, in bytes.
    pub frame_max_bytes: usize,
    /// How long a message may take from its first byte to its last.
    pub message_timeout: Duration,
    /// Memory for unfinished messages, in bytes; by default one budget for the process.
    pub unfinished: Arc<Budget>,
    /// How many sockets may be open; `None`: as many as the system allows.
    pub sockets: Option<Arc<Budget>>,
    /// Connects in place of the operating system; `None`: the operating system connects.
    pub dial: Option<Arc<dyn Dial>>,
}

impl Default for ConnectConfig {
    fn default() -> Self {
        Self {
            out_of_band: true,
            negotiation_timeout: qmp_wire::NEGOTIATION_TIMEOUT,
            dial_timeout: DIAL_TIMEOUT,
            frame_max_bytes: FRAME_MAX_BYTES,
            message_timeout: MESSAGE_TIMEOUT,
            unfinished: process_budget(),
            sockets: None,
            dial: None,
        }
    }
}
