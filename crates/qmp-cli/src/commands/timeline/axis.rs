//! The ticks of a time axis: at round times of the local clock, also over a change of that clock.

use jiff::civil::{Date, DateTime, date};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _, Zoned};

const SECOND: i64 = 1_000_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// More than any axis has.
const TICKS_MAX: usize = 200;

/// A tick.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tick {
    /// Microseconds since the Unix epoch.
    pub(super) at: i64,
    pub(super) text: String,
    /// Whether a day, a week or a year begins here.
    pub(super) is_major: bool,
}

/// The distance of ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Microseconds, which divide an hour.
    Fixed(i64),
    Hours(i64),
    Days(i64),
    Months(i64),
}

const STEPS: [(i64, Step); 36] = [
    (1_000, Step::Fixed(1_000)),
    (2_000, Step::Fixed(2_000)),
    (5_000, Step::Fixed(5_000)),
    (10_000, Step::Fixed(10_000)),
    (20_000, Step::Fixed(20_000)),
    (50_000, Step::Fixed(50_000)),
    (100_000, Step::Fixed(100_000)),
    (200_000, Step::Fixed(200_000)),
    (500_000, Step::Fixed(500_000)),
    (SECOND, Step::Fixed(SECOND)),
    (2 * SECOND, Step::Fixed(2 * SECOND)),
    (5 * SECOND, Step::Fixed(5 * SECOND)),
    (10 * SECOND, Step::Fixed(10 * SECOND)),
    (15 * SECOND, Step::Fixed(15 * SECOND)),
    (30 * SECOND, Step::Fixed(30 * SECOND)),
    (MINUTE, Step::Fixed(MINUTE)),
    (2 * MINUTE, Step::Fixed(2 * MINUTE)),
    (5 * MINUTE, Step::Fixed(5 * MINUTE)),
    (10 * MINUTE, Step::Fixed(10 * MINUTE)),
    (15 * MINUTE, Step::Fixed(15 * MINUTE)),
    (30 * MINUTE, Step::Fixed(30 * MINUTE)),
    (HOUR, Step::Hours(1)),
    (2 * HOUR, Step::Hours(2)),
    (3 * HOUR, Step::Hours(3)),
    (6 * HOUR, Step::Hours(6)),
    (12 * HOUR, Step::Hours(12)),
    (DAY, Step::Days(1)),
    (2 * DAY, Step::Days(2)),
    (7 * DAY, Step::Days(7)),
    (14 * DAY, Step::Days(14)),
    (31 * DAY, Step::Months(1)),
    (92 * DAY, Step::Months(3)),
    (184 * DAY, Step::Months(6)),
    (366 * DAY, Step::Months(12)),
    (5 * 366 * DAY, Step::Months(60)),
    (20 * 366 * DAY, Step::Months(240)),
];

/// The ticks of an axis with room for `room` labels.
pub(super) fn ticks(since: i64, until: i64, room: i64, zone: &TimeZone) -> Vec<Tick> {
    let wanted = until.saturating_sub(since) / room.max(1);
    let step =
        STEPS.iter().find(|(length, _)| *length >= wanted).map_or(Step::Months(1_200), |(_, step)| *step);
    let Some(begin) = zoned(since, zone) else { return Vec::new() };
    let mut found = Vec::new();
    let mut next = floor(begin.datetime(), step);
    // Two times that the clock skips may be one tick.
    while found.len() < TICKS_MAX {
        let Ok(at) = next.to_zoned(zone.clone()) else { break };
        let micros = at.timestamp().as_microsecond();
        if micros > until {
            break;
        }
        if micros >= since && found.last().is_none_or(|last: &Tick| last.at < micros) {
            found.push(tick(&at, micros, step));
        }
        match after(next, step) {
            Some(later) => next = later,
            None => break,
        }
    }
    found
}

fn zoned(at: i64, zone: &TimeZone) -> Option<Zoned> {
    Timestamp::from_microsecond(at).ok().map(|at| at.to_zoned(zone.clone()))
}

/// The last round time at or before a time.
fn floor(at: DateTime, step: Step) -> DateTime {
    let midnight = at.date().at(0, 0, 0, 0);
    match step {
        Step::Fixed(step) => {
            let into = (i64::from(at.hour()) * 3_600 + i64::from(at.minute()) * 60 + i64::from(at.second()))
                * SECOND
                + i64::from(at.subsec_nanosecond()) / 1_000;
            midnight.checked_add((into / step * step).microseconds()).unwrap_or(midnight)
        }
        Step::Hours(hours) => {
            midnight.checked_add((i64::from(at.hour()) / hours * hours).hours()).unwrap_or(midnight)
        }
        Step::Days(1) => midnight,
        Step::Days(days) => {
            // Counted from a Monday, so that weeks begin on one.
            let monday = date(1970, 1, 5);
            let since = monday.until(at.date()).map_or(0, |span| i64::from(span.get_days()));
            let days = since.div_euclid(days).saturating_mul(days);
            monday.checked_add(days.days()).unwrap_or(monday).at(0, 0, 0, 0)
        }
        Step::Months(months) => {
            let month = (i64::from(at.year()) * 12 + i64::from(at.month()) - 1).div_euclid(months) * months;
            let (year, month) = (i16::try_from(month.div_euclid(12)), i8::try_from(month.rem_euclid(12) + 1));
            // The calendar begins in the year -9999; before its first round month, ticks count from the time itself.
            let round = Date::new(year.unwrap_or(i16::MIN), month.unwrap_or(1), 1);
            round.unwrap_or_else(|_| at.date()).at(0, 0, 0, 0)
        }
    }
}

