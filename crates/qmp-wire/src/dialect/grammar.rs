//! Parses tokens into values, one token at a time.

use super::lexer::Kind;
use super::value::{Object, Value};
use super::{number, string};

/// The expected next token.
#[derive(Debug)]
enum Expectation {
    Value,
    /// After `[`: a value or `]`.
    ValueOrEnd,
    /// After `{`: a key or `}`.
    KeyOrEnd,
    Key,
    Colon,
    /// After a member or an element.
    CommaOrEnd,
}

#[derive(Debug)]
enum Container {
    List(Vec<Value>),
    /// `key` is `None` while the key is missing.
    Object {
        members: Object,
        key: Option<String>,
    },
}

/// The error of a token.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum GrammarError {
    /// No value can begin with it.
    Value,
    /// No key can begin with it.
    Key,
    /// A complete value other than a string in place of a key.
    KeyNotString,
    Colon,
    CommaOrEndOfObject,
    CommaOrEndOfList,
    DuplicateKey,
    Keyword(Vec<u8>),
    String(Vec<u8>),
}

/// Builds one value from tokens.
#[derive(Debug)]
pub(super) struct Grammar {
    open: Vec<Container>,
    expect: Option<Expectation>,
    /// Whether a list or an object in place of a key is read to its end before it is refused.
    reads_any_key: bool,
}

impl Grammar {
    pub(super) fn new(reads_any_key: bool) -> Self {
        Self { open: Vec::new(), expect: None, reads_any_key }
    }

    /// Processes a token; returns the value that it completes.
    pub(super) fn take(&mut self, kind: Kind, token: &[u8]) -> Result<Option<Value>, GrammarError> {
        match (self.expect.take().unwrap_or(Expectation::Value), kind) {
            (Expectation::ValueOrEnd, Kind::Structural(b']'))
            | (Expectation::KeyOrEnd, Kind::Structural(b'}')) => self.close(),
            (Expectation::Value | Expectation::ValueOrEnd, _) => self.value(kind, token),
            (Expectation::Key | Expectation::KeyOrEnd, _) => self.key(kind, token),
            (Expectation::Colon, Kind::Structural(b':')) => self.then(Expectation::Value),
            (Expectation::Colon, _) => Err(GrammarError::Colon),
            (Expectation::CommaOrEnd, _) => self.comma_or_end(kind),
        }
    }

    /// Discards the incomplete value.
    pub(super) fn reset(&mut self) {
        self.open.clear();
        self.expect = None;
    }

    fn then(&mut self, expect: Expectation) -> Result<Option<Value>, GrammarError> {
        self.expect = Some(expect);
        Ok(None)
    }

    fn value(&mut self, kind: Kind, token: &[u8]) -> Result<Option<Value>, GrammarError> {
        match kind {
            Kind::Structural(b'{') => {
                self.open.push(Container::Object { members: Object::default(), key: None });
                self.then(Expectation::KeyOrEnd)
            }
            Kind::Structural(b'[') => {
                self.open.push(Container::List(Vec::new()));
                self.then(Expectation::ValueOrEnd)
            }
            _ => {
                let value = literal(kind, token)?;
                self.add(value)
            }
        }
    }

    fn key(&mut self, kind: Kind, token: &[u8]) -> Result<Option<Value>, GrammarError> {
        if self.reads_any_key && matches!(kind, Kind::Structural(b'{' | b'[')) {
            return self.value(kind, token);
        }
        if !self.reads_any_key && kind != Kind::String {
            return Err(GrammarError::Key);
        }
        match literal(kind, token) {
            Ok(Value::String(name)) => {
                if let Some(Container::Object { key, .. }) = self.open.last_mut() {
                    *key = Some(name);
                }
                self.then(Expectation::Colon)
            }
            Ok(_) => Err(GrammarError::KeyNotString),
            Err(GrammarError::Value) => Err(GrammarError::Key),
            Err(wrong) => Err(wrong),
        }
    }

    fn comma_or_end(&mut self, kind: Kind) -> Result<Option<Value>, GrammarError> {
        match (self.open.last(), kind) {
            (Some(Container::List(_)), Kind::Structural(b',')) => self.then(Expectation::Value),
            (Some(Container::List(_)), Kind::Structural(b']')) => self.close(),
            (Some(Container::List(_)), _) => Err(GrammarError::CommaOrEndOfList),
            (_, Kind::Structural(b',')) => self.then(Expectation::Key),
            (_, Kind::Structural(b'}')) => self.close(),
            (_, _) => Err(GrammarError::CommaOrEndOfObject),
        }
    }

    fn close(&mut self) -> Result<Option<Value>, GrammarError> {
        let value = match self.open.pop() {
            Some(Container::List(values)) => Value::List(values),
            Some(Container::Object { members, .. }) => Value::Object(members),
            None => return Err(GrammarError::Value),
        };
        self.add(value)
    }

    /// Adds a complete value to its container.
    fn add(&mut self, value: Value) -> Result<Option<Value>, GrammarError> {
        match self.open.last_mut() {
            None => return Ok(Some(value)),
            Some(Container::List(values)) => values.push(value),
            Some(Container::Object { members, key }) => {
                let key = key.take().ok_or(GrammarError::KeyNotString)?;
                if !members.insert(&key, value) {
                    return Err(GrammarError::DuplicateKey);
                }
            }
        }
        self.then(Expectation::CommaOrEnd)
    }
}

fn literal(kind: Kind, token: &[u8]) -> Result<Value, GrammarError> {
    let text = || std::str::from_utf8(token).expect("the lexer passes only ASCII here");
    match kind {
        Kind::Integer => Ok(number::integer(text())),
        Kind::Float => Ok(number::float(text())),
        Kind::String => string::read(token).map(Value::String).map_err(GrammarError::String),
        Kind::Keyword => match token {
            b"null" => Ok(Value::Null),
            b"true" => Ok(Value::Bool(true)),
            b"false" => Ok(Value::Bool(false)),
            _ => Err(GrammarError::Keyword(token.to_vec())),
        },
        Kind::Structural(_) | Kind::Stray | Kind::TooLong => Err(GrammarError::Value),
    }
}
