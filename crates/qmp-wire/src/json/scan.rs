//! The scan: validates an object byte by byte, and reports the members of the outermost object.
//!
//! All of its state is data, so that it can pause at the end of the bytes and continue there, without reading any
//! byte twice: a message in a thousand pieces costs the same as a message in one. Each state calls the one that
//! usually follows, so that well-formed input runs straight through; [`Scan::step`] only dispatches at the other
//! transitions.

use super::nesting::Nesting;
use super::number::{Number, NumberStep};
use super::string::{StringEnd, string_end};

/// A range of bytes, counted from the start of the object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: usize,
    pub(crate) end: usize,
}

impl Span {
    /// Returns the bytes of the span in the scanned text.
    #[inline]
    pub(crate) fn of(self, text: &str) -> &str {
        text.get(self.start..self.end).expect("a span begins and ends at a token")
    }
}

/// The progress of a scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Past one member of the outermost object.
    Member {
        /// Between the quotes of its name.
        name: Span,
        /// Its value.
        value: Span,
    },
    /// Past the whole object, which ends before this index.
    End(usize),
    /// To the end of the bytes, within the object.
    Paused,
}

/// The error of a scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Invalid JSON at this index.
    Invalid { at: usize, what: &'static str },
    /// More levels than [`NESTING_MAX`](super::NESTING_MAX).
    TooDeep,
}

/// A scan of one object.
#[derive(Clone, Debug)]
pub(crate) struct Scan {
    at: usize,
    state: State,
    nesting: Nesting,
    name: Span,
    value_start: usize,
}

/// The token expected at `at`.
#[derive(Clone, Copy, Debug)]
enum State {
    /// A member's name or the object's end: after `{`.
    FirstName,
    /// A member's name: after `,` in an object.
    Name,
    /// The rest of a name.
    InName,
    /// The colon after a name.
    Colon,
    /// An element or the array's end: after `[`.
    FirstElement,
    /// A value.
    Value,
    /// The rest of a string that is a value.
    InString,
    /// The rest of a number.
    InNumber(Number),
    /// A comma or the end of the container: after a value.
    Next,
}

/// The reason to leave the walk from state to state.
enum Turn {
    Paused,
    Member,
    End,
    Invalid(&'static str),
    TooDeep,
}

impl Scan {
    /// Creates a scan of an object whose `{` is at index 0.
    pub(crate) fn object() -> Self {
        Self {
            at: 1,
            state: State::FirstName,
            nesting: Nesting::one_object(),
            name: Span::default(),
            value_start: 0,
        }
    }

    /// Restarts with another object.
    #[inline]
    pub(crate) fn restart(&mut self) {
        self.at = 1;
        self.state = State::FirstName;
        self.nesting.restart();
    }

    /// Continues in `bytes`, which start with the object and may have grown since the last call.
    ///
    /// # Errors
    ///
    /// [`Stop`], at the first byte that no continuation can make valid.
    #[inline]
    pub(crate) fn step(&mut self, bytes: &[u8]) -> Result<Step, Stop> {
        loop {
            let turn = match self.state {
                State::FirstName => self.first_name(bytes),
                State::Name => self.name(bytes),
                State::InName => self.in_name(bytes),
                State::Colon => self.colon(bytes),
                State::FirstElement => self.first_element(bytes),
                State::Value => self.value(bytes),
                State::InString => self.in_string(bytes),
                State::InNumber(number) => self.in_number(bytes, number),
                State::Next => self.next(bytes),
            };
            match turn {
                Ok(()) => {}
                Err(Turn::Member) => {
                    let value = Span { start: self.value_start, end: self.at };
                    return Ok(Step::Member { name: self.name, value });
                }
                Err(Turn::End) => return Ok(Step::End(self.at)),
                Err(Turn::Paused) => return Ok(Step::Paused),
                Err(Turn::Invalid(what)) => return Err(Stop::Invalid { at: self.at, what }),
                Err(Turn::TooDeep) => return Err(Stop::TooDeep),
            }
        }
    }

    #[inline]
    fn first_name(&mut self, bytes: &[u8]) -> Result<(), Turn> {
        if self.token(bytes)? == b'}' {
            return self.close();
        }
        self.name_or(bytes, "expected a name or '}'")
    }

    #[inline]
    fn name(&mut self, bytes: &[u8]) -> Result<(), Turn> {
        self.name_or(bytes, "expected a name")
    }

    #[inline]
    fn name_or(&mut self, bytes: &[u8], otherwise: &'static str) -> Result<(), Turn> {
        if self.token(bytes)? != b'"' {
            return Err(Turn::Invalid(otherwise));
        }
        self.at += 1;
        if self.nesting.depth() == 1 {
            self.name.start = self.at;
        }
        self.state = State::InName;
        self.in_name(bytes)
    }

    #[inline]
    fn in_name(&mut self, bytes: &[u8]) -> Result<(), Turn> {
        self.string(bytes)?;
        if self.nesting.depth() == 1 {
            self.name.end = self.at - 1;
        }
        self.state = State::Colon;
        self.colon(bytes)
    }

