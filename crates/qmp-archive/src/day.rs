//! The day of a record: that of its reception, in UTC.

use qmp_wire::UnixMicros;

/// Returns the day as its date, such as `2026-11-28`.
pub(super) fn day(received: UnixMicros) -> String {
    let text = received.to_string();
    text.split_once('T').map_or_else(|| text.clone(), |(day, _)| day.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn day_is_the_date_in_utc() {
        for (micros, expected) in
            [(0, "1970-01-01"), (-1, "1969-12-31"), (1_767_323_045_678_901, "2026-01-02")]
        {
            assert_eq!(day(UnixMicros(micros)), expected);
        }
    }
}
