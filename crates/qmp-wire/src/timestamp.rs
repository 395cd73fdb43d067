//! The time that a server gives to an event.

use crate::json::Members;

/// The server's time of an event.
///
/// Counted from the Unix epoch on the clock of the *server's* host. Not monotonic: a rate-limited event keeps its
/// original time, so it may arrive after later events.
///
/// Source: QMP specification, "Asynchronous events".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp {
    seconds: i64,
    microseconds: u32,
}

/// Errors of [`Timestamp::from_wire`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TimestampError {
    /// `microseconds` is not within one second.
    #[error("microseconds {microseconds} are not in 0..1000000")]
    OutOfRange {
        /// The value on the wire.
        microseconds: i64,
    },
}

impl Timestamp {
    /// Parses the wire form; `None` if the server could not read its clock and sent −1.
    ///
    /// # Errors
    ///
    /// [`TimestampError::OutOfRange`] unless `microseconds` is in `0..1_000_000`.
    pub fn from_wire(seconds: i64, microseconds: i64) -> Result<Option<Self>, TimestampError> {
        if (seconds, microseconds) == (-1, -1) {
            return Ok(None);
        }
        let microseconds = u32::try_from(microseconds)
            .ok()
            .filter(|microseconds| *microseconds < 1_000_000)
            .ok_or(TimestampError::OutOfRange { microseconds })?;
        Ok(Some(Self { seconds, microseconds }))
    }

    /// Returns whole seconds since the Unix epoch.
    #[must_use]
    pub const fn seconds(self) -> i64 {
        self.seconds
    }

    /// Returns microseconds within the second, below 1,000,000.
    #[must_use]
    pub const fn microseconds(self) -> u32 {
        self.microseconds
    }

    /// Parses the value of the member `timestamp`; `None` if it is missing, −1, or no such time at all.
    pub(crate) fn from_json(value: &str) -> Option<Self> {
        let mut seconds = None;
        let mut microseconds = None;
        for (name, value) in Members::of(value) {
            match name.as_ref() {
                "seconds" => seconds = value.parse().ok(),
                "microseconds" => microseconds = value.parse().ok(),
                _ => {}
            }
        }
        Self::from_wire(seconds?, microseconds?).ok().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOME: Option<(i64, u32)> = Some((1_267_020_223, 435_656));

    #[test]
    fn timestamps_of_servers_are_parsed() {
        let cases = [
            ("as QEMU writes it", r#"{"seconds": 1267020223, "microseconds": 435656}"#, SOME),
            ("other order and spaces", r#"{"microseconds":435656,"seconds" : 1267020223 }"#, SOME),
            ("more members", r#"{"seconds":1267020223,"zone":[],"microseconds":435656}"#, SOME),
            ("escaped name", r#"{"\u0073econds":1267020223,"microseconds":435656}"#, SOME),
            ("zero", r#"{"seconds": 0, "microseconds": 0}"#, Some((0, 0))),
            ("before 1970", r#"{"seconds": -5, "microseconds": 7}"#, Some((-5, 7))),
            ("last of a second", r#"{"seconds": 1, "microseconds": 999999}"#, Some((1, 999_999))),
            ("clock failed", r#"{"seconds": -1, "microseconds": -1}"#, None),
            ("a second too long", r#"{"seconds": 1, "microseconds": 1000000}"#, None),
            ("negative microseconds", r#"{"seconds": 1, "microseconds": -1}"#, None),
            ("fraction", r#"{"seconds": 1.0, "microseconds": 0}"#, None),
            ("exponent", r#"{"seconds": 1e9, "microseconds": 0}"#, None),
            ("huge", r#"{"seconds": 18446744073709551616, "microseconds": 0}"#, None),
            ("text", r#"{"seconds": "1", "microseconds": 0}"#, None),
            ("half", r#"{"seconds": 1}"#, None),
            ("a number", "1267020223", None),
            ("null", "null", None),
        ];
        for (name, value, expected) in cases {
            let expected = expected.map(|(seconds, microseconds)| Timestamp { seconds, microseconds });
            assert_eq!(Timestamp::from_json(value), expected, "{name}");
        }
    }

    #[test]
    fn from_wire_refuses_microseconds_out_of_range() {
        assert_eq!(Timestamp::from_wire(-1, -1), Ok(None));
        assert_eq!(
            Timestamp::from_wire(1, 1_000_000),
            Err(TimestampError::OutOfRange { microseconds: 1_000_000 })
        );
        assert_eq!(Timestamp::from_wire(-1, 0).map(|t| t.map(|t| t.seconds())), Ok(Some(-1)));
    }
}
