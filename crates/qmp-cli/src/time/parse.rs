//! Times as users write them, for `--since` and `--until`.
//!
//! | text | meaning |
//! |---|---|
//! | `2h`, `30min`, `1h30m`, `3d`, with or without `ago` | that long before now |
//! | `now`, `today`, `yesterday` | the present time, the last midnight, the midnight before, in local time |
//! | `2026-01-02T03:04:05.678Z`, `…+01:00` | RFC 3339 |
//! | `2026-01-02`, `2026-01-02 15:04`, `2026-01-02 15:04:05.678` | local time |
//! | `15:04`, `15:04:05` | today, local time; with [`parse_past`], the last such moment |
//! | `today 15:04`, `yesterday 15:04` | that day, local time |
//! | `@1767323045`, `@1767323045.678` | seconds since the Unix epoch |
//! | `41` | where an offset is allowed: the position after the record with this offset |

use std::fmt;

use jiff::civil::{Date, DateTime, Time};
use jiff::{Timestamp, ToSpan, Zoned};
use qmp_settings::span::{self, SpanError};
use qmp_wire::{Offset, UnixMicros};

/// A time or a position in the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// A time.
    At(UnixMicros),
    /// The position after a record.
    After(Offset),
}

/// Errors of [`parse`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WhenError {
    /// The text has none of the forms.
    Unknown,
    /// The text resembles a span and is malformed.
    Span(SpanError),
    /// The date or time does not exist, in the calendar or in the range of timestamps.
    OutOfRange(Box<str>),
}

impl fmt::Display for WhenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => write!(
                f,
                "expected a time such as 2h, today, 15:04, \"2026-01-02 15:04\" or 2026-01-02T15:04:05Z"
            ),
            Self::Span(error) => write!(f, "{error}"),
            Self::OutOfRange(what) => write!(f, "no such time: {what}"),
        }
    }
}

impl std::error::Error for WhenError {}

/// Parses a time relative to `now`, whose time zone is the local one.
///
/// # Errors
///
/// Any [`WhenError`].
pub fn parse(text: &str, now: &Zoned) -> Result<When, WhenError> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        let offset = text.parse().map_err(|_| WhenError::OutOfRange(text.into()))?;
        return Ok(When::After(Offset(offset)));
    }
    moment(text, now).map(|timestamp| When::At(UnixMicros(timestamp.as_microsecond())))
}

/// Parses a time like [`parse`]; a bare time of day that is yet to come is that of yesterday.
///
/// # Errors
///
/// Any [`WhenError`].
pub fn parse_past(text: &str, now: &Zoned) -> Result<When, WhenError> {
    let when = parse(text, now)?;
    if is_time_of_day(text.trim()) && is_future(when, now) {
        return parse(&format!("yesterday {}", text.trim()), now);
    }
    Ok(when)
}

/// A note about the option `name` if its time is in the future.
pub fn future_note(name: &str, text: &str, when: When, now: &Zoned) -> Option<String> {
    let yesterday = match is_time_of_day(text.trim()) {
        true => format!("; that of yesterday is written `yesterday {}`", text.trim()),
        false => String::new(),
    };
    is_future(when, now).then(|| format!("note: {name} {text} is in the future{yesterday}"))
}

fn is_future(when: When, now: &Zoned) -> bool {
    matches!(when, When::At(at) if at.0 > now.timestamp().as_microsecond())
}

