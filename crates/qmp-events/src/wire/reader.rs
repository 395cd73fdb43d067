//! Parses JSON straight into the types of the wire.
//!
//! The reader accepts exactly the valid JSON that fits the requested type; it does not distinguish the two kinds of
//! failure and reports no position, because the text is kept as a whole then. Rare parts, escapes and values of any
//! shape, are left to `serde_json`.

use std::borrow::Cow;

use serde_json::value::RawValue;

/// The error for a text that is not JSON, or does not fit the type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DecodeFailure;

/// A type that can be decoded from JSON.
pub(crate) trait Decode: Sized {
    /// Decodes one value.
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeFailure>;
}

/// Decodes a text that is exactly one value.
pub(crate) fn decode<T: Decode>(text: &str) -> Result<T, DecodeFailure> {
    let mut reader = Reader::new(text);
    let value = T::decode(&mut reader)?;
    reader.skip_space();
    if reader.at == text.len() { Ok(value) } else { Err(DecodeFailure) }
}

/// A text and the position in it.
pub(crate) struct Reader<'a> {
    text: &'a str,
    at: usize,
    /// The member that the next object may have although its type does not contain it: the tag of its union.
    tag: Option<&'static str>,
}

impl<'a> Reader<'a> {
    /// Creates a reader at the start of a text.
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text, at: 0, tag: None }
    }

    /// Reads the names of an object's members, one per call; the caller reads the value before the next call.
    ///
    /// `is_first` is true at the first call, which reads the opening brace too. Returns `None` at the closing one.
    #[inline]
    pub(crate) fn next_name(&mut self, is_first: &mut bool) -> Result<Option<Cow<'a, str>>, DecodeFailure> {
        if !self.next_in(b'{', b'}', is_first)? {
            return Ok(None);
        }
        self.skip_space();
        let name = self.string()?;
        self.skip_space();
        self.expect(b':')?;
        Ok(Some(name))
    }

    /// Reads the value of the member `tag` of an object, and returns to the object's start, so that its branch can
    /// be read next.
    pub(crate) fn tag(&mut self, tag: &'static str) -> Result<Cow<'a, str>, DecodeFailure> {
        let start = self.at;
        let mut is_first = true;
        while let Some(name) = self.next_name(&mut is_first)? {
            if name == tag {
                let value = self.string()?;
                self.at = start;
                self.tag = Some(tag);
                return Ok(value);
            }
            self.skip()?;
        }
        Err(DecodeFailure)
    }

    /// Returns the tag for the first object that calls this.
    #[inline]
    pub(crate) fn take_tag(&mut self) -> Option<&'static str> {
        self.tag.take()
    }

    /// Reads a string; borrowed unless it has escapes.
    #[inline]
    pub(crate) fn string(&mut self) -> Result<Cow<'a, str>, DecodeFailure> {
        self.skip_space();
        self.expect(b'"')?;
        let start = self.at;
        self.at += plain_len(&self.text.as_bytes()[start..]);
        match self.peek() {
            Some(b'"') => {
                self.at += 1;
                Ok(Cow::Borrowed(&self.text[start..self.at - 1]))
            }
            Some(b'\\') => self.escaped_string(start),
            _ => Err(DecodeFailure),
        }
    }

    /// Reads any value as its text.
    pub(crate) fn any(&mut self) -> Result<&'a RawValue, DecodeFailure> {
        let rest = &self.text[self.at..];
        let mut values = serde_json::Deserializer::from_str(rest).into_iter::<&RawValue>();
        let value = values.next().and_then(Result::ok).ok_or(DecodeFailure)?;
        self.at += values.byte_offset();
        Ok(value)
    }

    /// Skips any value.
    pub(crate) fn skip(&mut self) -> Result<(), DecodeFailure> {
        self.skip_space();
        let start = self.at;
        let is_scalar = match self.peek() {
            Some(b'"') => self.string().is_ok(),
            Some(b'-' | b'0'..=b'9') => self.integer().is_ok(),
            _ => false,
        };
        if !is_scalar {
            self.at = start;
            self.any()?;
        }
        Ok(())
    }

    /// Moves to the next member or element; returns `false` at the end.
    #[inline]
    fn next_in(&mut self, open: u8, close: u8, is_first: &mut bool) -> Result<bool, DecodeFailure> {
        self.skip_space();
        if std::mem::take(is_first) {
            self.expect(open)?;
            self.skip_space();
            if self.peek() != Some(close) {
                return Ok(true);
            }
        } else if self.peek() == Some(b',') {
            self.at += 1;
            return Ok(true);
        }
        self.expect(close)?;
        Ok(false)
    }

    /// Continues to read a string after its first backslash.
    fn escaped_string(&mut self, start: usize) -> Result<Cow<'a, str>, DecodeFailure> {
        let bytes = self.text.as_bytes();
        while let Some(byte) = bytes.get(self.at) {
            self.at += match byte {
                b'\\' => 2,
                _ => 1,
            };
            if *byte == b'"' {
                let quoted = &self.text[start - 1..self.at];
                return serde_json::from_str(quoted).map(Cow::Owned).map_err(|_| DecodeFailure);
            }
        }
        Err(DecodeFailure)
    }

    /// Reads a number without fraction and exponent: its sign and its absolute value.
    #[inline]
    fn integer(&mut self) -> Result<(bool, u64), DecodeFailure> {
        self.skip_space();
        let is_negative = self.peek() == Some(b'-');
        self.at += usize::from(is_negative);
        let start = self.at;
        let mut size = 0u64;
        while let Some(digit) = self.peek().filter(u8::is_ascii_digit) {
            size = size
                .checked_mul(10)
                .and_then(|size| size.checked_add(u64::from(digit - b'0')))
                .ok_or(DecodeFailure)?;
            self.at += 1;
        }
        let digits = &self.text.as_bytes()[start..self.at];
        let is_json = !digits.is_empty() && (digits.len() == 1 || digits[0] != b'0');
        let continues = matches!(self.peek(), Some(b'.' | b'e' | b'E'));
        // No integer type can represent minus zero.
        if is_json && !continues && !(is_negative && size == 0) {
            Ok((is_negative, size))
        } else {
            Err(DecodeFailure)
        }
    }

    #[inline]
    fn skip_space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.at += 1;
        }
    }

    #[inline]
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    #[inline]
    fn expect(&mut self, byte: u8) -> Result<(), DecodeFailure> {
        if self.peek() != Some(byte) {
            return Err(DecodeFailure);
        }
        self.at += 1;
        Ok(())
    }

    fn keyword(&mut self, keyword: &str) -> bool {
        self.skip_space();
        let is_next = self.text.as_bytes()[self.at..].starts_with(keyword.as_bytes());
        self.at += if is_next { keyword.len() } else { 0 };
        is_next
    }
}

