//! Texts in summaries.

use std::time::Duration;

use crate::limits::TEXT_SHOWN_MAX;

/// A text of a VM on one line, shortened, without control characters of a terminal.
pub(super) fn shown(text: &str) -> String {
    let mut shown = String::with_capacity(text.len().min(4 * TEXT_SHOWN_MAX));
    for character in text.chars().take(TEXT_SHOWN_MAX) {
        let is_plain = matches!(character, '"' | '\'' | '\\') || character.escape_debug().len() == 1;
        if is_plain {
            shown.push(character);
        } else {
            shown.push_str(&format!("\\u{:04x}", u32::from(character)));
        }
    }
    if text.chars().nth(TEXT_SHOWN_MAX).is_some() {
        shown.push('…');
    }
    shown
}

/// A span in seconds, to the microsecond: a number that is the same after it was written as text and parsed, unlike a
/// number with more than 16 digits.
pub(super) fn seconds(span: Duration) -> f64 {
    format!("{}.{:06}", span.as_secs(), span.subsec_micros()).parse().unwrap_or(f64::MAX)
}

/// A span for people: `0.4 s`, `75 s`, `12 min`, `3 h 5 min`.
pub(super) fn span(span: Duration) -> String {
    let seconds = span.as_secs();
    match seconds {
        0 if span.as_millis() < 1 => "under 1 ms".to_owned(),
        0 => format!("{} ms", span.as_millis()),
        1..=9 => format!("{seconds}.{} s", span.subsec_millis() / 100),
        10..=119 => format!("{seconds} s"),
        120..=7_199 => format!("{} min", seconds / 60),
        7_200..=172_799 => format!("{} h {} min", seconds / 3_600, seconds / 60 % 60),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// `once`, `2 times`.
pub(super) fn times(count: u64) -> String {
    if count == 1 { "once".to_owned() } else { format!("{count} times") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn span_text_has_one_or_two_units() {
        let cases = [
            (0, "under 1 ms"),
            (1_000, "1 ms"),
            (999_999, "999 ms"),
            (1_250_000, "1.2 s"),
            (75_000_000, "75 s"),
            (720_000_000, "12 min"),
            (11_100_000_000, "3 h 5 min"),
            (604_800_000_000, "7 days"),
        ];
        for (micros, expected) in cases {
            assert_eq!(span(Duration::from_micros(micros)), expected);
        }
    }

    #[test]
    fn text_of_a_guest_stays_on_one_line() {
        let cases = [("drive0", "drive0"), ("a\nb\u{1b}[2J", "a\\u000ab\\u001b[2J"), ("é \"x\"", "é \"x\"")];
        for (text, expected) in cases {
            assert_eq!(shown(text), expected);
        }
        assert_eq!(shown(&"x".repeat(500)).chars().count(), TEXT_SHOWN_MAX + 1);
    }
}
