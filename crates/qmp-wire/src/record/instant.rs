//! A time on this host's clock, and its text: RFC 3339 in UTC with six decimals.
//!
//! Written by hand because every record has one, and a date is a dozen divisions. Years outside of 0000 to 9999,
//! which RFC 3339 cannot represent, get a sign and six digits as in ISO 8601: a wrong clock must neither cause a
//! panic nor change on the way through a file.
//!
//! The calendar is the proleptic Gregorian one, counted in eras of 400 years from 1 March 0000, so that the
//! leap day is the last of its year.

use std::fmt;
use std::str::FromStr;

use super::error::RecordError;

const MICROS_PER_SECOND: i64 = 1_000_000;
const MICROS_PER_DAY: i64 = 86_400 * MICROS_PER_SECOND;
const DAYS_PER_ERA: i64 = 146_097;
/// From 1 March 0000 to 1 January 1970.
const DAYS_TO_1970: i64 = 719_468;
/// The text of a year of four digits, all of them zero. Longer years replace the first four bytes.
const FORM: &[u8; 27] = b"0000-00-00T00:00:00.000000Z";
/// Index of the form after the year.
const AFTER_YEAR: usize = 4;
/// The numbers below 100 in two digits.
const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[0; 2]; 100];
    let mut number = 0;
    while number < 100 {
        pairs[number as usize] = [b'0' + number / 10, b'0' + number % 10];
        number += 1;
    }
    pairs
};

/// A time on this host's clock: microseconds since the Unix epoch.
///
/// Its text is RFC 3339 in UTC: `2026-01-02T03:04:05.678901Z`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixMicros(pub i64);

impl UnixMicros {
    /// Appends the text.
    #[inline]
    pub(super) fn write(self, out: &mut Vec<u8>) {
        let mut form = *FORM;
        let (year, month, day) = date(self.0.div_euclid(MICROS_PER_DAY));
        let micros_of_day = self.0.rem_euclid(MICROS_PER_DAY);
        let second_of_day = micros_of_day / MICROS_PER_SECOND;
        let micros = micros_of_day % MICROS_PER_SECOND;
        put(&mut form, 5, month);
        put(&mut form, 8, day);
        put(&mut form, 11, second_of_day / 3600);
        put(&mut form, 14, second_of_day / 60 % 60);
        put(&mut form, 17, second_of_day % 60);
        put(&mut form, 20, micros / 10_000);
        put(&mut form, 22, micros / 100 % 100);
        put(&mut form, 24, micros % 100);
        if (0..=9999).contains(&year) {
            put(&mut form, 0, year / 100);
            put(&mut form, 2, year % 100);
            out.extend_from_slice(&form);
        } else {
            out.extend_from_slice(format!("{year:+07}").as_bytes());
            out.extend_from_slice(&form[AFTER_YEAR..]);
        }
    }
}

/// Writes a number below 100 at this index of the form.
#[inline]
fn put(form: &mut [u8; FORM.len()], at: usize, number: i64) {
    let pair = usize::try_from(number).ok().and_then(|number| PAIRS.get(number));
    form[at..at + 2].copy_from_slice(pair.expect("a part of a date is below 100"));
}

impl fmt::Display for UnixMicros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Vec::with_capacity(FORM.len());
        self.write(&mut text);
        f.pad(&String::from_utf8_lossy(&text))
    }
}

impl FromStr for UnixMicros {
    type Err = RecordError;

    /// Parses exactly the form that `Display` writes.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text).map(Self).ok_or_else(|| {
            RecordError(format!("{text:?} is no time such as 2026-01-02T03:04:05.678901Z").into())
        })
    }
}

/// Returns year, month (1 to 12) and day (from 1) of a day counted from 1970-01-01.
#[inline]
fn date(days_since_1970: i64) -> (i64, i64, i64) {
    let days = days_since_1970 + DAYS_TO_1970;
    let era = days.div_euclid(DAYS_PER_ERA);
    // Thirty-two bits hold an era, and divide faster.
    let day_of_era = u32::try_from(days.rem_euclid(DAYS_PER_ERA)).unwrap_or_default();
    // Subtracts the leap days: each 4 years have one, each 100 one less, and 400 one more.
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // Months from March on have 31, 30, 31, 30, 31 days over and over: 153 in five.
    let months_since_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * months_since_march + 2) / 5 + 1;
    let month = if months_since_march < 10 { months_since_march + 3 } else { months_since_march - 9 };
    let year = era * 400 + i64::from(year_of_era) + i64::from(month <= 2);
    (year, month.into(), day.into())
}

