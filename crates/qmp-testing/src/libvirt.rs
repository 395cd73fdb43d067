//! A libvirt daemon that a test scripts: the frames only.
//!
//! [`LibvirtDaemon`] is the daemon's side of one connection, bytes in and bytes out; [`LibvirtSocket`] serves it at a socket. Its
//! encoding is written apart from that of `qmp-libvirt`, from the same facts.

mod frames;
mod daemon;
mod socket;

pub use daemon::{LibvirtDaemon, LibvirtDomain};
pub use frames::{QEMU, REMOTE, libvirt_frame};
pub use socket::LibvirtSocket;
