//! The release to which a version belongs.

use crate::release::Release;
use crate::releases::RELEASES;

/// The micro number from which a version belongs to the development of the next release.
///
/// Source: QEMU's version scheme; `x.y.50` follows the branch of `x.y`, `x.y.90` and up are release candidates.
const DEVELOPMENT_MICRO: u16 = 50;

/// The last minor number of a major release since QEMU 4: three releases a year.
const LAST_MINOR: u16 = 2;

impl Release {
    /// Returns the release of a version in a greeting.
    ///
    /// A micro number of 50 or more is development: `7.2.50` and `7.2.91` count as `8.0`. Numbers beyond 65535, which no
    /// QEMU has, count as 65535.
    pub fn from_version(major: u32, minor: u32, micro: u32) -> Self {
        let [major, minor, micro] =
            [major, minor, micro].map(|number| u16::try_from(number).unwrap_or(u16::MAX));
        if micro < DEVELOPMENT_MICRO {
            return Self::stable(major, minor, micro);
        }
        let line = Self::new(major, minor);
        match RELEASES.iter().find(|release| **release > line) {
            Some(next) => *next,
            None if minor >= LAST_MINOR => Self::new(major.saturating_add(1), 0),
            None => Self::new(major, minor + 1),
        }
    }

    /// Returns the newest release in the catalogue.
    pub fn newest() -> Self {
        RELEASES[RELEASES.len() - 1]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn development_version_counts_as_the_next_release() {
        let cases = [
            ((7, 2, 22), "7.2.22"),
            ((7, 2, 49), "7.2.49"),
            ((7, 2, 50), "8.0"),
            ((0, 15, 90), "1.0"),
            ((1, 7, 91), "2.0"),
            ((2, 12, 50), "3.0"),
            ((3, 1, 94), "4.0"),
            ((10, 2, 50), "11.0"),
            ((11, 1, 50), "11.2"),
            ((11, 2, 50), "12.0"),
            ((65535, 2, 99), "65535.0"),
            ((70000, 2, 1), "65535.2.1"),
        ];
        for ((major, minor, micro), expected) in cases {
            assert_eq!(Release::from_version(major, minor, micro).to_string(), expected);
        }
    }

    #[test]
    fn releases_are_complete_and_in_order() {
        let rising = RELEASES.windows(2).all(|pair| pair[0] < pair[1]);
        assert!(rising);
        assert_eq!(RELEASES[0], Release::new(0, 12));
        assert_eq!(Release::newest(), Release::new(11, 1));
        assert!(RELEASES.contains(&Release::new(2, 12)) && !RELEASES.contains(&Release::new(3, 2)));
    }
}
