//! Spans of time as a script writes them: `200ms`, `1.5s`, `1h30min`.

use std::time::Duration;

/// The longest span of a script: what is longer is a mistake, and sums of spans stay far from where time ends.
const SPAN_MAX: Duration = Duration::from_secs(366 * 24 * 3600);

const UNITS: [(&str, u64); 9] = [
    ("us", 1),
    ("ms", 1_000),
    ("s", 1_000_000),
    ("min", 60_000_000),
    ("m", 60_000_000),
    ("h", 3_600_000_000),
    ("d", 86_400_000_000),
    ("seconds", 1_000_000),
    ("minutes", 60_000_000),
];

/// Reads a span: numbers, each with its unit, the fraction with a point.
///
/// # Errors
///
/// What is wrong, and how it is written, for people.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let wrong = || format!("\"{text}\" is no span of time; write 200ms, 1.5s, 10min or 1h30min");
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(wrong());
    }
    let mut span = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.').ok_or_else(wrong)?;
        let (number, after) = rest.split_at(digits);
        let letters = after.find(|letter: char| !letter.is_ascii_alphabetic()).unwrap_or(after.len());
        let (unit, after) = after.split_at(letters);
        let (_, unit_micros) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
        span = micros(number, *unit_micros)
            .and_then(|micros| span.checked_add(micros))
            .filter(|span| *span <= SPAN_MAX)
            .ok_or_else(wrong)?;
        rest = after.trim_start();
    }
    Ok(span)
}

/// `number` units, the fraction cut off below the microsecond.
fn micros(number: &str, unit_micros: u64) -> Option<Duration> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() || fraction.len() > 9 || (fraction.is_empty() && number.contains('.')) {
        return None;
    }
    let whole = whole.parse::<u64>().ok()?.checked_mul(unit_micros)?;
    let fraction = match fraction {
        "" => 0,
        digits => {
            let scale = 10_u64.pow(u32::try_from(digits.len()).ok()?);
            digits.parse::<u64>().ok()?.checked_mul(unit_micros)? / scale
        }
    };
    whole.checked_add(fraction).map(Duration::from_micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_people_write() {
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
            ("90 s", None),
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
