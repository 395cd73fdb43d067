//! Limits of stopping.

use std::time::Duration;

/// How long [`Hub::stop`](crate::Hub::stop) waits for the last commits. A disk that takes longer is taken for dead; systemd, which
/// kills after 90 s, must not come first.
pub const STOP_COMMIT_MAX: Duration = Duration::from_secs(30);

/// How long a hub that stops lets HTTP clients and those of relays read what they asked for.
pub const STOP_HTTP_MAX: Duration = Duration::from_secs(2);