/// Returns the number of bytes before a quote, a backslash or a control character.
///
/// Checks eight at a time: most names and values end in the first or second step, and a loop over bytes would
/// mispredict the branch at the end of each.
#[inline]
fn plain_len(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::from_ne_bytes([0x01; 8]);
    const HIGHS: u64 = u64::from_ne_bytes([0x80; 8]);
    // Sets the high bit of each byte below `limit`; bytes above the lowest one set may be false positives.
    let below = |word: u64, limit: u8| word.wrapping_sub(ONES * u64::from(limit)) & !word & HIGHS;
    let mut len = 0;
    while let Some(word) = bytes[len..].first_chunk() {
        let word = u64::from_le_bytes(*word);
        let quotes = below(word ^ (ONES * u64::from(b'"')), 1);
        let backslashes = below(word ^ (ONES * u64::from(b'\\')), 1);
        let found = quotes | backslashes | below(word, 0x20);
        if found != 0 {
            return len + (found.trailing_zeros() / 8) as usize;
        }
        len += 8;
    }
    let is_plain = |byte: &&u8| !matches!(byte, b'"' | b'\\' | ..0x20);
    len + bytes[len..].iter().take_while(is_plain).count()
}

impl Decode for Box<str> {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeFailure> {
        reader.string().map(Into::into)
    }
}

impl Decode for bool {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeFailure> {
        match (reader.keyword("true"), reader.keyword("false")) {
            (true, false) => Ok(true),
            (false, true) => Ok(false),
            _ => Err(DecodeFailure),
        }
    }
}

impl Decode for () {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeFailure> {
        if reader.keyword("null") { Ok(()) } else { Err(DecodeFailure) }
    }
}

impl Decode for f64 {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeFailure> {
        serde_json::from_str(reader.any()?.get()).map_err(|_| DecodeFailure)
    }
}

impl<T: Decode> Decode for Vec<T> {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeFailure> {
        let mut elements = Vec::new();
        let mut is_first = true;
        while reader.next_in(b'[', b']', &mut is_first)? {
            elements.push(T::decode(reader)?);
        }
        Ok(elements)
    }
}

macro_rules! decode_integers {
    ($($ty:ty)*) => {
        $(impl Decode for $ty {
            fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeFailure> {
                let (is_negative, size) = reader.integer()?;
                let value = if is_negative { -i128::from(size) } else { i128::from(size) };
                value.try_into().map_err(|_| DecodeFailure)
            }
        })*
    };
}

decode_integers!(i8 i16 i32 i64 u8 u16 u32 u64);

/// Implements `Deserialize` of serde for a type that implements `Decode`, for use with `serde_json`.
macro_rules! deserialize_by_text {
    ($name:ident) => {
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = Box::<serde_json::value::RawValue>::deserialize(deserializer)?;
                $crate::wire::reader::decode(text.get()).map_err(|$crate::wire::reader::DecodeFailure| {
                    serde::de::Error::custom(concat!("does not fit ", stringify!($name)))
                })
            }
        }
    };
}
pub(crate) use deserialize_by_text;

#[cfg(test)]
mod tests;
