//! The characters of the display: Unicode, or ASCII where the locale or the user says so.

use super::history::Cell;
use crate::render::spark;

/// A set of characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::commands) enum Glyphs {
    /// Bars, shades and dots.
    Unicode,
    /// Printable ASCII only.
    Ascii,
}

impl Glyphs {
    /// The set for the locale of the environment: POSIX looks at `LC_ALL`, then at `LC_CTYPE`, then at `LANG`.
    pub(in crate::commands) fn of_locale(variable: impl Fn(&str) -> Option<String>) -> Self {
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
            .into_iter()
            .find_map(|name| variable(name).filter(|text| !text.is_empty()));
        let is_utf8 =
            locale.is_some_and(|locale| locale.to_ascii_lowercase().replace('-', "").contains("utf8"));
        if is_utf8 { Self::Unicode } else { Self::Ascii }
    }

    /// The bar for a count, where `highest` is the highest count that is shown beside it.
    pub(super) fn bar(self, count: u32, highest: u32) -> char {
        match count {
            0 => self.quiet(),
            count => spark::bar(count.into(), highest.into(), self == Self::Ascii),
        }
    }

    /// A span in which the VM was watched and sent nothing.
    pub(super) fn quiet(self) -> char {
        match self {
            Self::Unicode => '·',
            Self::Ascii => '_',
        }
    }

    /// A span of a lane: each state has its own shape, not its colour alone.
    pub(super) fn cell(self, cell: Cell) -> &'static str {
        match (self, cell) {
            (Self::Unicode, Cell::Running) => "█",
            (Self::Unicode, Cell::Stopped) => "▄",
            (Self::Unicode, Cell::Trouble) => "▚",
            (Self::Unicode, Cell::Off) => "▁",
            (Self::Unicode, Cell::Gap) => "░",
            (Self::Ascii, Cell::Running) => "#",
            (Self::Ascii, Cell::Stopped) => "=",
            (Self::Ascii, Cell::Trouble) => "!",
            (Self::Ascii, Cell::Off) => "_",
            (Self::Ascii, Cell::Gap) => "~",
            (_, Cell::Unknown) => "?",
            (_, Cell::Before) => " ",
        }
    }

    /// The mark of a VM that was not watched.
    pub(super) fn gap(self) -> &'static str {
        self.cell(Cell::Gap)
    }

    /// The end of a text that is cut.
    pub(super) fn ellipsis(self) -> &'static str {
        match self {
            Self::Unicode => "…",
            Self::Ascii => "~",
        }
    }

    /// A separator within a line.
    pub(super) fn dot(self) -> &'static str {
        match self {
            Self::Unicode => "·",
            Self::Ascii => "-",
        }
    }

    /// A horizontal rule, one column wide.
    pub(super) fn rule(self) -> &'static str {
        match self {
            Self::Unicode => "─",
            Self::Ascii => "-",
        }
    }

    /// Replaces what the set does not have.
    pub(super) fn text(self, text: &str) -> String {
        match self {
            Self::Unicode => text.to_owned(),
            Self::Ascii => text.chars().map(|c| if c.is_ascii() { c } else { '?' }).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locale_decides_the_characters() {
        let cases = [
            (vec![("LANG", "de_DE.UTF-8")], Glyphs::Unicode),
            (vec![("LC_ALL", "C.utf8"), ("LANG", "C")], Glyphs::Unicode),
            (vec![("LC_ALL", ""), ("LC_CTYPE", "en_US.ISO-8859-1"), ("LANG", "en_US.UTF-8")], Glyphs::Ascii),
            (vec![("LANG", "C")], Glyphs::Ascii),
            (vec![], Glyphs::Ascii),
        ];
        for (variables, expected) in cases {
            let variable = |name: &str| {
                variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
            };
            assert_eq!(Glyphs::of_locale(variable), expected, "{variables:?}");
        }
    }

    #[test]
    fn bar_grows_with_the_count() {
        let bars: String = [0, 1, 2, 4, 8].iter().map(|count| Glyphs::Unicode.bar(*count, 8)).collect();
        assert_eq!(bars, "·▁▂▄█");
        assert_eq!(Glyphs::Ascii.bar(u32::MAX, 1), '#');
    }
}
