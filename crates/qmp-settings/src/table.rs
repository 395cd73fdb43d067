//! The keys of one table, read by name.

use std::str::FromStr;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::document::{Document, TomlValue};
use crate::{size, span};

/// The keys of one table.
#[derive(Debug)]
pub struct Settings<'r, 't> {
    /// The document that contains the table.
    pub document: &'r mut Document<'t>,
    /// The table.
    pub table: &'r DeTable<'t>,
}

impl<'r, 't> Settings<'r, 't> {
    /// Reads a text; `None` if the key is missing, or after a problem.
    pub fn text(&mut self, key: &str, expected: &str) -> Option<&'r str> {
        let value = self.get(key)?;
        self.document.string(value, expected)
    }

    /// Parses a text value.
    pub fn parsed<T: FromStr<Err: std::fmt::Display>>(&mut self, key: &str, expected: &str) -> Option<T> {
        let value = self.get(key)?;
        self.document.parsed(value, expected)
    }

    /// Reads a text, or a list of at least one.
    pub fn texts(&mut self, key: &str, expected: &str) -> Option<Vec<&'r str>> {
        let value = self.get(key)?;
        let DeValue::Array(values) = value.get_ref() else {
            return self.document.string(value, expected).map(|text| vec![text]);
        };
        if values.is_empty() {
            self.problem(key, &format!("expected {expected}, found an empty list"));
            return None;
        }
        let problems_before = self.document.problems.len();
        // Names and patterns must not be empty; an argument may.
        let texts: Vec<&str> = values
            .iter()
            .filter_map(|value| match value.get_ref().as_str() {
                Some("") if key == "run" => Some(""),
                _ => self.document.string(value, expected),
            })
            .collect();
        (self.document.problems.len() == problems_before).then_some(texts)
    }

    /// Reads a span of time.
    pub fn span(&mut self, key: &str) -> Option<Duration> {
        let text = self.text(key, "a span such as \"30s\"")?;
        match span::parse(text) {
            Ok(span) if !span.is_zero() => return Some(span),
            Ok(_) => self.problem(key, "the span must be longer than zero"),
            Err(error) => self.problem(key, &error.to_string()),
        }
        None
    }

    /// Reads a size in bytes, as a text or a number.
    pub fn size(&mut self, key: &str) -> Option<u64> {
        let value = self.get(key)?;
        let text = match value.get_ref() {
            DeValue::Integer(number) => number.as_str(),
            _ => self.document.string(value, "a size such as \"100MiB\"")?,
        };
        size::parse(text).inspect_err(|error| self.problem(key, &error.to_string())).ok()
    }

    /// Reads a number from `min` to `max`.
    pub fn number(&mut self, key: &str, min: u32, max: u32) -> Option<u32> {
        let number = self.get(key)?.get_ref().as_integer();
        let number = number.and_then(|number| u32::from_str_radix(number.as_str(), number.radix()).ok());
        let number = number.filter(|number| (min..=max).contains(number));
        if number.is_none() {
            self.problem(key, &format!("expected a number from {min} to {max}"));
        }
        number
    }

    /// Reads `true` or `false`; `None` for any other value, without a problem.
    #[must_use]
    pub fn flag(&self, key: &str) -> Option<bool> {
        self.get(key)?.get_ref().as_bool()
    }

    /// Adds a problem about the value of `key`.
    pub fn problem(&mut self, key: &str, message: &str) {
        let span = self.get(key).map(Spanned::span).unwrap_or_default();
        self.document.problem(&span, message);
    }

    /// Adds a warning about the value of `key`.
    pub fn warn(&mut self, key: &str, message: &str) {
        let span = self.get(key).map(Spanned::span).unwrap_or_default();
        self.document.warn(&span, message);
    }

    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&'r TomlValue<'t>> {
        self.table.iter().find(|(name, _)| name.get_ref() == key).map(|(_, value)| value)
    }
}
