//! The relay: a QMP socket in place of a VM's own, for any number of unmodified clients.
//!
//! Each client has its own server machine of the wire crate: the client reads the VM's greeting, negotiates, and gets the
//! VM's error for anything that is not a request. Its commands go through the hub's one connection; its events come from
//! the journal, after their commit.
//!
//! ```text
//! journal ─ feed (one for the hub) ─ encoded once ─ line (one for a VM) ─┬ outbox ─ client
//!                                                     ▲ replies held     ├ outbox ─ client
//! attachment ─ counts what it appends, hands replies ─┘                  └ …
//! ```
//!
//! # Order
//!
//! Events that the VM sent before a reply are before it at the client, and later events are after it. The attachment
//! counts the records that it appends for its VM; a reply waits in the line until the feed has handed out that many records,
//! and is put into its client's outbox before the next one.
//!
//! A line begins when the first relay of its VM does, which may be while the VM is attached: between two appends of the
//! attachment. Until the records of earlier appends are committed, no client gets a greeting and every reply waits.
//!
//! # A VM that is detached
//!
//! Its clients get the last events and replies, and their connections are closed, as by a QEMU that exits. Until the VM is
//! attached again, connections wait in the socket's backlog without a greeting, as at a QEMU that serves another client.
//! When the journal lost events (an overrun) the VM is not detached: its clients stay, and the event [`EVENTS_MISSED`] reports
//! the loss.
//!
//! # Commands of the relay's own
//!
//! `x-replay` with `{"after": OFFSET}` repeats the VM's events from the journal: those after that offset, up to the position
//! of the client. They are between two events [`REPLAY`], and live events wait until the second one. The reply has the last
//! offset that was read, which is the argument of the next request.

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
mod connected;
mod shared;
mod session;
mod client;
mod listening;
mod serve;
mod opening;
mod relays;

pub use config::RelayConfig;
pub use held::REPLY_JOURNAL_MAX;
pub(crate) use limits::FILES_OF_A_RELAY;
pub use limits::{RELAY_CLIENTS_MAX, RELAY_OUTBOX_MAX_BYTES};
pub use own_events::{EVENTS_LATE, EVENTS_MISSED, REPLAY};
pub(crate) use relays::{ClosingRelays, ListeningSockets, RelayedVm, Relays, VmRelays};
pub use status::{RelayClientStatus, RelayStatus};
pub(crate) use tap::Tap;

pub use crate::role::{COMMAND_MAX_BYTES, OBSERVER_COMMAND_MAX_BYTES, Role, only_asks};