/// Returns the day, counted from 1970-01-01, of a date; the inverse of [`date`] for dates that exist.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let months_since_march = (month + 9) % 12;
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * months_since_march + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    year.div_euclid(400) * DAYS_PER_ERA + day_of_era - DAYS_TO_1970
}

fn parse(text: &str) -> Option<i64> {
    let (year, rest) = match text.as_bytes().first()? {
        b'-' => (-number(text.get(1..7)?)?, text.get(7..)?),
        b'+' => (number(text.get(1..7)?)?, text.get(7..)?),
        _ => (number(text.get(..4)?)?, text.get(4..)?),
    };
    let bytes = rest.as_bytes();
    let separators = [(0, b'-'), (3, b'-'), (6, b'T'), (9, b':'), (12, b':'), (15, b'.'), (22, b'Z')];
    if bytes.len() != 23 || separators.iter().any(|(at, byte)| bytes[*at] != *byte) {
        return None;
    }
    let field = |from, to| rest.get(from..to).and_then(number);
    let (month, day) = (field(1, 3)?, field(4, 6)?);
    let (hour, minute, second) = (field(7, 9)?, field(10, 12)?, field(13, 15)?);
    if !(1..=12).contains(&month) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let days = days_since_1970(year, month, day);
    let exists = date(days) == (year, month, day);
    let micros = ((hour * 60 + minute) * 60 + second) * MICROS_PER_SECOND + field(16, 22)?;
    // The first day of the range begins before the range does.
    let total = i128::from(days) * i128::from(MICROS_PER_DAY) + i128::from(micros);
    exists.then(|| total.try_into().ok())?
}

/// Parses a number of decimal digits only.
fn number(digits: &str) -> Option<i64> {
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn time_is_formatted_and_parsed() {
        let cases = [
            ("epoch", 0, "1970-01-01T00:00:00.000000Z"),
            ("the example of the design", 1_767_323_045_678_901, "2026-01-02T03:04:05.678901Z"),
            ("one before the epoch", -1, "1969-12-31T23:59:59.999999Z"),
            ("leap day", 951_782_400_000_000, "2000-02-29T00:00:00.000000Z"),
            ("no leap day in 1900", -2_203_891_200_000_000, "1900-03-01T00:00:00.000000Z"),
            ("last of RFC 3339", 253_402_300_799_999_999, "9999-12-31T23:59:59.999999Z"),
            ("one later", 253_402_300_800_000_000, "+010000-01-01T00:00:00.000000Z"),
            ("first of RFC 3339", -62_167_219_200_000_000, "0000-01-01T00:00:00.000000Z"),
            ("one earlier", -62_167_219_200_000_001, "-000001-12-31T23:59:59.999999Z"),
            ("last of all", i64::MAX, "+294247-01-10T04:00:54.775807Z"),
            ("first of all", i64::MIN, "-290308-12-21T19:59:05.224192Z"),
        ];
        for (name, micros, text) in cases {
            assert_eq!(UnixMicros(micros).to_string(), text, "{name}");
            assert_eq!(text.parse(), Ok(UnixMicros(micros)), "{name}");
        }
    }

    #[test]
    fn text_of_other_form_is_refused() {
        let cases = [
            ("nothing", ""),
            ("no time", "yesterday"),
            ("30 February", "2026-02-30T00:00:00.000000Z"),
            ("29 February of no leap year", "2100-02-29T00:00:00.000000Z"),
            ("day 0", "2026-01-00T00:00:00.000000Z"),
            ("month 13", "2026-13-01T00:00:00.000000Z"),
            ("hour 24", "2026-01-01T24:00:00.000000Z"),
            ("leap second", "2026-01-01T23:59:60.000000Z"),
            ("three decimals", "2026-01-01T00:00:00.000Z"),
            ("an offset", "2026-01-01T00:00:00.000000+01:00"),
            ("a sign within", "2026-01-01T00:00:+1.000000Z"),
            ("beyond the range", "+294247-01-10T04:00:54.775808Z"),
            ("not ASCII", "２026-01-01T00:00:00.000000Z"),
        ];
        for (name, text) in cases {
            assert!(text.parse::<UnixMicros>().is_err(), "{name}");
        }
    }

    proptest! {
        /// Formatting and parsing does not change a time, and texts of later times are greater.
        #[test]
        fn time_survives_its_text(micros: i64, later in 0i64..253_402_300_799_999_999, earlier in 0i64..253_402_300_799_999_999) {
            prop_assert_eq!(UnixMicros(micros).to_string().parse(), Ok(UnixMicros(micros)));
            let texts = (UnixMicros(earlier).to_string(), UnixMicros(later).to_string());
            prop_assert_eq!(texts.0.cmp(&texts.1), earlier.cmp(&later));
        }
    }
}
