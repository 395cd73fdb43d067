//! Splits bytes into tokens.
//!
//! Some tokens (numbers, keywords) end only where the next one begins: their last byte is followed by a byte of
//! something else. After a byte that no token can have here, the lexer skips to a structural character, a control
//! byte other than tab, or a byte that UTF-8 never has.
//!
//! Source: behaviour of QEMU 7.2 and 11.1.

/// The longest token, in bytes.
///
/// Source: QEMU's limit for a token and for all tokens of a message, 64 MiB.
pub(super) const TOKEN_MAX_BYTES: usize = 64 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// One of `{ } [ ] : ,`
    Structural(u8),
    Integer,
    Float,
    /// Lower-case letters.
    Keyword,
    /// With its quotes.
    String,
    /// Discarded bytes, up to and including the byte that no token can have.
    Stray,
    /// Longer than [`TOKEN_MAX_BYTES`].
    TooLong,
}

/// The position at which a token starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) line: u64,
    pub(super) column: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Start,
    Recovery,
    String(u8),
    Escape(u8),
    Keyword,
    Sign,
    Zero,
    Digits,
    Point,
    Fraction,
    Exponent,
    ExponentSign,
    ExponentDigits,
}

/// The effect of a byte on the current token.
enum Step {
    /// It continues the token.
    Go(State),
    /// It completes the token.
    End(Kind),
    /// The token ended before it.
    EndBefore(Kind),
    /// It is skipped, outside any token.
    Skip(State),
    /// Skipping ended before it.
    Resume,
}

#[derive(Debug)]
pub(super) struct Lexer {
    state: State,
    token: Vec<u8>,
    start: Position,
    position: Position,
}

impl Lexer {
    pub(super) fn new() -> Self {
        let position = Position { line: 1, column: 0 };
        Self { state: State::Start, token: Vec::new(), start: position, position }
    }

    /// Continues the count of positions from here.
    pub(super) fn move_to(&mut self, position: Position) {
        self.position = position;
    }

    /// Returns the position of the next byte, unless a token is incomplete.
    pub(super) fn position_between_tokens(&self) -> Option<Position> {
        (self.state == State::Start && self.token.is_empty()).then_some(self.position)
    }

    /// Processes one byte; calls `found` with each token that it completes (none, one or two) and the token's
    /// start.
    pub(super) fn feed(&mut self, byte: u8, mut found: impl FnMut(Kind, &[u8], Position)) {
        self.position.column += 1;
        let mut position = self.position;
        loop {
            if self.token.is_empty() {
                self.start = position;
            }
            match step(self.state, byte) {
                Step::Go(state) => {
                    self.token.push(byte);
                    self.state = state;
                    if self.token.len() > TOKEN_MAX_BYTES {
                        self.finish(Kind::TooLong, &mut found);
                    }
                    break;
                }
                Step::End(kind) => {
                    self.token.push(byte);
                    self.finish(kind, &mut found);
                    break;
                }
                Step::Skip(state) => {
                    self.state = state;
                    break;
                }
                Step::EndBefore(kind) => self.finish(kind, &mut found),
                Step::Resume => self.state = State::Start,
            }
            // QEMU counts a byte twice if it ended a token before it: the token that it begins is reported one
            // column late.
            position.column = self.position.column + 1;
        }
        if byte == b'\n' {
            self.position = Position { line: self.position.line + 1, column: 0 };
        }
    }

    fn finish(&mut self, kind: Kind, found: &mut impl FnMut(Kind, &[u8], Position)) {
        self.state = if kind == Kind::Stray { State::Recovery } else { State::Start };
        found(kind, &self.token, self.start);
        self.token.clear();
        // A token of megabytes is rare; an idle connection should hold little memory.
        self.token.shrink_to(1024);
    }
}

fn step(state: State, byte: u8) -> Step {
    use State::{
        Digits, Escape, Exponent, ExponentDigits, ExponentSign, Fraction, Keyword, Point, Recovery, Sign,
        Start, String, Zero,
    };
    use Step::{End, EndBefore, Go, Resume, Skip};
    match (state, byte) {
        (Start, b' ' | b'\t' | b'\r' | b'\n') => Skip(Start),
        (Start, b'{' | b'}' | b'[' | b']' | b':' | b',') => End(Kind::Structural(byte)),
        (Start, b'"' | b'\'') => Go(String(byte)),
        (Start, b'a'..=b'z') | (Keyword, b'a'..=b'z') => Go(Keyword),
        (Start, b'-') => Go(Sign),
        (Start | Sign, b'0') => Go(Zero),
        (Start | Sign, b'1'..=b'9') | (Digits, b'0'..=b'9') => Go(Digits),

        (Recovery, b'{' | b'}' | b'[' | b']' | b':' | b',') => Resume,
        (Recovery, b'\t') => Skip(Recovery),
        (Recovery, 0x00..=0x1F | 0xFE | 0xFF) => Resume,
        (Recovery, _) => Skip(Recovery),

        (String(quote), _) if byte == quote => End(Kind::String),
        (String(quote), b'\\') => Go(Escape(quote)),
        (String(quote) | Escape(quote), 0x20..=0xFD) => Go(String(quote)),

        (Zero | Digits, b'.') => Go(Point),
        (Point | Fraction, b'0'..=b'9') => Go(Fraction),
        (Digits | Fraction, b'e' | b'E') => Go(Exponent),
        (Exponent, b'+' | b'-') => Go(ExponentSign),
        (Exponent | ExponentSign | ExponentDigits, b'0'..=b'9') => Go(ExponentDigits),

        (Zero, b'0'..=b'9') => End(Kind::Stray),
        (Zero | Digits, _) => EndBefore(Kind::Integer),
        (Fraction | ExponentDigits, _) => EndBefore(Kind::Float),
        (Keyword, _) => EndBefore(Kind::Keyword),
        (Start | Sign | Point | Exponent | ExponentSign | String(_) | Escape(_), _) => End(Kind::Stray),
    }
}
