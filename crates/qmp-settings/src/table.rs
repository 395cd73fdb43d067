//! The keys of one table, read by the rows of its schema.

use std::str::FromStr;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::document::{Document, TomlValue};
use crate::schema::{Form, KeySchema, TableSchema};
use crate::{size, span};

/// The keys of one table.
#[derive(Debug)]
pub struct Settings<'r, 't> {
    /// The document that contains the table.
    pub document: &'r mut Document<'t>,
    /// The table.
    pub table: &'r DeTable<'t>,
    /// The keys that the table may have.
    pub schema: &'static TableSchema,
}

impl<'r, 't> Settings<'r, 't> {
    /// Adds a problem for each key that the schema does not have; returns whether there was one.
    pub fn refuse_unknown(&mut self) -> bool {
        let known = self.schema.names();
        let unknown: Vec<_> =
            self.table.keys().filter(|key| !known.contains(&key.get_ref().as_ref())).collect();
        unknown.iter().for_each(|key| self.document.unknown(key, &known));
        !unknown.is_empty()
    }

    /// Reads a text; `None` if the key is missing, or after a problem.
    pub fn text(&mut self, key: &KeySchema) -> Option<&'r str> {
        let value = self.get(key)?;
        self.document.string(value, key.expected)
    }

    /// Parses a text value.
    pub fn parsed<T: FromStr<Err: std::fmt::Display>>(&mut self, key: &KeySchema) -> Option<T> {
        let value = self.get(key)?;
        self.document.parsed(value, key.expected)
    }

    /// Reads a text, or a list of at least one.
    pub fn texts(&mut self, key: &KeySchema) -> Option<Vec<&'r str>> {
        let expected = key.expected;
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
        let may_be_empty = matches!(key.form, Form::Command);
        let texts: Vec<&str> = values
            .iter()
            .filter_map(|value| match value.get_ref().as_str() {
                Some("") if may_be_empty => Some(""),
                _ => self.document.string(value, expected),
            })
            .collect();
        (self.document.problems.len() == problems_before).then_some(texts)
    }

    /// Reads a span of time.
    pub fn span(&mut self, key: &KeySchema) -> Option<Duration> {
        let text = self.text(key)?;
        match span::parse(text) {
            Ok(span) if !span.is_zero() => return Some(span),
            Ok(_) => self.problem(key, "the span must be longer than zero"),
            Err(error) => self.problem(key, &error.to_string()),
        }
        None
    }

    /// Reads a size in bytes, as a text or a number.
    pub fn size(&mut self, key: &KeySchema) -> Option<u64> {
        let value = self.get(key)?;
        let text = match (value.get_ref(), key.form) {
            (DeValue::Integer(number), Form::Size { is_number: true, .. }) => number.as_str(),
            _ => self.document.string(value, key.expected)?,
        };
        size::parse(text).inspect_err(|error| self.problem(key, &error.to_string())).ok()
    }

    /// Reads a number within the limits of the key.
    pub fn number(&mut self, key: &KeySchema) -> Option<u32> {
        let (min, max) = match key.form {
            Form::Number { min, max } => (min, max),
            _ => (0, u32::MAX),
        };
        let number = self.get(key)?.get_ref().as_integer();
        let number = number.and_then(|number| u32::from_str_radix(number.as_str(), number.radix()).ok());
        let number = number.filter(|number| (min..=max).contains(number));
        if number.is_none() {
            self.problem(key, &format!("expected a number from {min} to {max}"));
        }
        number
    }

    /// Reads `true` or `false`.
    pub fn flag(&mut self, key: &KeySchema) -> Option<bool> {
        let value = self.get(key)?;
        self.document.yes_or_no(value)
    }

    /// Adds a problem about the value of `key`.
    pub fn problem(&mut self, key: &KeySchema, message: &str) {
        let span = self.get(key).map(Spanned::span).unwrap_or_default();
        self.document.problem(&span, message);
    }

    /// Adds a warning about the value of `key`.
    pub fn warn(&mut self, key: &KeySchema, message: &str) {
        let span = self.get(key).map(Spanned::span).unwrap_or_default();
        self.document.warn(&span, message);
    }

    /// The value of a key.
    ///
    /// # Panics
    ///
    /// In a debug build, if the schema of the table does not have the key: a document could never contain it.
    #[must_use]
    pub fn get(&self, key: &KeySchema) -> Option<&'r TomlValue<'t>> {
        let schema = self.schema;
        debug_assert!(schema.names().contains(&key.name), "{} has no key {}", schema.header, key.name);
        self.table.iter().find(|(name, _)| name.get_ref() == key.name).map(|(_, value)| value)
    }
}
