//! Parses a stream of bytes into values and errors.

use std::collections::VecDeque;

use super::grammar::{Grammar, GrammarError};
use super::lexer::{Kind, Lexer, Position, TOKEN_MAX_BYTES};
use super::utf8;
use super::value::Value;
use crate::json::NESTING_MAX;

/// Maximum number of tokens of a message. Source: measured on QEMU 7.2 and 11.1.
pub const TOKENS_MAX: usize = 2 << 20;

/// The wording of input errors by release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum ErrorTexts {
    /// Up to 3.0: one text for all errors.
    One,
    /// 3.1 to 10.2: a text for each error, reported when the brackets of the message balance again.
    Worded,
    /// Since 11.0: reported at the offending token, with its line and column; the rest of the message is skipped
    /// silently.
    Placed,
}

/// An input error, in QEMU's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{desc}")]
pub struct InputError {
    /// The `desc` of the error reply. Quoted bytes that are no character become U+FFFD.
    pub desc: String,
}

impl InputError {
    fn new(desc: &[u8]) -> Self {
        Self { desc: utf8::lossy(desc) }
    }
}

/// Splits a stream into values.
#[derive(Debug)]
pub struct Input {
    lexer: Lexer,
    message: Message,
}

#[derive(Debug)]
struct Message {
    texts: ErrorTexts,
    grammar: Grammar,
    braces: isize,
    brackets: isize,
    tokens: usize,
    token_bytes: usize,
    error: Option<Vec<u8>>,
    skipping: bool,
    done: VecDeque<Result<Value, InputError>>,
}

impl Input {
    /// Creates a stream at its start.
    #[must_use]
    pub fn new(texts: ErrorTexts) -> Self {
        let message = Message {
            texts,
            grammar: Grammar::new(texts < ErrorTexts::Placed),
            braces: 0,
            brackets: 0,
            tokens: 0,
            token_bytes: 0,
            error: None,
            skipping: false,
            done: VecDeque::new(),
        };
        Self { lexer: Lexer::new(), message }
    }

    /// Processes bytes, cut anywhere.
    pub fn feed(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.lexer.feed(byte, |kind, token, position| self.message.take(kind, token, position));
        }
    }

    /// Processes bytes up to the one that completes a value or an error, and returns their number.
    pub fn feed_until_done(&mut self, bytes: &[u8]) -> usize {
        let mut count = 0;
        while count < bytes.len() && self.message.done.is_empty() {
            self.feed(&bytes[count..=count]);
            count += 1;
        }
        count
    }

    /// Continues a stream between two messages, at this line and column.
    #[must_use]
    pub fn resume(texts: ErrorTexts, line: u64, column: u64) -> Self {
        let mut input = Self::new(texts);
        input.lexer.move_to(Position { line, column });
        input
    }

    /// Returns line and column, unless a message is incomplete.
    #[must_use]
    pub fn position_between_messages(&self) -> Option<(u64, u64)> {
        let Message { braces: 0, brackets: 0, tokens: 0, skipping: false, .. } = &self.message else {
            return None;
        };
        self.lexer.position_between_tokens().map(|position| (position.line, position.column))
    }

    /// Returns whether [`poll`](Self::poll) returns an item.
    #[must_use]
    pub fn has_item(&self) -> bool {
        !self.message.done.is_empty()
    }

    /// Returns the next value or error, in the order of the stream.
    pub fn poll(&mut self) -> Option<Result<Value, InputError>> {
        self.message.done.pop_front()
    }
}

impl Message {
    fn take(&mut self, kind: Kind, token: &[u8], position: Position) {
        match kind {
            Kind::Structural(b'{') => self.braces += 1,
            Kind::Structural(b'}') => self.braces -= 1,
            Kind::Structural(b'[') => self.brackets += 1,
            Kind::Structural(b']') => self.brackets -= 1,
            Kind::Stray => {
                let desc = self.parse_error(&quoted(b"stray ", token), position);
                return self.refuse(&desc);
            }
            _ => {}
        }
        if let Some(limit) = self.limit(kind, token) {
            return self.exceed(limit);
        }
        self.tokens += 1;
        self.token_bytes += token.len();
        let value =
            if self.error.is_none() && !self.skipping { self.parse(kind, token, position) } else { None };
        let open = self.braces >= 0 && self.brackets >= 0 && (self.braces > 0 || self.brackets > 0);
        if !open {
            self.finish(value);
        }
    }

