//! The grammar of numbers, byte by byte, so that a number may be cut anywhere.

/// The state within a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Number {
    /// The minus sign: a digit must follow.
    Minus,
    /// A leading zero: no digit may follow.
    Zero,
    /// Digits of the integer part.
    Integer,
    /// The decimal point: a digit must follow.
    Point,
    /// Digits after the point.
    Fraction,
    /// The `e`: a sign or a digit must follow.
    Exponent,
    /// The exponent's sign: a digit must follow.
    ExponentSign,
    /// Digits of the exponent.
    ExponentDigits,
}

/// The effect of a byte on a number.
pub(super) enum NumberStep {
    /// It belongs to the number.
    More(Number),
    /// The number ended before it.
    End,
    /// A digit is missing before it.
    DigitMissing,
}

impl Number {
    /// Returns the state after a number's first byte; `None` if no number starts with it.
    #[inline]
    pub(super) fn first(byte: u8) -> Option<Self> {
        match byte {
            b'-' => Some(Self::Minus),
            b'0' => Some(Self::Zero),
            b'1'..=b'9' => Some(Self::Integer),
            _ => None,
        }
    }

    /// Returns the state after one more byte.
    #[inline]
    pub(super) fn next(self, byte: u8) -> NumberStep {
        use NumberStep::{DigitMissing, End, More};
        match (self, byte) {
            (Self::Minus, b'0') => More(Self::Zero),
            (Self::Minus, b'1'..=b'9') | (Self::Integer, b'0'..=b'9') => More(Self::Integer),
            (Self::Zero | Self::Integer, b'.') => More(Self::Point),
            (Self::Zero | Self::Integer | Self::Fraction, b'e' | b'E') => More(Self::Exponent),
            (Self::Point | Self::Fraction, b'0'..=b'9') => More(Self::Fraction),
            (Self::Exponent, b'+' | b'-') => More(Self::ExponentSign),
            (Self::Exponent | Self::ExponentSign | Self::ExponentDigits, b'0'..=b'9') => {
                More(Self::ExponentDigits)
            }
            (Self::Minus | Self::Point | Self::Exponent | Self::ExponentSign, _) => DigitMissing,
            (Self::Zero | Self::Integer | Self::Fraction | Self::ExponentDigits, _) => End,
        }
    }
}
