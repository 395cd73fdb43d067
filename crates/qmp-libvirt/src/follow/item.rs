//! What a follower hands out.

use std::time::Duration;

use crate::connection::CallId;
use crate::domain::Domain;
use crate::event::MonitorEvent;
use crate::header::Header;
use crate::lifecycle::Lifecycle;
use crate::remote_error::RemoteError;
use crate::session::DaemonInfo;
use crate::state::DomainState;
use crate::uuid::Uuid;

/// What a follower hands out, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FollowItem {
    /// The daemon has opened the hypervisor.
    Connected(DaemonInfo),
    /// Every domain that ran when the session opened was reported as [`FollowItem::Running`], every other one as
    /// [`FollowItem::Off`].
    Listed,
    /// A domain that is defined, and did not run when the session opened.
    Off(Domain),
    /// A domain runs, and is about to be attached.
    Running(Domain),
    /// libvirtd has not connected the monitor of a domain that runs, for a while: another client may hold it.
    Occupied(Domain),
    /// libvirtd has lost the monitor of a domain that runs: there are no events until libvirtd restarts.
    Unreadable(Domain),
    /// An epoch opens. All events of the domain that libvirtd passes on follow, until [`FollowItem::Detached`].
    Attached(Box<Attachment>),
    /// An event within an epoch.
    Event {
        /// The domain.
        uuid: Uuid,
        /// The event.
        event: MonitorEvent,
    },
    /// An epoch closes; or, if none was open, the domain's run is over.
    Detached {
        /// The domain.
        uuid: Uuid,
        /// Why.
        reason: EndReason,
    },
    /// The domain does not exist any more, or only under another name.
    Gone {
        /// The domain.
        uuid: Uuid,
    },
    /// The reply to [`Follow::execute`](crate::Follow::execute): QEMU's whole reply, or libvirtd's error.
    Reply {
        /// The call.
        call: CallId,
        /// The reply.
        result: Result<Box<str>, RemoteError>,
    },
    /// The reply to [`Follow::query_state`](crate::Follow::query_state): the domain's state, or libvirtd's error.
    State {
        /// The call.
        call: CallId,
        /// The reply.
        result: Result<DomainState, RemoteError>,
    },
    /// A frame of no known kind, which is skipped.
    Unknown(Header),
}

/// The beginning of an epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// The domain.
    pub domain: Domain,
    /// Why the epoch begins here.
    pub began: Began,
    /// How libvirt started the run, if it said so on this connection.
    pub started: Option<Lifecycle>,
    /// The state at some moment after the registration for events: it may already show what the first events tell.
    pub state: Result<DomainState, RemoteError>,
}

/// Why an epoch begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Began {
    /// The domain ran already when the session opened.
    Found,
    /// The domain started.
    Started,
    /// The epoch before ended with [`Follow::reopen`](crate::Follow::reopen).
    Reopened,
}

/// Why an epoch closes while the connection holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// libvirt says that the domain stopped, and how.
    Stopped(Lifecycle),
    /// An event names another run of the domain.
    Replaced {
        /// The number of that run.
        id: i32,
    },
    /// libvirtd lost the monitor of a QEMU that may run on.
    MonitorLost {
        /// How long ago.
        ago: Duration,
    },
}

impl EndReason {
    /// How long ago libvirtd lost the monitor; `None` if it did not.
    #[must_use]
    pub const fn lost_ago(&self) -> Option<Duration> {
        match self {
            Self::MonitorLost { ago } => Some(*ago),
            Self::Stopped(_) | Self::Replaced { .. } => None,
        }
    }
}
