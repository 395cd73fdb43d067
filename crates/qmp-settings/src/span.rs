//! Spans of time as written by people: `30s`, `2h`, `1h30m`, `500ms`, `3d`.

use std::time::Duration;

/// The units of a span, with the number of microseconds of each.
///
/// A day is 24 hours and a week 7 days: a span is a length; `today` and dates belong to calendars.
const UNITS: &[(&[&str], u64)] = &[
    (&["us", "µs"], 1),
    (&["ms"], 1_000),
    (&["s", "sec", "secs", "second", "seconds"], 1_000_000),
    (&["m", "min", "mins", "minute", "minutes"], 60_000_000),
    (&["h", "hour", "hours"], 3_600_000_000),
    (&["d", "day", "days"], 86_400_000_000),
    (&["w", "week", "weeks"], 604_800_000_000),
];

/// The longest accepted span, in microseconds: a hundred years. A longer one is a typing mistake.
const SPAN_MAX_US: u64 = 100 * 366 * 86_400_000_000;

/// Errors of [`parse`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SpanError {
    /// The text is not a number followed by a unit.
    NotASpan,
    /// A number has no unit.
    NoUnit,
    /// The unit is unknown.
    UnknownUnit(Box<str>),
    /// More than a hundred years.
    TooLong,
}

impl std::fmt::Display for SpanError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotASpan => write!(f, "expected a span such as 30s, 5min or 1h30m"),
            Self::NoUnit => write!(f, "expected a unit after the number: ms, s, min, h, d or w"),
            Self::UnknownUnit(unit) => write!(f, "unknown unit \"{unit}\": expected ms, s, min, h, d or w"),
            Self::TooLong => write!(f, "more than a hundred years"),
        }
    }
}

impl std::error::Error for SpanError {}

/// Parses a span: one or more pairs of number and unit, in any order, with optional blanks; `1.5h` is allowed.
///
/// # Errors
///
/// Any [`SpanError`].
pub fn parse(text: &str) -> Result<Duration, SpanError> {
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(SpanError::NotASpan);
    }
    let mut total_us: u64 = 0;
    while !rest.is_empty() {
        let number_end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, after) = rest.split_at(number_end);
        let after = after.trim_start();
        let unit_end = after.find(|c: char| !c.is_alphabetic()).unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_end);
        total_us = total_us.checked_add(part_us(number, unit)?).ok_or(SpanError::TooLong)?;
        rest = after.trim_start();
    }
    if total_us > SPAN_MAX_US {
        return Err(SpanError::TooLong);
    }
    Ok(Duration::from_micros(total_us))
}

/// Parses a span for `--timeout`, where a bare number means seconds, as for `timeout(1)`.
///
/// # Errors
///
/// Any [`SpanError`].
pub fn parse_or_seconds(text: &str) -> Result<Duration, SpanError> {
    match parse(text) {
        Err(SpanError::NoUnit) => parse(&format!("{text}s")),
        other => other,
    }
}

/// A regular expression that matches spans, for a JSON Schema.
#[must_use]
pub fn pattern() -> String {
    let units: Vec<&str> = UNITS.iter().flat_map(|(names, _)| names.iter().copied()).collect();
    format!("^ *([0-9]+(\\.[0-9]+)? *({}) *)+$", units.join("|"))
}

fn part_us(number: &str, unit: &str) -> Result<u64, SpanError> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() || fraction.contains('.') || (number.contains('.') && fraction.is_empty()) {
        return Err(SpanError::NotASpan);
    }
    if unit.is_empty() {
        return Err(SpanError::NoUnit);
    }
    let (_, unit_us) = UNITS
        .iter()
        .find(|(names, _)| names.contains(&unit))
        .ok_or_else(|| SpanError::UnknownUnit(unit.into()))?;
    let whole: u64 = whole.parse().map_err(|_| SpanError::TooLong)?;
    let mut part = whole.checked_mul(*unit_us).ok_or(SpanError::TooLong)?;
    let mut digit_us = *unit_us;
    for digit in fraction.bytes() {
        digit_us /= 10;
        part = part.checked_add(u64::from(digit - b'0') * digit_us).ok_or(SpanError::TooLong)?;
    }
    Ok(part)
}

