//! A TOML document that is read key by key; each invalid value adds a problem.

use std::borrow::Cow;
use std::ops::Range;
use std::path::Path;
use std::str::FromStr;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::problem::{Location, Problem};
use crate::suggest;

/// A value with its span.
pub type TomlValue<'t> = Spanned<DeValue<'t>>;

/// A key with its span.
pub type TomlKey<'t> = Spanned<Cow<'t, str>>;

/// A document that is being read, with the problems found so far.
#[derive(Debug)]
pub struct Document<'t> {
    text: &'t str,
    path: &'t Path,
    /// The first byte of each line after the first. Each problem, each warning and each name of a VM needs its line.
    line_starts: Box<[usize]>,
    /// Errors; the document must not be used if there are any.
    pub problems: Vec<Problem>,
    /// Values that look wrong and may be right.
    pub warnings: Vec<Problem>,
}

impl<'t> Document<'t> {
    /// Creates a document of `text`, which was read from `path`.
    #[must_use]
    pub fn new(text: &'t str, path: &'t Path) -> Self {
        let line_starts = text.match_indices('\n').map(|(newline, _)| newline + 1).collect();
        Self { text, path, line_starts, problems: Vec::new(), warnings: Vec::new() }
    }

    /// The top-level keys; `None`, with problems, if the text is not TOML.
    pub fn top(&mut self) -> Option<Spanned<DeTable<'t>>> {
        let (table, errors) = DeTable::parse_recoverable(self.text);
        for error in &errors {
            let span = error.span().unwrap_or_default();
            let message = match (error.message(), self.text(span.clone())) {
                ("duplicate key", key) if !key.is_empty() => format!("duplicate key {key}"),
                (message, _) => message.to_owned(),
            };
            self.problem(&span, &message);
        }
        errors.is_empty().then_some(table)
    }

    /// The text of a span.
    #[must_use]
    pub fn text(&self, span: Range<usize>) -> &'t str {
        self.text.get(span).unwrap_or_default()
    }

    /// Parses a text value.
    pub fn parsed<T: FromStr<Err: std::fmt::Display>>(
        &mut self,
        value: &TomlValue<'t>,
        expected: &str,
    ) -> Option<T> {
        let text = self.string(value, expected)?;
        match text.parse() {
            Ok(parsed) => Some(parsed),
            Err(error) => {
                self.problem(&value.span(), &error.to_string());
                None
            }
        }
    }

    /// Reads `true` or `false`.
    pub fn yes_or_no(&mut self, value: &TomlValue<'t>) -> Option<bool> {
        let flag = value.get_ref().as_bool();
        if flag.is_none() {
            let found = value.get_ref().type_str();
            self.problem(&value.span(), &format!("expected true or false, found {found}"));
        }
        flag
    }

    /// Reads a text that is not empty.
    pub fn string<'v>(&mut self, value: &'v TomlValue<'t>, expected: &str) -> Option<&'v str> {
        let text = value.get_ref().as_str();
        match text {
            None => {
                let found = value.get_ref().type_str();
                self.problem(&value.span(), &format!("expected {expected} in quotes, found {found}"));
                None
            }
            Some("") => {
                self.problem(&value.span(), &format!("expected {expected}, found an empty text"));
                None
            }
            Some(_) => text,
        }
    }

    /// Reads a value with `read`; adds a problem that names the expected value if `read` returns `None`.
    pub fn expected<'v, T>(
        &mut self,
        value: &'v TomlValue<'t>,
        expected: &str,
        read: impl FnOnce(&'v DeValue<'t>) -> Option<T>,
    ) -> Option<T> {
        let found = read(value.get_ref());
        if found.is_none() {
            let shown = match value.get_ref() {
                DeValue::Integer(number) => number.to_string(),
                DeValue::Float(number) => number.to_string(),
                other => other.type_str().to_owned(),
            };
            self.problem(&value.span(), &format!("expected {expected}, found {shown}"));
        }
        found
    }

    /// Adds a problem about a key that is none of the `known` ones.
    pub fn unknown(&mut self, key: &TomlKey<'_>, known: &[&str]) {
        let name = key.get_ref();
        let advice = suggest::advice(name, known, usize::MAX);
        self.problem(&key.span(), &format!("unknown key \"{name}\"; {advice}"));
    }

    /// Adds a problem with its location.
    pub fn problem(&mut self, span: &Range<usize>, message: &str) {
        // The parser's messages may have several lines; a problem has one.
        let message = message.trim_end().replace('\n', ", ");
        self.problems.push(Problem { location: Some(self.location(span)), message: message.into() });
    }

    /// Adds a warning with its location.
    pub fn warn(&mut self, span: &Range<usize>, message: &str) {
        self.warnings.push(Problem { location: Some(self.location(span)), message: message.into() });
    }

    /// The line in which a span begins.
    #[must_use]
    pub fn location(&self, span: &Range<usize>) -> Location {
        let line = 1 + self.line_starts.partition_point(|line_start| *line_start <= span.start);
        Location { path: self.path.into(), line }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_name_their_lines() {
        let cases = [
            ("name = ''", "f:1: expected a name, found an empty text"),
            ("\nname = 5", "f:2: expected a name in quotes, found integer"),
            ("\n\nnam = 'a'", "f:3: unknown key \"nam\"; did you mean \"name\"?"),
            ("name = 'a'\nname = 'b'", "f:2: duplicate key name"),
            ("name = 'a'", ""),
        ];
        for (text, expected) in cases {
            assert_eq!(problems(text), expected, "{text}");
        }
    }

    fn problems(text: &str) -> String {
        let mut document = Document::new(text, Path::new("f"));
        if let Some(top) = document.top() {
            for (key, value) in top.get_ref() {
                match key.get_ref().as_ref() {
                    "name" => _ = document.string(value, "a name"),
                    _ => document.unknown(key, &["name"]),
                }
            }
        }
        crate::one_a_line(&document.problems)
    }
}
