//! Times as shown to people.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use qmp_wire::UnixMicros;

/// A time in `zone`, to the millisecond: `2026-01-02 03:04:05.678`.
pub fn local(moment: UnixMicros, zone: &TimeZone) -> String {
    match Timestamp::from_microsecond(moment.0) {
        Ok(timestamp) => timestamp.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S.%3f").to_string(),
        // Only a peer's clock can be so wrong; the number of seconds is shown instead.
        Err(_) => format!("@{}", moment.0 / 1_000_000),
    }
}

/// A time in UTC to the microsecond, in RFC 3339: `2026-01-02T03:04:05.678901Z`.
pub fn rfc3339(moment: UnixMicros) -> String {
    Timestamp::from_microsecond(moment.0).map(|timestamp| format!("{timestamp:.6}")).unwrap_or_default()
}

/// Rewrites the times in a text of the hub, which are RFC 3339 in UTC, as local times in `zone`.
pub fn localized(text: &str, zone: &TimeZone) -> String {
    let is_of_moment = |c: char| c.is_ascii_digit() || matches!(c, '-' | ':' | '.' | 'T' | 'Z');
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(begin) = rest.find(|c: char| c.is_ascii_digit()) {
        let (before, from) = rest.split_at(begin);
        let end = from.find(|c| !is_of_moment(c)).unwrap_or(from.len());
        let word = from[..end].trim_end_matches(['.', ':', '-']);
        shown.push_str(before);
        match word.parse::<UnixMicros>() {
            Ok(moment) => shown.push_str(&local(moment, zone)),
            Err(_) => shown.push_str(word),
        }
        rest = &from[word.len()..];
    }
    shown + rest
}

/// The time of an event by the server's clock, on the scale of [`UnixMicros`].
pub fn event_moment(timestamp: qmp_wire::Timestamp) -> UnixMicros {
    UnixMicros(timestamp.seconds().saturating_mul(1_000_000).saturating_add(timestamp.microseconds().into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_time_is_trimmed_to_milliseconds() {
        let berlin = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        let cases = [
            (1_767_323_045_678_901, TimeZone::UTC, "2026-01-02 03:04:05.678"),
            (1_767_323_045_678_901, berlin.clone(), "2026-01-02 04:04:05.678"),
            (1_783_000_000_000_999, berlin, "2026-07-02 15:46:40.000"),
            (-1, TimeZone::UTC, "1969-12-31 23:59:59.999"),
            (i64::MAX, TimeZone::UTC, "@9223372036854"),
        ];
        for (micros, zone, expected) in cases {
            assert_eq!(local(UnixMicros(micros), &zone), expected);
        }
    }

    #[test]
    fn times_in_text_are_shown_in_local_time() {
        let berlin = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        let cases = [
            (
                "the hub ended; nothing is certain since 2026-01-02T03:04:05.678901Z",
                "the hub ended; nothing is certain since 2026-01-02 04:04:05.678",
            ),
            ("2026-01-02T03:04:05.678901Z, 12 events.", "2026-01-02 04:04:05.678, 12 events."),
            ("at 03:04 after 2.1 s, 7.2.22", "at 03:04 after 2.1 s, 7.2.22"),
            ("", ""),
        ];
        for (text, expected) in cases {
            assert_eq!(localized(text, &berlin), expected, "{text}");
        }
    }
}
