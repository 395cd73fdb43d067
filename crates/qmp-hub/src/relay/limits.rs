//! Limits of relays.

/// Clients of one relay at a time, in connections; further ones read an error in place of the greeting.
///
/// The relay is measured with a thousand readers; each needs a descriptor and some KiB.
pub const RELAY_CLIENTS_MAX: usize = 1024;

/// Events that wait for one client that does not read, in bytes; a client with more is closed.
///
/// About 50,000 events: at the fastest storm that a QEMU was seen to emit, half a minute. The bytes are shared by
/// all clients of a VM, so that many slow clients cost no more than one.
pub const RELAY_OUTBOX_MAX_BYTES: usize = 8 << 20;

/// Open files that a relay is counted with: its socket, its lock, and the usual clients.
pub(crate) const FILES_OF_A_RELAY: usize = 8;
