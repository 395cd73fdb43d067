//! How long a VM may be quiet before it is probed: the text form, and the setting of each VM.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use qmp_settings::span::{self, SpanError};

/// How long a monitor may be quiet before it is probed, and how long the answer to the probe may take, unless configured
/// otherwise. A QEMU answers in milliseconds; ten seconds were measured on a host that swaps heavily.
pub const SILENT_AFTER_DEFAULT: Duration = Duration::from_secs(30);

/// The shortest span in a configuration: one probe a second for each VM.
pub const SILENT_AFTER_MIN: Duration = Duration::from_secs(1);

/// The longest span in a configuration. A report of a silence after more than two days is useless; `off` disables it.
pub const SILENT_AFTER_MAX: Duration = Duration::from_secs(86_400);

/// The code of a setting that is not set.
const INHERITED: u64 = u64::MAX;

/// The code of `off`.
const OFF: u64 = 0;

/// How long a VM may be quiet before it is probed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SilentAfter {
    /// Never: silence is not reported.
    Off,
    /// This span, which also limits the time of the answer.
    Span(Duration),
}

/// Errors of reading a [`SilentAfter`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SilentAfterError {
    /// The text is neither a span nor `off`.
    #[error("{0}; \"off\" to report no silence")]
    Span(SpanError),
    /// The span is shorter than [`SILENT_AFTER_MIN`] or longer than [`SILENT_AFTER_MAX`].
    #[error("from {SILENT_AFTER_MIN:?} to 1d; \"off\" to report no silence")]
    OutOfRange,
}

impl Default for SilentAfter {
    fn default() -> Self {
        Self::Span(SILENT_AFTER_DEFAULT)
    }
}

impl FromStr for SilentAfter {
    type Err = SilentAfterError;

    fn from_str(text: &str) -> Result<Self, SilentAfterError> {
        if text == "off" {
            return Ok(Self::Off);
        }
        let span = span::parse(text).map_err(SilentAfterError::Span)?;
        if (SILENT_AFTER_MIN..=SILENT_AFTER_MAX).contains(&span) {
            Ok(Self::Span(span))
        } else {
            Err(SilentAfterError::OutOfRange)
        }
    }
}

impl fmt::Display for SilentAfter {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => out.write_str("off"),
            Self::Span(span) => {
                let described = span::describe(u64::try_from(span.as_micros()).unwrap_or(u64::MAX));
                out.write_str(&described.replace(".0 s", " s"))
            }
        }
    }
}

/// A [`SilentAfter`] that may change while the hub runs, or none.
#[derive(Debug)]
pub(crate) struct Setting(AtomicU64);

impl Setting {
    pub(crate) fn new(silent_after: Option<SilentAfter>) -> Self {
        Self(AtomicU64::new(encode(silent_after)))
    }

    pub(crate) fn get(&self) -> Option<SilentAfter> {
        match self.0.load(Ordering::Relaxed) {
            INHERITED => None,
            OFF => Some(SilentAfter::Off),
            micros => Some(SilentAfter::Span(Duration::from_micros(micros))),
        }
    }

    /// Returns whether the setting changed.
    pub(crate) fn set(&self, silent_after: Option<SilentAfter>) -> bool {
        let encoded = encode(silent_after);
        self.0.swap(encoded, Ordering::Relaxed) != encoded
    }
}

impl Default for Setting {
    fn default() -> Self {
        Self::new(None)
    }
}

fn encode(silent_after: Option<SilentAfter>) -> u64 {
    match silent_after {
        None => INHERITED,
        Some(SilentAfter::Off) => OFF,
        Some(SilentAfter::Span(span)) => {
            u64::try_from(span.as_micros()).unwrap_or(INHERITED).clamp(OFF + 1, INHERITED - 1)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_spans_and_off() {
        let range = "from 1s to 1d; \"off\" to report no silence";
        let cases = [
            ("30s", Ok("30 s")),
            ("1s", Ok("1 s")),
            ("24h", Ok("1 d")),
            ("off", Ok("off")),
            ("999ms", Err(range)),
            ("25h", Err(range)),
            (
                "30",
                Err("expected a unit after the number: ms, s, min, h, d or w; \"off\" to report no silence"),
            ),
            ("never", Err("expected a span such as 30s, 5min or 1h30m; \"off\" to report no silence")),
        ];
        for (text, expected) in cases {
            let read = text.parse::<SilentAfter>();
            assert_eq!(
                read.map(|read| read.to_string()).map_err(|error| error.to_string()),
                expected.map(str::to_owned).map_err(str::to_owned),
                "{text}"
            );
        }
    }

    #[test]
    fn setting_keeps_what_it_was_given() {
        let setting = Setting::default();
        assert_eq!(setting.get(), None);
        let given = [Some(SilentAfter::Off), Some(SilentAfter::default()), None];
        for silent_after in given {
            assert!(setting.set(silent_after), "{silent_after:?} differs from the one before");
            assert!(!setting.set(silent_after), "{silent_after:?} is the same");
            assert_eq!(setting.get(), silent_after);
        }
    }
}
