//! How long a follower waits between two attempts at a monitor.

use std::time::Duration;

/// The delay before the second attempt: a QEMU that was just started listens within tens of milliseconds.
pub(super) const FIRST_DELAY: Duration = Duration::from_millis(50);

/// The longest delay for a socket on this host. Asking for a file that is not there takes microseconds, and whoever
/// starts a VM wants to see it attached at once.
pub(super) const LOCAL_MAX_DELAY: Duration = Duration::from_secs(1);

/// The longest delay for a host on the network, which other people pay for.
pub(super) const REMOTE_MAX_DELAY: Duration = Duration::from_secs(5);

/// The shortest delay where somebody else holds the monitor.
pub(super) const TAKEN_FIRST_DELAY: Duration = Duration::from_secs(1);

/// The longest delay where somebody else holds the monitor. Each attempt waits in the monitor's queue for a greeting,
/// and a holder that reconnects in that moment finds itself behind it: so attempts are rare.
pub(super) const TAKEN_MAX_DELAY: Duration = Duration::from_secs(60);
