//! Releases of QEMU and their order.
//!
//! A release without a micro number (`7.2`) is the first of its line; stable releases (`7.2.22`) follow it.

use std::fmt;
use std::str::FromStr;

/// A release of QEMU, such as `7.2` or `7.2.22`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Release {
    /// The first number: 7 in `7.2.22`.
    pub major: u16,
    /// The second number: 2 in `7.2.22`.
    pub minor: u16,
    /// The third number: 22 in `7.2.22`; `None` for the first release of the line.
    pub micro: Option<u16>,
}

impl Release {
    /// Creates the first release of a line: `Release::new(7, 2)` is `7.2`.
    pub const fn new(major: u16, minor: u16) -> Self {
        Self { major, minor, micro: None }
    }

    /// Creates a stable release: `Release::stable(7, 2, 22)` is `7.2.22`.
    pub const fn stable(major: u16, minor: u16, micro: u16) -> Self {
        Self { major, minor, micro: Some(micro) }
    }

    /// Returns the release without its micro number.
    pub const fn line(self) -> Self {
        Self::new(self.major, self.minor)
    }

    /// Returns whether this release is in the span that begins at `since` and ends before `removed`.
    pub(crate) fn within(self, since: Option<Release>, removed: Option<Release>) -> bool {
        since.is_none_or(|since| self >= since) && removed.is_none_or(|removed| self < removed)
    }

    /// Returns whether this release is `stable` or a later one of the same line.
    pub(crate) fn follows_in_line(self, stable: Release) -> bool {
        self.line() == stable.line() && self >= stable
    }
}

/// Errors of parsing a release.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no release of QEMU: write it as 7.2 or 7.2.22")]
pub struct ParseReleaseError {
    text: Box<str>,
}

impl FromStr for Release {
    type Err = ParseReleaseError;

    /// Parses `7.2`, `7.2.22` or `0.12`.
    ///
    /// # Errors
    ///
    /// [`ParseReleaseError`] unless the text is two or three decimal numbers below 65536 separated by dots.
    fn from_str(text: &str) -> Result<Self, ParseReleaseError> {
        let error = || ParseReleaseError { text: text.into() };
        let number = |part: &str| {
            let digits = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
            part.parse().ok().filter(|_| digits)
        };
        let mut parts = text.split('.').map(number);
        let major = parts.next().flatten().ok_or_else(error)?;
        let minor = parts.next().flatten().ok_or_else(error)?;
        let micro = match parts.next() {
            None => None,
            Some(micro) => Some(micro.ok_or_else(error)?),
        };
        if parts.next().is_some() {
            return Err(error());
        }
        Ok(Self { major, minor, micro })
    }
}

impl fmt::Display for Release {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { major, minor, micro } = self;
        match micro {
            Some(micro) => write!(formatter, "{major}.{minor}.{micro}"),
            None => write!(formatter, "{major}.{minor}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn release_is_parsed() {
        let cases = [
            ("7.2", Some(Release::new(7, 2))),
            ("7.2.22", Some(Release::stable(7, 2, 22))),
            ("0.12", Some(Release::new(0, 12))),
            ("7", None),
            ("7.2.22.1", None),
            ("7.+2", None),
            ("7.2.", None),
            ("", None),
            ("7.65536", None),
            ("v7.2", None),
        ];
        for (text, expected) in cases {
            assert_eq!(text.parse().ok(), expected, "{text:?}");
        }
    }

    proptest! {
        /// Parsing the text of a release gives the same release.
        #[test]
        fn release_survives_its_text(major: u16, minor: u16, micro: Option<u16>) {
            let release = Release { major, minor, micro };
            prop_assert_eq!(release.to_string().parse::<Release>(), Ok(release));
        }
    }
}