    #[inline]
    fn colon(&mut self, bytes: &[u8]) -> Result<(), Turn> {
        if self.token(bytes)? != b':' {
            return Err(Turn::Invalid("expected ':'"));
        }
        self.at += 1;
        self.state = State::Value;
        self.value(bytes)
    }

    #[inline]
    fn first_element(&mut self, bytes: &[u8]) -> Result<(), Turn> {
        if self.token(bytes)? == b']' {
            return self.close();
        }
        self.state = State::Value;
        Ok(())
    }

    #[inline]
    fn value(&mut self, bytes: &[u8]) -> Result<(), Turn> {
        let byte = self.token(bytes)?;
        if self.nesting.depth() == 1 {
            self.value_start = self.at;
        }
        match byte {
            b'"' => {
                self.at += 1;
                self.state = State::InString;
                self.in_string(bytes)
            }
            b'{' => self.open(true, State::FirstName),
            b'[' => self.open(false, State::FirstElement),
            b't' => self.literal(bytes, b"true"),
            b'f' => self.literal(bytes, b"false"),
            b'n' => self.literal(bytes, b"null"),
            _ => {
                let number = Number::first(byte).ok_or(Turn::Invalid("expected a value"))?;
                self.at += 1;
                self.in_number(bytes, number)
            }
        }
    }

    #[inline]
    fn in_string(&mut self, bytes: &[u8]) -> Result<(), Turn> {
        self.string(bytes)?;
        self.value_ended()
    }

    #[inline]
    fn in_number(&mut self, bytes: &[u8], mut number: Number) -> Result<(), Turn> {
        while let Some(byte) = bytes.get(self.at) {
            match number.next(*byte) {
                NumberStep::More(longer) => number = longer,
                NumberStep::End => return self.value_ended(),
                NumberStep::DigitMissing => return Err(Turn::Invalid("expected a digit")),
            }
            self.at += 1;
        }
        self.state = State::InNumber(number);
        Err(Turn::Paused)
    }

    #[inline]
    fn next(&mut self, bytes: &[u8]) -> Result<(), Turn> {
        match (self.token(bytes)?, self.nesting.in_object()) {
            (b',', true) => {
                self.at += 1;
                self.state = State::Name;
                self.name(bytes)
            }
            (b',', false) => {
                self.at += 1;
                self.state = State::Value;
                Ok(())
            }
            (b'}', true) | (b']', false) => self.close(),
            (_, true) => Err(Turn::Invalid("expected ',' or '}'")),
            (_, false) => Err(Turn::Invalid("expected ',' or ']'")),
        }
    }

    #[inline]
    fn open(&mut self, object: bool, first: State) -> Result<(), Turn> {
        if !self.nesting.open(object) {
            return Err(Turn::TooDeep);
        }
        self.at += 1;
        self.state = first;
        Ok(())
    }

    #[inline]
    fn close(&mut self) -> Result<(), Turn> {
        self.at += 1;
        self.nesting.close();
        if self.nesting.depth() == 0 {
            return Err(Turn::End);
        }
        self.value_ended()
    }

    #[inline]
    fn value_ended(&mut self) -> Result<(), Turn> {
        self.state = State::Next;
        if self.nesting.depth() == 1 { Err(Turn::Member) } else { Ok(()) }
    }

    /// Skips `true`, `false` or `null`; an incomplete one is read again from its start.
    #[inline]
    fn literal(&mut self, bytes: &[u8], literal: &'static [u8]) -> Result<(), Turn> {
        let rest = &bytes[self.at..];
        if rest.starts_with(literal) {
            self.at += literal.len();
            return self.value_ended();
        }
        Err(if literal.starts_with(rest) { Turn::Paused } else { Turn::Invalid("expected a value") })
    }

    /// Moves past the closing quote.
    #[inline]
    fn string(&mut self, bytes: &[u8]) -> Result<(), Turn> {
        let (at, turn) = match string_end(bytes, self.at) {
            StringEnd::Closed(at) => (at, Ok(())),
            StringEnd::Open(at) => (at, Err(Turn::Paused)),
            StringEnd::Invalid(at, what) => (at, Err(Turn::Invalid(what))),
        };
        self.at = at;
        turn
    }

    /// Moves to the next byte that is not white space.
    #[inline]
    fn token(&mut self, bytes: &[u8]) -> Result<u8, Turn> {
        while let Some(byte) = bytes.get(self.at) {
            if !is_white_space(*byte) {
                return Ok(*byte);
            }
            self.at += 1;
        }
        Err(Turn::Paused)
    }
}

/// Returns whether `byte` is white space between tokens.
#[inline]
pub(crate) fn is_white_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// Returns `bytes` without the white space around them.
pub(crate) fn trim_white_space(mut bytes: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = bytes
        && is_white_space(*first)
    {
        bytes = rest;
    }
    while let [rest @ .., last] = bytes
        && is_white_space(*last)
    {
        bytes = rest;
    }
    bytes
}
