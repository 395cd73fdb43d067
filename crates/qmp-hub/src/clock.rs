//! This host's clock.

use std::time::{SystemTime, UNIX_EPOCH};

use qmp_wire::UnixMicros;

/// The present moment.
pub(crate) fn now() -> UnixMicros {
    micros(SystemTime::now())
}

/// A moment as records keep it.
pub(crate) fn micros(moment: SystemTime) -> UnixMicros {
    let micros = match moment.duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_micros()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_micros()).map_or(i64::MIN, |micros| -micros),
    };
    UnixMicros(micros)
}