/// The round time after another.
fn after(at: DateTime, step: Step) -> Option<DateTime> {
    let later = match step {
        Step::Fixed(step) => at.checked_add(step.microseconds()),
        Step::Hours(hours) => at.checked_add(hours.hours()),
        Step::Days(days) => at.checked_add(days.days()),
        Step::Months(months) => at.checked_add(months.months()),
    };
    later.ok()
}

fn tick(at: &Zoned, micros: i64, step: Step) -> Tick {
    let is_midnight = at.datetime() == at.date().at(0, 0, 0, 0);
    let (format, is_major) = match step {
        Step::Months(12..) => ("%Y", false),
        Step::Months(_) => ("%b %Y", at.month() == 1),
        Step::Days(7..) => ("%-d %b", false),
        Step::Days(_) => ("%a %-d %b", at.weekday() == jiff::civil::Weekday::Monday),
        _ if is_midnight => ("%a %-d %b", true),
        Step::Fixed(..SECOND) => ("%H:%M:%S.%3f", false),
        Step::Fixed(..MINUTE) => ("%H:%M:%S", false),
        Step::Fixed(_) | Step::Hours(_) => ("%H:%M", false),
    };
    Tick { at: micros, text: at.strftime(format).to_string(), is_major }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Texts of the ticks of `span`, with an exclamation mark for major ones.
    fn texts(since: &str, span: i64, room: i64, zone: &TimeZone) -> String {
        let since: Timestamp = since.parse().expect("a time");
        let since = since.as_microsecond();
        let ticks = ticks(since, since + span, room, zone);
        let text = |tick: &Tick| format!("{}{}", tick.text, if tick.is_major { "!" } else { "" });
        ticks.iter().map(text).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn ticks_are_at_round_local_times() {
        let berlin = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").expect("a zone");
        let cases = [
            ("2026-01-02T03:04:05.2Z", SECOND, 4, &TimeZone::UTC, "03:04:05.500, 03:04:06.000"),
            ("2026-01-02T03:04:05Z", MINUTE, 3, &TimeZone::UTC, "03:04:30, 03:05:00"),
            ("2026-01-01T22:50:00Z", 40 * MINUTE, 3, &berlin, "Fri 2 Jan!, 00:15, 00:30"),
            ("2026-01-01T12:00:00Z", DAY, 5, &TimeZone::UTC, "12:00, 18:00, Fri 2 Jan!, 06:00, 12:00"),
            // The clock is set forward at 02:00.
            ("2026-03-28T23:30:00Z", 6 * HOUR, 6, &berlin, "01:00, 03:00, 04:00, 05:00, 06:00, 07:00"),
            (
                "2026-01-02T12:00:00Z",
                4 * DAY,
                4,
                &TimeZone::UTC,
                "Sat 3 Jan, Sun 4 Jan, Mon 5 Jan!, Tue 6 Jan",
            ),
            (
                "2026-01-28T12:00:00Z",
                9 * DAY,
                5,
                &TimeZone::UTC,
                "Thu 29 Jan, Sat 31 Jan, Mon 2 Feb!, Wed 4 Feb, Fri 6 Feb",
            ),
            ("2026-01-02T12:00:00Z", 30 * DAY, 5, &TimeZone::UTC, "5 Jan, 12 Jan, 19 Jan, 26 Jan"),
            ("2025-11-02T12:00:00Z", 100 * DAY, 4, &TimeZone::UTC, "Dec 2025, Jan 2026!, Feb 2026"),
            (
                "2018-11-02T12:00:00Z",
                2_500 * DAY,
                7,
                &TimeZone::UTC,
                "2019, 2020, 2021, 2022, 2023, 2024, 2025",
            ),
        ];
        for (since, span, room, zone, expected) in cases {
            assert_eq!(texts(since, span, room, zone), expected, "{since} {span}");
        }
    }

    #[test]
    fn first_years_of_the_calendar_have_ticks() {
        // The round time before the begin would be in the year -10000.
        let since = -374_580_979_200_000_001;
        let ticks = ticks(since, since + 4 * DAY * 366 * 1_000, 1, &TimeZone::UTC);
        assert!(!ticks.is_empty() && ticks.iter().all(|tick| tick.at >= since), "{ticks:?}");
    }

    proptest! {
        /// Any window has ascending ticks within it, and not more than an axis can show.
        #[test]
        fn ticks_ascend_within_the_window(since in any::<i64>(), span in 0_i64..i64::MAX, room in 0_i64..20) {
            let until = since.saturating_add(span);
            let ticks = ticks(since, until, room, &TimeZone::UTC);
            prop_assert!(ticks.len() <= TICKS_MAX);
            prop_assert!(ticks.windows(2).all(|pair| pair[0].at < pair[1].at));
            prop_assert!(ticks.iter().all(|tick| tick.at >= since && tick.at <= until));
        }
    }
}
