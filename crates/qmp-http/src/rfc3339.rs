//! Timestamps of the interface.

use qmp_wire::UnixMicros;

/// Formats a timestamp in RFC 3339, UTC, with six digits of fraction.
pub(super) fn rfc3339(micros: UnixMicros) -> String {
    let timestamp = jiff::Timestamp::from_microsecond(micros.0).unwrap_or(jiff::Timestamp::MAX);
    format!("{timestamp:.6}")
}