/// A span for people: at most two significant units, `2.1 s`, `340 ms`, `3 min 20 s`, `2 h 5 min`, `4 d 3 h`.
#[must_use]
pub fn describe(span_us: u64) -> String {
    let (seconds, micros) = (span_us / 1_000_000, span_us % 1_000_000);
    let pair = |big: u64, big_unit: &str, small: u64, small_unit: &str| match small {
        0 => format!("{big} {big_unit}"),
        _ => format!("{big} {big_unit} {small} {small_unit}"),
    };
    match seconds {
        0 if micros < 1_000 => format!("{micros} µs"),
        0 => format!("{} ms", micros / 1_000),
        1..60 => format!("{seconds}.{} s", micros / 100_000),
        60..3_600 => pair(seconds / 60, "min", seconds % 60, "s"),
        3_600..86_400 => pair(seconds / 3_600, "h", seconds / 60 % 60, "min"),
        _ => pair(seconds / 86_400, "d", seconds / 3_600 % 24, "h"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn span_is_parsed_or_refused() {
        let cases = [
            ("30s", Ok(30_000_000)),
            ("500ms", Ok(500_000)),
            ("7us", Ok(7)),
            ("5min", Ok(300_000_000)),
            ("5m", Ok(300_000_000)),
            ("2h", Ok(7_200_000_000)),
            ("1h30m", Ok(5_400_000_000)),
            (" 1 h 30 min ", Ok(5_400_000_000)),
            ("1.5h", Ok(5_400_000_000)),
            ("0.25s", Ok(250_000)),
            ("3d", Ok(259_200_000_000)),
            ("1w", Ok(604_800_000_000)),
            ("0s", Ok(0)),
            ("", Err(SpanError::NotASpan)),
            ("h", Err(SpanError::NotASpan)),
            ("1.h", Err(SpanError::NotASpan)),
            ("1.2.3s", Err(SpanError::NotASpan)),
            ("-5s", Err(SpanError::NotASpan)),
            ("30", Err(SpanError::NoUnit)),
            ("5 fortnights", Err(SpanError::UnknownUnit("fortnights".into()))),
            ("99999999999999999999h", Err(SpanError::TooLong)),
            ("200000d", Err(SpanError::TooLong)),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text).map(|span| span.as_micros()), expected, "{text}");
        }
    }

    #[test]
    fn bare_number_is_seconds_for_a_timeout() {
        assert_eq!(parse_or_seconds("30"), Ok(Duration::from_secs(30)));
        assert_eq!(parse_or_seconds("0.5"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_or_seconds("2min"), Ok(Duration::from_secs(120)));
        assert_eq!(parse_or_seconds("soon"), Err(SpanError::NotASpan));
    }

    #[test]
    fn span_is_described_with_two_units() {
        let cases = [
            (0, "0 µs"),
            (999, "999 µs"),
            (340_000, "340 ms"),
            (2_100_000, "2.1 s"),
            (59_999_999, "59.9 s"),
            (60_000_000, "1 min"),
            (200_000_000, "3 min 20 s"),
            (7_500_000_000, "2 h 5 min"),
            (356_400_000_000, "4 d 3 h"),
        ];
        for (span_us, expected) in cases {
            assert_eq!(describe(span_us), expected, "{span_us}");
        }
    }

    proptest! {
        /// A span that is written with its units is parsed to the same value.
        #[test]
        fn written_span_is_parsed_back(hours in 0u64..1000, minutes in 0u64..60, ms in 0u64..60_000) {
            let text = format!("{hours}h{minutes}min{ms}ms");
            let expected = Duration::from_millis(hours * 3_600_000 + minutes * 60_000 + ms);
            prop_assert_eq!(parse(&text), Ok(expected));
        }
    }
}
