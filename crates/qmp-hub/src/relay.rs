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

mod config;
mod limits;
mod own_events;
mod status;
mod encode;
mod greeted;
mod outbox;
mod refusal;
mod replay;
mod socket;
mod held;
mod line;
mod tap;
mod feed;
mod shared;
mod session;
mod client;
mod serve;
mod opening;
mod relays;

pub use config::{DEFAULT_MODE, RelayConfig};
pub use held::REPLY_JOURNAL_MAX;
pub(crate) use limits::FILES_OF_A_RELAY;
pub use limits::{RELAY_CLIENTS_MAX, RELAY_OUTBOX_MAX_BYTES};
pub use own_events::{EVENTS_LATE, EVENTS_MISSED, REPLAY};
pub(crate) use relays::{Listening, OfVm, Parted, RelayedVm, Relays};
pub use status::RelayStatus;
pub(crate) use tap::Tap;

pub use crate::role::{COMMAND_MAX_BYTES, OBSERVER_COMMAND_MAX_BYTES, Role, only_asks};
