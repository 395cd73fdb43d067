//! Limits of stopping.

use std::time::Duration;

/// How long [`Hub::stop`](crate::Hub::stop) waits for the last commits. A disk that takes longer counts as failed; systemd, which
/// kills after 90 s, must not be faster.
pub const STOP_COMMIT_MAX: Duration = Duration::from_secs(30);

/// How long a stopping hub lets HTTP clients and clients of relays read their replies.
pub const STOP_HTTP_MAX: Duration = Duration::from_secs(2);
