//! Sizes as written by people: `4096`, `64KiB`, `100MB`, `1.5GiB`.

/// The units of a size, with the number of bytes of each.
const UNITS: &[(&str, u64)] = &[
    ("", 1),
    ("b", 1),
    ("kb", 1_000),
    ("mb", 1_000_000),
    ("gb", 1_000_000_000),
    ("tb", 1_000_000_000_000),
    ("k", 1 << 10),
    ("m", 1 << 20),
    ("g", 1 << 30),
    ("t", 1 << 40),
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("tib", 1 << 40),
];

/// A regular expression that matches sizes, for a JSON Schema.
pub const PATTERN: &str = "^ *[0-9]+(\\.[0-9]+)? *([kKmMgGtT]([iI]?[bB])?|[bB])? *$";

/// Errors of [`parse`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SizeError {
    /// The text is not a number followed by a unit.
    #[error("expected a size such as 100MiB, 64KB or a number of bytes")]
    NotASize,
    /// The unit is unknown.
    #[error("unknown unit \"{0}\": expected KiB, MiB, GiB, TiB (or KB, MB, GB, TB in steps of 1000)")]
    UnknownUnit(Box<str>),
    /// More than 2⁶³ − 1 bytes.
    #[error("no file is that large")]
    TooLarge,
}

/// Parses a size in bytes; `1.5GiB` is allowed, case is ignored, a lone `M` is a MiB.
///
/// # Errors
///
/// Any [`SizeError`].
pub fn parse(text: &str) -> Result<u64, SizeError> {
    let text = text.trim();
    let number_end =
        text.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(number_end);
    let unit = unit.trim();
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() || fraction.contains('.') || (number.contains('.') && fraction.is_empty()) {
        return Err(SizeError::NotASize);
    }
    let (_, unit_bytes) = UNITS
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(unit))
        .ok_or_else(|| SizeError::UnknownUnit(unit.into()))?;
    let whole: u64 = whole.parse().map_err(|_| SizeError::TooLarge)?;
    let mut bytes = u128::from(whole) * u128::from(*unit_bytes);
    // Truncate only at the end: a tenth of a GiB is not a whole number of bytes. Digits after the 18th have no effect.
    let (mut tenths, mut scale) = (0, 1);
    for digit in fraction.bytes().take(18) {
        (tenths, scale) = (tenths * 10 + u128::from(digit - b'0'), scale * 10);
    }
    bytes += u128::from(*unit_bytes) * tenths / scale;
    u64::try_from(bytes).ok().filter(|bytes| i64::try_from(*bytes).is_ok()).ok_or(SizeError::TooLarge)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn size_is_parsed_or_refused() {
        let cases = [
            ("4096", Ok(4096)),
            ("0", Ok(0)),
            ("64KiB", Ok(65_536)),
            ("64 kib", Ok(65_536)),
            ("64k", Ok(65_536)),
            ("64KB", Ok(64_000)),
            ("100MiB", Ok(104_857_600)),
            ("1.5GiB", Ok(1_610_612_736)),
            ("7b", Ok(7)),
            ("", Err(SizeError::NotASize)),
            ("MiB", Err(SizeError::NotASize)),
            ("1.", Err(SizeError::NotASize)),
            ("-1", Err(SizeError::NotASize)),
            ("1.2.3M", Err(SizeError::NotASize)),
            ("5 floppies", Err(SizeError::UnknownUnit("floppies".into()))),
            ("99999999999999999999", Err(SizeError::TooLarge)),
            ("9999999999TiB", Err(SizeError::TooLarge)),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text), expected, "{text}");
        }
    }

    proptest! {
        /// Any text is a size or an error.
        #[test]
        fn parsing_never_panics(text in "[0-9.kKmMiIbB ]{0,24}") {
            let _ = parse(&text);
        }
    }
}
