//! Parses values of a script, and reports a problem for each value of the wrong kind.

use std::{
    ops::{Deref, DerefMut, Range},
    path::Path,
    time::Duration,
};

use qmp_settings::{Document, Problem, suggest::advice};
pub(super) use qmp_settings::{TomlKey as Key, TomlValue as Value};
use toml::de::{DeTable, DeValue};

use crate::script::span;

/// Maximum number of known keys or values in the message about an unknown one: enough for all keys of a table.
const LISTED_MAX: usize = 16;

/// A script being parsed: a document, with the parsers of its kinds of values.
pub(super) struct ScriptReader<'t>(Document<'t>);

impl<'t> Deref for ScriptReader<'t> {
    type Target = Document<'t>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for ScriptReader<'_> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

impl<'t> ScriptReader<'t> {
    pub(super) fn new(text: &'t str, source: &'t Path) -> Self {
        Self(Document::new(text, source))
    }

    pub(super) fn into_problems(self) -> Vec<Problem> {
        self.0.problems
    }

    /// Parses the tables of `[[name]]`, each with `read`.
    pub(super) fn each<T>(
        &mut self,
        value: &Value<'t>,
        name: &str,
        mut read: impl FnMut(&mut Self, &DeTable<'t>, Range<usize>) -> Option<T>,
    ) -> Vec<T> {
        let DeValue::Array(tables) = value.get_ref() else {
            self.problem(&value.span(), &format!("a {name} is written as [[{name}]], in double brackets"));
            return Vec::new();
        };
        let mut found = Vec::new();
        for table in tables {
            if let Some(members) = self.table(table) {
                found.extend(read(self, members, table.span()));
            }
        }
        found
    }

    pub(super) fn table<'v>(&mut self, value: &'v Value<'t>) -> Option<&'v DeTable<'t>> {
        self.expected(value, "a table", |value| match value {
            DeValue::Table(table) => Some(table),
            _ => None,
        })
    }

    pub(super) fn list<'v>(&mut self, value: &'v Value<'t>) -> Option<&'v [Value<'t>]> {
        self.expected(value, "a list", |value| match value {
            DeValue::Array(elements) => Some(&elements[..]),
            _ => None,
        })
    }

    pub(super) fn string<'v>(&mut self, value: &'v Value<'t>) -> Option<&'v str> {
        let text = self.expected(value, "a text in quotes", DeValue::as_str)?;
        if text.is_empty() {
            self.problem(&value.span(), "expected a text, found an empty one");
            return None;
        }
        Some(text)
    }

    pub(super) fn boolean(&mut self, value: &Value<'t>) -> Option<bool> {
        self.expected(value, "true or false", DeValue::as_bool)
    }

    pub(super) fn whole(&mut self, value: &Value<'t>) -> Option<u64> {
        self.expected(value, "a whole number, 0 or more", |value| match value {
            DeValue::Integer(number) => u64::from_str_radix(number.as_str(), number.radix()).ok(),
            _ => None,
        })
    }

    /// Returns a whole number of at least 1.
    pub(super) fn count(&mut self, value: &Value<'t>) -> Option<u64> {
        let count = self.whole(value)?;
        if count == 0 {
            self.problem(&value.span(), "expected a whole number, 1 or more");
            return None;
        }
        Some(count)
    }

    pub(super) fn number(&mut self, value: &Value<'t>) -> Option<f64> {
        self.expected(value, "a number", |value| match value {
            DeValue::Integer(number) => number.as_str().parse().ok(),
            DeValue::Float(number) => number.as_str().parse().ok(),
            _ => None,
        })
    }

    pub(super) fn probability(&mut self, value: &Value<'t>) -> Option<f64> {
        let probability = self.number(value)?;
        if probability > 0.0 && probability <= 1.0 {
            return Some(probability);
        }
        self.problem(&value.span(), "a probability has to be more than 0 and at most 1");
        None
    }

    pub(super) fn span(&mut self, value: &Value<'t>) -> Option<Duration> {
        let text = self.expected(value, "a span of time in quotes, such as \"1.5s\"", DeValue::as_str)?;
        match span::parse(text) {
            Ok(span) => Some(span),
            Err(message) => {
                self.problem(&value.span(), &message);
                None
            }
        }
    }

    /// Returns a JSON object.
    pub(super) fn object(&mut self, value: &Value<'t>) -> Option<serde_json::Map<String, serde_json::Value>> {
        let table = self.table(value)?;
        let mut object = serde_json::Map::new();
        for (key, value) in table {
            object.insert(key.get_ref().clone().into_owned(), self.json(value)?);
        }
        Some(object)
    }

    fn json(&mut self, value: &Value<'t>) -> Option<serde_json::Value> {
        Some(match value.get_ref() {
            DeValue::String(text) => text.as_ref().into(),
            DeValue::Boolean(value) => (*value).into(),
            DeValue::Integer(number) => {
                let (digits, radix) = (number.as_str(), number.radix());
                let signed = || i64::from_str_radix(digits, radix).ok().map(serde_json::Value::from);
                let read =
                    u64::from_str_radix(digits, radix).ok().map(serde_json::Value::from).or_else(signed);
                return self.expected(value, "a number that fits 64 bits", |_| read);
            }
            DeValue::Float(number) => {
                let read = number.as_str().parse().ok().and_then(serde_json::Number::from_f64);
                return self.expected(value, "a finite number", |_| read.map(Into::into));
            }
            DeValue::Datetime(time) => time.to_string().into(),
            DeValue::Array(elements) => {
                elements.iter().map(|element| self.json(element)).collect::<Option<Vec<_>>>()?.into()
            }
            DeValue::Table(_) => self.object(value)?.into(),
        })
    }

    /// Reports all but the first of several keys that exclude each other.
    pub(super) fn only_one(&mut self, keys: &[&Key<'t>]) {
        let mut keys = keys.to_vec();
        keys.sort_by_key(|key| key.span().start);
        for other in keys.iter().skip(1) {
            let first = keys[0].get_ref();
            self.problem(&other.span(), &format!("\"{}\" cannot be used with \"{first}\"", other.get_ref()));
        }
    }

    pub(super) fn unknown(&mut self, key: &Key<'t>, known: &[&str]) {
        let name = key.get_ref().as_ref();
        let message = match name {
            "after" if known.contains(&"at") => {
                "\"after\" belongs to a part of a sequence; a step has \"at\", counted from the beginning".to_owned()
            }
            "at" if known.contains(&"after") => {
                "\"at\" belongs to a step; a part of a sequence has \"after\", counted from the part before it".to_owned()
            }
            name => format!("unknown key \"{name}\"; {}", advice(name, known, LISTED_MAX)),
        };
        self.problem(&key.span(), &message);
    }

    /// Reports a text that is not in `known`.
    pub(super) fn unknown_value(&mut self, value: &Value<'t>, what: &str, known: &[&str]) {
        let text = value.get_ref().as_str().unwrap_or_default();
        self.problem(
            &value.span(),
            &format!("unknown {what} \"{text}\"; {}", advice(text, known, LISTED_MAX)),
        );
    }
}
