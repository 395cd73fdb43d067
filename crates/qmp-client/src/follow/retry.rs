//! The delays of a follower between two attempts to attach.

use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroU32;
use std::time::Duration;

use qmp_host::Backoff;
use qmp_wire::Address;

/// The delay before the second attempt: a QEMU that was just started listens within tens of milliseconds.
const FIRST_DELAY: Duration = Duration::from_millis(50);

/// The shortest delay, also if a shorter one is configured: without one, a follower would take all the time of its thread.
pub(super) const RETRY_DELAY_MIN: Duration = Duration::from_millis(1);

/// The longest delay for a socket on this host. Dialling a file that does not exist takes microseconds, and a VM that was
/// started is to be attached at once.
const LOCAL_MAX_DELAY: Duration = Duration::from_secs(1);

/// The longest delay for a host on the network, to which each attempt sends packets.
const REMOTE_MAX_DELAY: Duration = Duration::from_secs(5);

/// The shortest delay while another client uses the monitor.
const IN_USE_FIRST_DELAY: Duration = Duration::from_secs(1);

/// The longest delay while another client uses the monitor. Each attempt waits in the monitor's queue for a greeting, and
/// a client that reconnects meanwhile has to queue after it: so attempts are rare.
const IN_USE_MAX_DELAY: Duration = Duration::from_secs(60);

/// How often, and how long, a follower tries to attach.
///
/// Each delay is twice the one before, up to the longest, less a random part of up to a quarter; but at least 1 ms.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RetryConfig {
    /// The delay before the second attempt.
    pub first: Duration,
    /// The longest delay; `None`: one second on this host, five for a host on the network.
    pub max: Option<Duration>,
    /// The shortest delay while another client uses the monitor.
    pub in_use_first: Duration,
    /// The longest delay while another client uses the monitor.
    pub in_use_max: Duration,
    /// How many attempts may fail in a row; the last one yields `retry_in: None`, and the follower ends. An epoch of less
    /// than a second counts as a failed attempt. `None`: retries for ever.
    pub attempts_max: Option<NonZeroU32>,
}

impl Default for RetryConfig {
    fn default() -> Self {
        Self {
            first: FIRST_DELAY,
            max: None,
            in_use_first: IN_USE_FIRST_DELAY,
            in_use_max: IN_USE_MAX_DELAY,
            attempts_max: None,
        }
    }
}

impl RetryConfig {
    /// The delays for an address, with a random seed.
    pub(super) fn backoff(&self, address: &Address) -> Backoff {
        let max = self.max.unwrap_or(match address {
            Address::Tcp { listen: false, .. } => REMOTE_MAX_DELAY,
            _ => LOCAL_MAX_DELAY,
        });
        Backoff::new(self.first, max, RandomState::new().hash_one(address))
    }
}
