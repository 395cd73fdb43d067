//! Parses tokens into values, one token at a time.

use super::{Object, Value, lexer::Kind, number, string};

/// The expected next token.
#[derive(Debug)]
enum Expect {
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
enum Open {
    List(Vec<Value>),
    /// `key` is `None` while the key is missing.
    Object {
        members: Object,
        key: Option<String>,
    },
}

/// The error of a token.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wrong {
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
    open: Vec<Open>,
    expect: Option<Expect>,
    /// Whether a list or an object in place of a key is read to its end before it is refused.
    reads_any_key: bool,
}

impl Grammar {
    pub(super) fn new(reads_any_key: bool) -> Self {
        Self { open: Vec::new(), expect: None, reads_any_key }
    }

    /// Takes a token; yields the value that it completes.
    pub(super) fn take(&mut self, kind: Kind, token: &[u8]) -> Result<Option<Value>, Wrong> {
        match (self.expect.take().unwrap_or(Expect::Value), kind) {
            (Expect::ValueOrEnd, Kind::Structural(b']')) | (Expect::KeyOrEnd, Kind::Structural(b'}')) => {
                self.close()
            }
            (Expect::Value | Expect::ValueOrEnd, _) => self.value(kind, token),
            (Expect::Key | Expect::KeyOrEnd, _) => self.key(kind, token),
            (Expect::Colon, Kind::Structural(b':')) => self.then(Expect::Value),
            (Expect::Colon, _) => Err(Wrong::Colon),
            (Expect::CommaOrEnd, _) => self.comma_or_end(kind),
        }
    }

    /// Discards the incomplete value.
    pub(super) fn reset(&mut self) {
        self.open.clear();
        self.expect = None;
    }

    fn then(&mut self, expect: Expect) -> Result<Option<Value>, Wrong> {
        self.expect = Some(expect);
        Ok(None)
    }

    fn value(&mut self, kind: Kind, token: &[u8]) -> Result<Option<Value>, Wrong> {
        match kind {
            Kind::Structural(b'{') => {
                self.open.push(Open::Object { members: Object::default(), key: None });
                self.then(Expect::KeyOrEnd)
            }
            Kind::Structural(b'[') => {
                self.open.push(Open::List(Vec::new()));
                self.then(Expect::ValueOrEnd)
            }
            _ => {
                let value = literal(kind, token)?;
                self.place(value)
            }
        }
    }

    fn key(&mut self, kind: Kind, token: &[u8]) -> Result<Option<Value>, Wrong> {
        if self.reads_any_key && matches!(kind, Kind::Structural(b'{' | b'[')) {
            return self.value(kind, token);
        }
        if !self.reads_any_key && kind != Kind::String {
            return Err(Wrong::Key);
        }
        match literal(kind, token) {
            Ok(Value::String(name)) => {
                if let Some(Open::Object { key, .. }) = self.open.last_mut() {
                    *key = Some(name);
                }
                self.then(Expect::Colon)
            }
            Ok(_) => Err(Wrong::KeyNotString),
            Err(Wrong::Value) => Err(Wrong::Key),
            Err(wrong) => Err(wrong),
        }
    }

    fn comma_or_end(&mut self, kind: Kind) -> Result<Option<Value>, Wrong> {
        match (self.open.last(), kind) {
            (Some(Open::List(_)), Kind::Structural(b',')) => self.then(Expect::Value),
            (Some(Open::List(_)), Kind::Structural(b']')) => self.close(),
            (Some(Open::List(_)), _) => Err(Wrong::CommaOrEndOfList),
            (_, Kind::Structural(b',')) => self.then(Expect::Key),
            (_, Kind::Structural(b'}')) => self.close(),
            (_, _) => Err(Wrong::CommaOrEndOfObject),
        }
    }

    fn close(&mut self) -> Result<Option<Value>, Wrong> {
        let value = match self.open.pop() {
            Some(Open::List(values)) => Value::List(values),
            Some(Open::Object { members, .. }) => Value::Object(members),
            None => return Err(Wrong::Value),
        };
        self.place(value)
    }

    /// Adds a complete value to its container.
    fn place(&mut self, value: Value) -> Result<Option<Value>, Wrong> {
        match self.open.last_mut() {
            None => return Ok(Some(value)),
            Some(Open::List(values)) => values.push(value),
            Some(Open::Object { members, key }) => {
                let key = key.take().ok_or(Wrong::KeyNotString)?;
                if !members.insert(&key, value) {
                    return Err(Wrong::DuplicateKey);
                }
            }
        }
        self.then(Expect::CommaOrEnd)
    }
}

fn literal(kind: Kind, token: &[u8]) -> Result<Value, Wrong> {
    let text = || std::str::from_utf8(token).expect("the lexer lets only ASCII through here");
    match kind {
        Kind::Integer => Ok(number::integer(text())),
        Kind::Float => Ok(number::float(text())),
        Kind::String => string::read(token).map(Value::String).map_err(Wrong::String),
        Kind::Keyword => match token {
            b"null" => Ok(Value::Null),
            b"true" => Ok(Value::Bool(true)),
            b"false" => Ok(Value::Bool(false)),
            _ => Err(Wrong::Keyword(token.to_vec())),
        },
        Kind::Structural(_) | Kind::Stray | Kind::TooLong => Err(Wrong::Value),
    }
}
