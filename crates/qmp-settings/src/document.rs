//! A TOML document that is read key by key, with a problem for each value that is another than it should be.

use std::borrow::Cow;
use std::ops::Range;
use std::path::Path;
use std::str::FromStr;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::problem::{Place, Problem};
use crate::suggest;

/// A value, and where it is.
pub type Value<'t> = Spanned<DeValue<'t>>;

/// A key, and where it is.
pub type Key<'t> = Spanned<Cow<'t, str>>;

/// A document that is being read, and what was found wrong with it.
#[derive(Debug)]
pub struct Document<'t> {
    text: &'t str,
    path: &'t Path,
    /// What is wrong; the document says nothing if there is anything.
    pub problems: Vec<Problem>,
    /// What looks wrong and may be right.
    pub doubts: Vec<Problem>,
}

impl<'t> Document<'t> {
    /// The document `text`, which came from `path`.
    #[must_use]
    pub fn new(text: &'t str, path: &'t Path) -> Self {
        Self { text, path, problems: Vec::new(), doubts: Vec::new() }
    }

    /// The keys at the top; `None`, with its problems, if the text is no TOML.
    pub fn top(&mut self) -> Option<Spanned<DeTable<'t>>> {
        let (table, errors) = DeTable::parse_recoverable(self.text);
        for error in &errors {
            self.problem(&error.span().unwrap_or_default(), error.message());
        }
        errors.is_empty().then_some(table)
    }

    /// The text between two places.
    #[must_use]
    pub fn text(&self, span: Range<usize>) -> &'t str {
        self.text.get(span).unwrap_or_default()
    }

    /// A text that says something.
    pub fn parsed<T: FromStr<Err: std::fmt::Display>>(
        &mut self,
        value: &Value<'t>,
        wanted: &str,
    ) -> Option<T> {
        let text = self.string(value, wanted)?;
        match text.parse() {
            Ok(parsed) => Some(parsed),
            Err(error) => {
                self.problem(&value.span(), &error.to_string());
                None
            }
        }
    }

    /// `true` or `false`.
    pub fn yes_or_no(&mut self, value: &Value<'t>) -> Option<bool> {
        let flag = value.get_ref().as_bool();
        if flag.is_none() {
            let found = value.get_ref().type_str();
            self.problem(&value.span(), &format!("expected true or false, found {found}"));
        }
        flag
    }

    /// A text that is not empty.
    pub fn string<'v>(&mut self, value: &'v Value<'t>, wanted: &str) -> Option<&'v str> {
        let text = value.get_ref().as_str();
        match text {
            None => {
                let found = value.get_ref().type_str();
                self.problem(&value.span(), &format!("expected {wanted} in quotes, found {found}"));
                None
            }
            Some("") => {
                self.problem(&value.span(), &format!("expected {wanted}, found an empty text"));
                None
            }
            Some(_) => text,
        }
    }

    /// What `read` finds in the value; what is there, otherwise, is a problem.
    pub fn expected<'v, T>(
        &mut self,
        value: &'v Value<'t>,
        wanted: &str,
        read: impl FnOnce(&'v DeValue<'t>) -> Option<T>,
    ) -> Option<T> {
        let found = read(value.get_ref());
        if found.is_none() {
            let shown = match value.get_ref() {
                DeValue::Integer(number) => number.to_string(),
                DeValue::Float(number) => number.to_string(),
                other => other.type_str().to_owned(),
            };
            self.problem(&value.span(), &format!("expected {wanted}, found {shown}"));
        }
        found
    }

    /// A key that is none of the `known` ones.
    pub fn unknown(&mut self, key: &Key<'_>, known: &[&str]) {
        let name = key.get_ref();
        let advice = suggest::advice(name, known, usize::MAX);
        self.problem(&key.span(), &format!("unknown key \"{name}\"; {advice}"));
    }

    /// Something is wrong at this place.
    pub fn problem(&mut self, span: &Range<usize>, message: &str) {
        // The parser's messages may have several lines; a problem has one.
        let message = message.trim_end().replace('\n', ", ");
        self.problems.push(Problem { place: Some(self.place(span)), message: message.into() });
    }

    /// Something at this place looks wrong and may be right.
    pub fn doubt(&mut self, span: &Range<usize>, message: &str) {
        self.doubts.push(Problem { place: Some(self.place(span)), message: message.into() });
    }

    /// The line in which a span begins.
    #[must_use]
    pub fn place(&self, span: &Range<usize>) -> Place {
        let before = &self.text.as_bytes()[..span.start.min(self.text.len())];
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        Place { path: self.path.into(), line }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_have_their_lines() {
        let cases = [
            ("name = ''", "f:1: expected a name, found an empty text"),
            ("\nname = 5", "f:2: expected a name in quotes, found integer"),
            ("\n\nnam = 'a'", "f:3: unknown key \"nam\"; did you mean \"name\"?"),
            ("name = 'a'\nname = 'b'", "f:2: duplicate key"),
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