    fn parse(&mut self, kind: Kind, token: &[u8], position: Position) -> Option<Value> {
        match self.grammar.take(kind, token) {
            Ok(value) => value,
            Err(error) => {
                let desc = self.parse_error(&self.error_text(&error), position);
                if self.texts == ErrorTexts::Placed {
                    self.done.push_back(Err(InputError::new(&desc)));
                    self.skipping = true;
                } else {
                    self.error = Some(desc);
                }
                None
            }
        }
    }

    /// Ends the message: pushes its value, or its error.
    fn finish(&mut self, value: Option<Value>) {
        let outcome = match self.error.take() {
            Some(desc) => Some(Err(InputError::new(&desc))),
            None => value.map(Ok),
        };
        self.done.extend(outcome);
        self.reset();
    }

    /// Refuses the message at once, whatever its earlier error.
    fn refuse(&mut self, desc: &[u8]) {
        if !self.skipping {
            self.done.push_back(Err(InputError::new(desc)));
        }
        self.reset();
    }

    /// Reports an exceeded limit: older releases read on as if a message began here, later ones skip to the end of
    /// the message.
    fn exceed(&mut self, limit: &[u8]) {
        if self.texts < ErrorTexts::Placed {
            return self.refuse(limit);
        }
        if !self.skipping {
            self.done.push_back(Err(InputError::new(limit)));
            self.skipping = true;
            self.grammar.reset();
        }
    }

    fn reset(&mut self) {
        self.grammar.reset();
        self.braces = 0;
        self.brackets = 0;
        self.tokens = 0;
        self.token_bytes = 0;
        self.error = None;
        self.skipping = false;
    }

    fn limit(&self, kind: Kind, token: &[u8]) -> Option<&'static [u8]> {
        let depth = usize::try_from(self.braces + self.brackets).unwrap_or(0);
        if self.texts == ErrorTexts::One {
            return (depth > NESTING_MAX).then_some(b"Invalid JSON syntax");
        }
        if kind == Kind::TooLong || self.token_bytes + token.len() + 1 > TOKEN_MAX_BYTES {
            Some(b"JSON token size limit exceeded")
        } else if self.tokens + 1 > TOKENS_MAX {
            Some(b"JSON token count limit exceeded")
        } else if depth > NESTING_MAX {
            Some(b"JSON nesting depth limit exceeded")
        } else {
            None
        }
    }

    fn error_text(&self, error: &GrammarError) -> Vec<u8> {
        let placed = self.texts == ErrorTexts::Placed;
        let choose = |worded: &str, at: &str| if placed { at.into() } else { worded.into() };
        match error {
            GrammarError::Value => b"expecting value".to_vec(),
            GrammarError::Key => choose("expecting value", "expecting key"),
            GrammarError::KeyNotString => choose("key is not a string in object", "expecting key"),
            GrammarError::Colon => choose("missing : in object pair", "expecting ':'"),
            GrammarError::CommaOrEndOfObject => choose("expected separator in dict", "expected ',' or '}'"),
            GrammarError::CommaOrEndOfList => choose("expected separator in list", "expected ',' or ']'"),
            GrammarError::DuplicateKey => b"duplicate key".to_vec(),
            GrammarError::Keyword(word) => quoted(b"invalid keyword ", word),
            GrammarError::String(complaint) => complaint.clone(),
        }
    }

    fn parse_error(&self, error_text: &[u8], position: Position) -> Vec<u8> {
        let mut desc = match self.texts {
            ErrorTexts::One => return b"Invalid JSON syntax".to_vec(),
            ErrorTexts::Worded => Vec::new(),
            ErrorTexts::Placed => format!("{}:{}: ", position.line, position.column).into_bytes(),
        };
        desc.extend_from_slice(b"JSON parse error, ");
        desc.extend_from_slice(error_text);
        desc
    }
}

/// Returns `what 'token'`; a NUL ends the token, as in C.
fn quoted(what: &[u8], token: &[u8]) -> Vec<u8> {
    let token = token.split(|byte| *byte == 0).next().unwrap_or_default();
    [what, b"'", token, b"'"].concat()
}
