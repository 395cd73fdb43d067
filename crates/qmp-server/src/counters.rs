//! What a monitor counts.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

macro_rules! counters {
    ($($(#[$meta:meta])* $name:ident,)*) => {
        /// What happened so far.
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
    /// Connections open at this moment.
    connections,
    /// Connections ever made.
    connected,
    /// Clients that [`MonitorBuilder::on_connect`](crate::MonitorBuilder::on_connect) refused.
    refused,
    /// Events that were put on their way, whether or not a client listened; a held one counts when its window closes.
    emitted,
    /// Events handed to a connection: each event once for each client.
    delivered,
    /// Events replaced by a newer one of their kind within the rate limit; nobody ever sees them.
    merged,
    /// Events that did not fit the queue, since the monitor's loop did not run: see [`QUEUE_MAX_BYTES`].
    ///
    /// [`QUEUE_MAX_BYTES`]: crate::QUEUE_MAX_BYTES
    overrun,
    /// Events dropped for a client that does not read, under [`SlowReader::DropOldest`](crate::SlowReader).
    dropped,
    /// Connections closed since the client does not read, under [`SlowReader::Close`](crate::SlowReader).
    closed_slow,
    /// Answers to commands whose client had gone.
    answers_discarded,
    /// Events and return values that their description does not allow: see [`Validation`](crate::Validation).
    invalid,
    /// Panics of the embedder's code that the monitor's loop caught: in a command, `run_state`, `ready_when`,
    /// `on_connect` or `on_disconnect`.
    panics,
}

pub(crate) fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Relaxed);
}

pub(crate) fn subtract(counter: &AtomicU64, count: u64) {
    counter.fetch_sub(count, Relaxed);
}
