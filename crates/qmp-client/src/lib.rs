//! An async client of the QEMU Monitor Protocol that misses nothing.
//!
//! Three ways in, from the friendly to the frugal:
//!
//! - [`connect`] dials (or waits for) a monitor and gives a [`Monitor`] that executes commands for any number of
//!   callers, and the ordered stream of [`Events`].
//! - [`follow`] stays with a VM for ever: it reconnects, asks for the VM's state at each attach, and says when
//!   certainty ends. Replies pass through its owner, who has every earlier event in hand by then.
//! - [`Connection`] is a socket and the protocol's state machine without any task: outputs are lent, nothing is copied.
//!
//! The crate knows messages, not event names: their meaning is the catalogue's (`qmp-events`).

mod connect_error;
mod events;
mod gone;
mod mailbox;
mod commander;
mod exchange;
mod monitor;
mod snapshot;
mod socket;
mod custom_dial;
mod listen;
mod process;
mod unfinished;
mod caller;
mod connection;
mod dial;
mod follow;

pub use caller::{Caller, Callers, Stream};
pub use commander::{Commander, ExecuteError, Passed, PendingReply};
pub use connect_error::ConnectError;
pub use connection::{ConnectConfig, Connection};
pub use custom_dial::{Dial, DialFuture};
pub use events::{Event, EventItem, Events};
pub use follow::{EventBatch, Follow, FollowConfig, Followed, follow, follow_callers};
pub use gone::Gone;
pub use mailbox::TakeReply;
pub use monitor::{Monitor, connect, connect_with};
pub use process::Process;
pub use qmp_host::{Budget, InheritedError, Share};
pub use qmp_wire::{Address, AddressError};
pub use socket::ByteStream;
