//! Numbers and times as the columns of the file.

use qmp_wire::Timestamp;
use rusqlite::ToSql;
use rusqlite::types::{ToSqlOutput, Value, ValueRef};

/// The last sealed offset. If no segment is left, the rows of the VMs have it: one of the VMs had the last record.
pub(super) const SEALED: &str =
    "SELECT coalesce((SELECT max(last) FROM segment), (SELECT max(last) FROM vm), 0)";

/// A count or offset of the journal, as SQLite's signed integer. A number above the maximum, which a client may send,
/// becomes the maximum.
pub(super) fn number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The reverse of [`number`]; a negative number, which no journal writes, becomes 0.
pub(super) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// The minute of a time, counted from the Unix epoch.
pub(super) fn minute(received_micros: i64) -> i64 {
    received_micros.div_euclid(60_000_000)
}

/// The server's time of an event in its column: microseconds as an integer, or the text `SECONDS.MICROSECONDS` for a
/// time that 64 bits do not hold. A peer may send any number.
pub(super) struct EventTime(pub(super) Timestamp);

impl ToSql for EventTime {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let (seconds, microseconds) = (self.0.seconds(), self.0.microseconds());
        let fits =
            seconds.checked_mul(1_000_000).and_then(|whole| whole.checked_add(i64::from(microseconds)));
        Ok(ToSqlOutput::Owned(match fits {
            Some(micros) => Value::Integer(micros),
            None => Value::Text(format!("{seconds}.{microseconds:06}")),
        }))
    }
}

impl EventTime {
    /// Reads the column; `None` for a value that no writer writes.
    pub(super) fn read(value: ValueRef<'_>) -> Option<Option<Timestamp>> {
        let (seconds, microseconds) = match value {
            ValueRef::Null => return Some(None),
            ValueRef::Integer(micros) => (micros.div_euclid(1_000_000), micros.rem_euclid(1_000_000)),
            ValueRef::Text(text) => {
                let (seconds, microseconds) = std::str::from_utf8(text).ok()?.split_once('.')?;
                (seconds.parse().ok()?, microseconds.parse().ok()?)
            }
            _ => return None,
        };
        Timestamp::from_wire(seconds, microseconds).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_time_column_round_trips_and_damaged_values_are_refused() {
        let cases: [(i64, i64); 7] = [
            (0, 0),
            (1_767_323_045, 678_001),
            (-5, 999_999),
            (i64::MAX / 1_000_000, 775_807),
            (i64::MAX / 1_000_000, 775_808),
            (i64::MAX, 999_999),
            (i64::MIN, 0),
        ];
        for (seconds, microseconds) in cases {
            let timestamp = Timestamp::from_wire(seconds, microseconds).expect("in range").expect("known");
            let column = EventTime(timestamp);
            let ToSqlOutput::Owned(value) = column.to_sql().expect("has a column") else { panic!("owned") };
            assert_eq!(EventTime::read((&value).into()), Some(Some(timestamp)), "{seconds}.{microseconds}");
        }
        assert_eq!(EventTime::read(ValueRef::Null), Some(None));
        for damaged in [ValueRef::Real(1.0), ValueRef::Text(b"x"), ValueRef::Text(b"1.2000000")] {
            assert_eq!(EventTime::read(damaged), None, "{damaged:?}");
        }
    }
}