fn moment(text: &str, now: &Zoned) -> Result<Timestamp, WhenError> {
    let out_of_range = |error: jiff::Error| WhenError::OutOfRange(error.to_string().into());
    match text {
        "now" => return Ok(now.timestamp()),
        "today" => return now.start_of_day().map(|day| day.timestamp()).map_err(out_of_range),
        "yesterday" => {
            let day = now.checked_sub(1.day()).and_then(|day| day.start_of_day());
            return day.map(|day| day.timestamp()).map_err(out_of_range);
        }
        _ => {}
    }
    if let Some(seconds) = text.strip_prefix('@') {
        return unix_seconds(seconds);
    }
    if let Some(civil) = civil(text, now)? {
        return civil.to_zoned(now.time_zone().clone()).map(|zoned| zoned.timestamp()).map_err(out_of_range);
    }
    if is_date_like(text) {
        return text.parse::<Timestamp>().map_err(out_of_range);
    }
    let length = text.strip_suffix("ago").unwrap_or(text);
    let length = length.strip_prefix('-').unwrap_or(length);
    match span::parse(length) {
        Ok(span) => now.timestamp().checked_sub(span).map_err(out_of_range),
        Err(error @ (SpanError::UnknownUnit(_) | SpanError::TooLong | SpanError::NoUnit)) => {
            Err(WhenError::Span(error))
        }
        Err(SpanError::NotASpan) => Err(WhenError::Unknown),
    }
}

/// The text with `0` for each digit, without a fraction of digits; `None` if it has another fraction.
fn shape(text: &str) -> Option<String> {
    let shape: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    let (main, fraction) = shape.split_once('.').unwrap_or((&shape, ""));
    fraction.bytes().all(|byte| byte == b'0').then(|| main.to_owned())
}

fn is_time_of_day(text: &str) -> bool {
    shape(text).is_some_and(|shape| ["00:00", "0:00", "00:00:00", "0:00:00"].contains(&shape.as_str()))
}

/// Parses a date, a time, or both, without a zone; `None` if the text has another form.
fn civil(text: &str, now: &Zoned) -> Result<Option<DateTime>, WhenError> {
    let out_of_range = |error: jiff::Error| WhenError::OutOfRange(error.to_string().into());
    let (day, time) = match text.split_once(' ') {
        Some(("today", time)) => (now.date(), time.trim_start()),
        Some(("yesterday", time)) => (now.date().yesterday().map_err(out_of_range)?, time.trim_start()),
        _ => (now.date(), text),
    };
    if is_time_of_day(time) {
        let padded = if time.find(':') == Some(1) { format!("0{time}") } else { time.to_owned() };
        let time: Time = padded.parse().map_err(out_of_range)?;
        return Ok(Some(day.to_datetime(time)));
    }
    match shape(text).as_deref().unwrap_or_default() {
        "0000-00-00" => {
            let date: Date = text.parse().map_err(out_of_range)?;
            Ok(Some(date.to_datetime(Time::midnight())))
        }
        "0000-00-00 00:00" | "0000-00-00T00:00" | "0000-00-00 00:00:00" | "0000-00-00T00:00:00" => {
            let joined = text.replacen(' ', "T", 1);
            joined.parse().map(Some).map_err(out_of_range)
        }
        _ => Ok(None),
    }
}

fn is_date_like(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() > 10 && bytes[..4].iter().all(u8::is_ascii_digit) && bytes[4] == b'-' && bytes[7] == b'-'
}

