//! The counters of a monitor.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

macro_rules! counters {
    ($($(#[$meta:meta])* $name:ident,)*) => {
        /// Statistics of a monitor.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Stats {
            $($(#[$meta])* pub $name: u64,)*
        }

        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $(pub(crate) $name: AtomicU64,)*
        }

        impl Counters {
            pub(crate) fn stats(&self) -> Stats {
                Stats { $($name: self.$name.load(Relaxed),)* }
            }
        }
    };
}

counters! {
    /// Open connections.
    connections,
    /// All connections since the start.
    connected,
    /// Clients that [`MonitorBuilder::on_connect`](crate::MonitorBuilder::on_connect) refused.
    refused,
    /// Listeners that were removed because they cannot accept any more, such as one that was shut down.
    listeners_failed,
    /// Attempts of a [`Dialer`](crate::Dialer) to connect that failed.
    dials_failed,
    /// Events that were emitted, whether or not a client listened; a held one counts when its window closes.
    emitted,
    /// Events passed to a connection: each event once for each client.
    delivered,
    /// Events replaced by a newer one of their kind within the rate limit; never delivered.
    merged,
    /// Events that did not fit the queue because the monitor's loop did not run: see [`QUEUE_MAX_BYTES`].
    ///
    /// [`QUEUE_MAX_BYTES`]: crate::QUEUE_MAX_BYTES
    overrun,
    /// Events dropped for a client that does not read, under [`SlowReader::DropOldest`](crate::SlowReader).
    dropped,
    /// Connections closed because the client does not read, under [`SlowReader::Close`](crate::SlowReader).
    closed_slow,
    /// Messages, events and replies, that were not written, or not completely, when the monitor was stopped: once for
    /// each client. See [`MonitorBuilder::stop_timeout`](crate::MonitorBuilder::stop_timeout).
    unwritten,
    /// Replies to commands whose client had disconnected.
    replies_discarded,
    /// Events and return values that violate their description: see [`Validation`](crate::Validation).
    invalid,
    /// Panics of the embedder's code that the monitor caught: in a command, the `accept` of
    /// [`Command::hand_over`](crate::Command::hand_over), `run_state`, `ready_when`, `on_connect`, `on_disconnect` or
    /// `on_invalid`. A machine of `qmp-machine` adds those of its scheduled calls.
    ///
    /// Not counted: panics in the drop of a value, on a thread of the embedder (such as the one that replies to a
    /// `PendingCommand`), and in a `TimeSource`, which ends the monitor.
    panics,
}

pub(crate) fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Relaxed);
}

pub(crate) fn subtract(counter: &AtomicU64, count: u64) {
    counter.fetch_sub(count, Relaxed);
}
