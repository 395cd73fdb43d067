//! The relay: a QMP socket in place of a VM's own, for any number of unmodified clients.
//!
//! Each client has a server machine of the wire crate to itself: it is greeted as the VM greets, negotiates for
//! itself, and is refused in the VM's words what is no request. Its commands go through the hub's one connection;
//! its events come from the journal, where they were committed.
//!
//! ```text
//! journal ─ feed (one for the hub) ─ encoded once ─ line (one for a VM) ─┬ outbox ─ client
//!                                                     ▲ replies held     ├ outbox ─ client
//! attachment ─ counts what it appends, hands replies ─┘                  └ …
//! ```
//!
//! # Order
//!
//! What stood before a reply on the VM's monitor stands before it at the client, and what stood behind it, behind
//! it. The attachment counts the records that it appends for its VM; a reply waits in the line until the feed has
//! handed out that many, and is put into its client's outbox before the next.
//!
//! A line begins when the first relay of its VM does, which may be while the VM is attached: between two appends of the
//! attachment. Until what was appended before is committed, nobody is greeted and every reply waits.
//!
//! # A VM that is away
//!
//! Its clients get what was said last and see their connection closed, as with a QEMU that exits. Connections that
//! come meanwhile wait in the socket's backlog, without a greeting, as they do at a QEMU that serves somebody else.
//! When the journal lost something (an overrun) the VM is not away: its clients stay and are told by an event,
//! [`EVENTS_MISSED`].
//!
//! # Commands of the relay's own
//!
//! `x-replay` with `{"after": OFFSET}` repeats the VM's events from the journal: those behind that offset, up to
//! where the client stands. They come between two events [`REPLAY`], and live ones wait meanwhile. The reply names
//! the offset up to which was read, with which to ask the next time.

mod encode;
mod greeted;
mod outbox;
mod refusal;
mod replay;
mod socket;
mod tap;
mod line;
mod feed;
mod held;
mod serve;
mod client;
mod opening;
mod relays;

use std::path::PathBuf;

use serde::Serialize;

pub use held::REPLY_JOURNAL_MAX;
pub(crate) use line::Line;
pub(crate) use relays::{Listening, OfVm, Parted, RelayedVm, Relays};

pub use crate::role::{COMMAND_MAX_BYTES, OBSERVER_COMMAND_MAX_BYTES, Role, only_asks};
pub(crate) use tap::Tap;

/// The event that tells a client that something was lost.
pub const EVENTS_MISSED: &str = "__io.github.qmp-events_EVENTS_MISSED";

/// The event that tells a client that some replies were sent before the events ahead of them, since the journal did not
/// commit these in time. All those events have been sent when it comes.
pub const EVENTS_LATE: &str = "__io.github.qmp-events_EVENTS_LATE";

/// The event that stands before and behind events that are repeated.
pub const REPLAY: &str = "__io.github.qmp-events_REPLAY";

/// Clients of one relay at a time, in connections; further ones read an error in place of the greeting.
///
/// A thousand readers are what the relay is measured with; each costs a descriptor and some KiB.
pub const RELAY_CLIENTS_MAX: usize = 1024;

/// What waits for one client that does not read, in bytes; with more, it is closed.
///
/// About 50,000 events: at the fastest storm that a QEMU was seen to emit, half a minute. The bytes are shared by
/// all clients of a VM, so that many slow ones cost no more than one.
pub const RELAY_OUTBOX_MAX_BYTES: usize = 8 << 20;

/// Open files that a relay is counted with: its socket, its lock, and the usual clients.
pub(crate) const FILES_OF_A_RELAY: usize = 8;

/// The mode of a relay's socket unless configured otherwise: for the hub's own user.
pub const DEFAULT_MODE: u32 = 0o600;

/// One relay socket of a VM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayConfig {
    /// Where.
    pub path: PathBuf,
    /// What its clients may do.
    pub role: Role,
    /// The permissions of the socket's file: who may write to it may connect.
    pub mode: u32,
    /// Users who are let in; with no users and no groups, everybody whom the file lets in.
    pub uids: Vec<u32>,
    /// Groups who are let in: the peer's primary one counts.
    pub gids: Vec<u32>,
    /// Whether messages are spread over many lines, as with `pretty=on`.
    pub pretty: bool,
}

impl RelayConfig {
    /// A socket for observers, open to the hub's own user.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            role: Role::Observe,
            mode: DEFAULT_MODE,
            uids: Vec::new(),
            gids: Vec::new(),
            pretty: false,
        }
    }
}

/// How one relay stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RelayStatus {
    /// The VM.
    pub vm: Box<str>,
    /// The socket.
    pub path: PathBuf,
    /// `observe` or `operate`.
    pub role: &'static str,
    /// Clients at this moment.
    pub clients: u64,
    /// Clients that were let in since the hub started.
    pub accepted: u64,
    /// Connections that were not served: the client is not listed, or one too many.
    pub turned_away: u64,
    /// Clients that were closed because they did not read.
    pub closed_slow: u64,
    /// Commands that were passed to the VM.
    pub commands: u64,
    /// Commands that the role refused.
    pub refused: u64,
    /// Why no client is served at the socket; it is tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Box<str>>,
}
