//! Spans of time in scripts: `200ms`, `1.5s`, `1h30min`.

use std::time::Duration;

use qmp_settings::span;

/// The longest span of a script: a longer one is a mistake, and sums of spans stay far from overflow.
const SPAN_MAX: Duration = Duration::from_secs(366 * 24 * 3600);

/// Parses a span: numbers, each with its unit, with a point for the fraction.
///
/// # Errors
///
/// A message for users with the valid syntax.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    span::parse(text)
        .ok()
        .filter(|span| *span <= SPAN_MAX)
        .ok_or_else(|| format!("\"{text}\" is not a span of time; write 200ms, 1.5s, 10min or 1h30min"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_parsed() {
        let cases: [(&str, Option<u64>); 22] = [
            // text        microseconds
            ("0s", Some(0)),
            ("250us", Some(250)),
            ("200ms", Some(200_000)),
            ("1.5s", Some(1_500_000)),
            ("0.000001s", Some(1)),
            ("10min", Some(600_000_000)),
            ("1h30min", Some(5_400_000_000)),
            ("1h 30m", Some(5_400_000_000)),
            ("1d", Some(86_400_000_000)),
            ("90 s", Some(90_000_000)),
            ("366d", Some(366 * 86_400_000_000)),
            ("367d", None),
            ("5", None),
            ("", None),
            ("s", None),
            ("-5s", None),
            ("1.s", None),
            (".5s", None),
            ("1..5s", None),
            ("5 parsecs", None),
            ("99999999999999999999s", None),
            ("99999999999999999d", None),
        ];
        for (text, micros) in cases {
            assert_eq!(parse(text).ok(), micros.map(Duration::from_micros), "{text}");
        }
        assert!(parse("soon").unwrap_err().contains("write 200ms"));
    }
}