fn unix_seconds(text: &str) -> Result<Timestamp, WhenError> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = whole.parse().map_err(|_| WhenError::Unknown)?;
    if fraction.len() > 9 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(WhenError::Unknown);
    }
    let nanoseconds: i32 = format!("{fraction:0<9}").parse().map_err(|_| WhenError::Unknown)?;
    Timestamp::new(seconds, nanoseconds).map_err(|error| WhenError::OutOfRange(error.to_string().into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::tz::TimeZone;
    use proptest::prelude::*;

    /// Friday, 2 January 2026, 15:04:05 in a zone one hour ahead of UTC, with summer time.
    fn now() -> Zoned {
        let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        "2026-01-02T14:04:05Z".parse::<Timestamp>().unwrap().to_zoned(zone)
    }

    fn utc(text: &str) -> Result<String, WhenError> {
        parse(text, &now()).map(|when| match when {
            When::At(micros) => Timestamp::from_microsecond(micros.0).unwrap().to_string(),
            When::After(offset) => format!("after {}", offset.0),
        })
    }

    #[test]
    fn time_is_read_in_each_form() {
        let cases = [
            // text                           in UTC
            ("2h", "2026-01-02T12:04:05Z"),
            ("2h ago", "2026-01-02T12:04:05Z"),
            ("-30min", "2026-01-02T13:34:05Z"),
            ("1h30m", "2026-01-02T12:34:05Z"),
            ("3d", "2025-12-30T14:04:05Z"),
            ("now", "2026-01-02T14:04:05Z"),
            ("today", "2026-01-01T23:00:00Z"),
            ("yesterday", "2025-12-31T23:00:00Z"),
            ("2026-01-02T03:04:05.678901Z", "2026-01-02T03:04:05.678901Z"),
            ("2026-01-02T03:04:05+01:00", "2026-01-02T02:04:05Z"),
            ("2026-01-02 03:04:05Z", "2026-01-02T03:04:05Z"),
            ("2026-01-02", "2026-01-01T23:00:00Z"),
            ("2026-01-02 15:04", "2026-01-02T14:04:00Z"),
            ("2026-01-02T15:04", "2026-01-02T14:04:00Z"),
            ("2026-07-02 15:04:05.5", "2026-07-02T13:04:05.5Z"),
            ("9:30", "2026-01-02T08:30:00Z"),
            ("09:30:15", "2026-01-02T08:30:15Z"),
            ("23:55", "2026-01-02T22:55:00Z"),
            ("today 9:30", "2026-01-02T08:30:00Z"),
            ("yesterday 23:55", "2026-01-01T22:55:00Z"),
            ("yesterday 23:55:01.5", "2026-01-01T22:55:01.5Z"),
            ("@1767323045", "2026-01-02T03:04:05Z"),
            ("@1767323045.678901", "2026-01-02T03:04:05.678901Z"),
            ("41", "after 41"),
            ("0", "after 0"),
        ];
        for (text, expected) in cases {
            assert_eq!(utc(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn past_time_of_day_is_the_last_such_moment() {
        let past = |text| parse_past(text, &now());
        assert_eq!(past("23:55"), parse("yesterday 23:55", &now()));
        assert_eq!(past("9:30"), parse("today 9:30", &now()));
        assert_eq!(past("2026-01-02 23:55"), parse("2026-01-02 23:55", &now()), "a date is not changed");
    }

    #[test]
    fn future_time_is_noted() {
        let note = |text| future_note("--until", text, parse(text, &now()).expect(text), &now());
        let expected = "note: --until 23:55 is in the future; that of yesterday is written `yesterday 23:55`";
        assert_eq!(note("23:55").as_deref(), Some(expected));
        assert_eq!(note("2027-01-02").as_deref(), Some("note: --until 2027-01-02 is in the future"));
        assert_eq!((note("9:30"), note("now"), note("41")), (None, None, None));
    }

    #[test]
    fn other_text_is_refused() {
        for text in [
            "",
            "soon",
            "today soon",
            "yesterday 25:00",
            "2026",
            "25:00",
            "2026-13-01",
            "2026-02-30 10:00",
            "@",
            "@x",
            "@1.2.3",
            "5 parsecs",
        ] {
            let result = parse(text, &now());
            if text == "2026" {
                assert_eq!(result, Ok(When::After(Offset(2026))), "digits alone are an offset");
            } else {
                assert!(result.is_err(), "{text}: {result:?}");
            }
        }
        assert_eq!(
            parse("5 parsecs", &now()),
            Err(WhenError::Span(SpanError::UnknownUnit("parsecs".into())))
        );
        assert_eq!(parse("soon", &now()), Err(WhenError::Unknown));
        assert!(matches!(parse("2026-13-01", &now()), Err(WhenError::OutOfRange(_))));
        assert!(matches!(parse("99999999999999999999", &now()), Err(WhenError::OutOfRange(_))));
    }

    proptest! {
        /// No text of a user causes a panic.
        #[test]
        fn any_text_is_read_without_panic(text in "\\PC{0,30}") {
            let _ = parse(&text, &now());
        }
    }
}
