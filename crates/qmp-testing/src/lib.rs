//! For tests: a scripted monitor, and waiting for a condition.
//!
//! [`Peer`] is the server's side of one connection, on which a test sends and receives each message itself. Two drivers
//! reply in its place: [`Monitor`], a task that emulates a simple VM and obeys the test, and [`MonitorThread`], for tests
//! without a runtime, which asks a function for its replies.
//!
//! [`LibvirtDaemon`] and [`LibvirtSocket`] are a libvirt daemon of the same kind.
//!
//! [`Libvirt`] is a real libvirtd of an ordinary user, with a domain of [`DomainXml`].
//!
//! [`NatsServer`] is a real nats-server, which a test kills and restarts.
//!
//! The functions panic where a test would: if a peer closes too early, or a condition does not hold in time.

mod wait;
mod peer;
mod monitor;
mod monitor_thread;
mod libvirt;
mod libvirtd;
mod nats;

pub use libvirt::{LibvirtDaemon, LibvirtDomain, LibvirtSocket, QEMU, REMOTE, libvirt_frame};
pub use libvirtd::{DomainXml, Libvirt, NOBODY};
pub use monitor::{Monitor, Session};
pub use monitor_thread::{MonitorThread, respond};
pub use nats::NatsServer;
pub use peer::{GREETING, GREETING_LINE, MonitorSocket, Peer, command_name, event, event_line};
pub use wait::{PATIENCE, poll_until, wait_for};
