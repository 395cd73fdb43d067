#![doc = include_str!("../README.md")]
//!
//! # Entry points
//!
//! - [`Follow`] is the state machine: bytes and time in, [`FollowItem`]s and bytes to send out.
//! - `FollowSocket` drives it on a unix socket, with the feature `tokio`.
//! - [`Source`] names a daemon, and where its socket is.

mod uuid;
mod xdr;
mod words;
mod header;
mod frame;
mod domain;
mod remote_error;
mod lifecycle;
mod state;
mod call;
mod event;
mod keepalive;
mod connection;
mod session;
mod follow;
mod source;
#[cfg(feature = "tokio")]
mod driver;

pub use call::Version;
pub use connection::{COMMANDS_MAX, CallId, ConnectionError};
pub use domain::Domain;
#[cfg(feature = "tokio")]
pub use driver::{ConnectError, FollowSocket};
pub use event::MonitorEvent;
pub use follow::{Attachment, Began, EndReason, Follow, FollowItem};
pub use frame::{FRAME_MAX_BYTES, FrameError};
pub use header::{FrameType, Header, Program, Status};
pub use keepalive::SILENCE_TIMEOUT;
pub use lifecycle::{Lifecycle, LifecycleEvent};
pub use remote_error::RemoteError;
pub use session::{DaemonInfo, SessionError, Step};
pub use source::{Source, SourceError};
pub use state::DomainState;
pub use uuid::{Uuid, UuidError};
pub use xdr::XdrError;
