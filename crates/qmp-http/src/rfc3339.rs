//! Moments as the interface writes them.

use qmp_wire::UnixMicros;

/// A moment as RFC 3339 in UTC, with six digits of fraction.
pub(super) fn rfc3339(micros: UnixMicros) -> String {
    let moment = jiff::Timestamp::from_microsecond(micros.0).unwrap_or(jiff::Timestamp::MAX);
    format!("{moment:.6}")
}
