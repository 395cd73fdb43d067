//! Strings: finds their end, decodes and encodes them.

use std::borrow::Cow;

use super::word::{plain_run, word_at};

const INVALID_UTF8: &str = "invalid UTF-8 in a string";

/// The reason for the end of the walk over a string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StringEnd {
    /// The closing quote; the byte after it is at this index.
    Closed(usize),
    /// The bytes ended; continue from this index when there are more.
    Open(usize),
    /// The bytes at this index are invalid in a string.
    Invalid(usize, &'static str),
}

/// Walks over the inside of a string from `at`, which is the start of a character, to its closing quote.
#[inline]
pub(super) fn string_end(bytes: &[u8], mut at: usize) -> StringEnd {
    loop {
        while let Some(word) = word_at(bytes, at) {
            let plain = plain_run(word);
            at += plain;
            if plain < 8 {
                break;
            }
        }
        let width = match bytes.get(at) {
            None => return StringEnd::Open(at),
            Some(b'"') => return StringEnd::Closed(at + 1),
            Some(b'\\') => escape_width(&bytes[at..]),
            Some(0..=0x1f) => Err("control byte in a string"),
            Some(0x80..) => character_width(&bytes[at..]),
            Some(_) => Ok(Some(1)),
        };
        match width {
            Ok(Some(width)) => at += width,
            Ok(None) => return StringEnd::Open(at),
            Err(what) => return StringEnd::Invalid(at, what),
        }
    }
}

/// Returns the length of the escape sequence at the start of `bytes`; `None` if it is incomplete.
#[cold]
fn escape_width(bytes: &[u8]) -> Result<Option<usize>, &'static str> {
    match bytes.get(1) {
        None => Ok(None),
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(Some(2)),
        Some(b'u') => {
            let digits = &bytes[2..bytes.len().min(6)];
            match digits.iter().all(u8::is_ascii_hexdigit) {
                true if digits.len() == 4 => Ok(Some(6)),
                true => Ok(None),
                false => Err("escape \\u without four hexadecimal digits"),
            }
        }
        Some(_) => Err("unknown escape in a string"),
    }
}

/// Returns the length of the character at the start of `bytes`; `None` if it is incomplete.
#[cold]
fn character_width(bytes: &[u8]) -> Result<Option<usize>, &'static str> {
    let width = match bytes[0] {
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => return Err(INVALID_UTF8),
    };
    match std::str::from_utf8(&bytes[..bytes.len().min(width)]) {
        Ok(_) => Ok(Some(width)),
        Err(error) if error.error_len().is_none() => Ok(None),
        Err(_) => Err(INVALID_UTF8),
    }
}

/// Decodes the inside of a valid string (without its quotes) with escapes resolved.
///
/// Half a surrogate pair becomes U+FFFD: JSON can represent it, text cannot.
pub(crate) fn decode(inside: &str) -> Cow<'_, str> {
    if !inside.contains('\\') {
        return Cow::Borrowed(inside);
    }
    let mut text = String::with_capacity(inside.len());
    for piece in pieces(inside) {
        match piece {
            Piece::Text(plain) => text.push_str(plain),
            Piece::Character(character) => text.push(character),
            Piece::HalfPair(_) => text.push(char::REPLACEMENT_CHARACTER),
        }
    }
    Cow::Owned(text)
}

/// A piece of a decoded string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Piece<'a> {
    /// Text without escapes.
    Text(&'a str),
    /// One escape, or a pair of them.
    Character(char),
    /// Half a surrogate pair.
    HalfPair(u16),
}

/// Splits the inside of a valid string (without its quotes) into pieces.
pub(crate) fn pieces(inside: &str) -> impl Iterator<Item = Piece<'_>> {
    let mut rest = inside;
    std::iter::from_fn(move || {
        let (piece, after) = match rest.find('\\') {
            None if rest.is_empty() => return None,
            None => (Piece::Text(rest), ""),
            Some(0) => decode_escape(&rest[1..]),
            Some(at) => (Piece::Text(&rest[..at]), &rest[at..]),
        };
        rest = after;
        Some(piece)
    })
}

/// Splits the text after a backslash into the decoded piece and the rest.
fn decode_escape(escape: &str) -> (Piece<'_>, &str) {
    let mut rest = escape.chars();
    let character = match rest.next() {
        Some('b') => '\u{8}',
        Some('f') => '\u{c}',
        Some('n') => '\n',
        Some('r') => '\r',
        Some('t') => '\t',
        Some('u') => return decode_unicode(rest.as_str()),
        Some(itself) => itself,
        None => char::REPLACEMENT_CHARACTER,
    };
    (Piece::Character(character), rest.as_str())
}

/// Splits the text after `\u` into the decoded piece, of one or two escapes, and the rest.
fn decode_unicode(digits: &str) -> (Piece<'_>, &str) {
    let unit = |text: &str| text.get(..4).and_then(|digits| u16::from_str_radix(digits, 16).ok());
    let Some(first) = unit(digits) else { return (Piece::Character(char::REPLACEMENT_CHARACTER), digits) };
    let rest = &digits[4..];
    let second = rest.strip_prefix("\\u").and_then(unit);
    let mut characters = char::decode_utf16([first].into_iter().chain(second));
    match characters.next() {
        Some(Ok(character)) if character.len_utf16() == 2 => (Piece::Character(character), &rest[6..]),
        Some(Ok(character)) => (Piece::Character(character), rest),
        _ => (Piece::HalfPair(first), rest),
    }
}

/// Appends `text` as a JSON string, quotes included. Escapes only the characters that require it.
#[inline]
pub(crate) fn write_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let mut rest = text.as_bytes();
    while let Some(at) = first_to_escape(rest) {
        out.extend_from_slice(&rest[..at]);
        write_escape(out, rest[at]);
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

#[inline]
fn first_to_escape(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        while let Some(8) = word_at(bytes, at).map(plain_run) {
            at += 8;
        }
        // At most seven plain bytes precede a special or non-ASCII byte, or the end.
        match bytes.get(at)? {
            b'"' | b'\\' | 0..=0x1f => return Some(at),
            _ => at += 1,
        }
    }
}

fn write_escape(out: &mut Vec<u8>, byte: u8) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    match byte {
        b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
        b'\n' => out.extend_from_slice(b"\\n"),
        b'\r' => out.extend_from_slice(b"\\r"),
        b'\t' => out.extend_from_slice(b"\\t"),
        _ => {
            out.extend_from_slice(b"\\u00");
            out.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn string_end_is_found() {
        use StringEnd::{Closed, Invalid, Open};
        let cases: [(&str, &[u8], StringEnd); 17] = [
            ("empty", b"\"", Closed(1)),
            ("short", b"abc\" : 1", Closed(4)),
            ("longer than a word", b"0123456789abcdef\"", Closed(17)),
            ("escaped quote", b"a\\\"b\"", Closed(5)),
            ("escaped backslash at the end", b"a\\\\\"", Closed(4)),
            ("characters of two to four bytes", "é€😀\"".as_bytes(), Closed(10)),
            ("no end", b"0123456789", Open(10)),
            ("cut after the backslash", b"abc\\", Open(3)),
            ("cut within \\u", b"abc\\u12", Open(3)),
            ("cut within a character", b"abc\xf0\x9f\x98", Open(3)),
            ("unknown escape", b"a\\x\"", Invalid(1, "unknown escape in a string")),
            ("three digits", b"a\\u123\"", Invalid(1, "escape \\u without four hexadecimal digits")),
            ("line break", b"12345678a\n\"", Invalid(9, "control byte in a string")),
            ("overlong", b"\xc0\x80\"", Invalid(0, "invalid UTF-8 in a string")),
            ("surrogate", b"\xed\xa0\x80\"", Invalid(0, "invalid UTF-8 in a string")),
            ("cut and wrong", b"\xe2\x28", Invalid(0, "invalid UTF-8 in a string")),
            ("latin 1", b"caf\xe9\"", Invalid(3, "invalid UTF-8 in a string")),
        ];
        for (name, bytes, expected) in cases {
            assert_eq!(string_end(bytes, 0), expected, "{name}");
        }
    }

    #[test]
    fn escapes_are_decoded() {
        let cases = [
            ("plain", "STOP", "STOP"),
            ("short escapes", r#"\"\\\/\b\f\n\r\t"#, "\"\\/\u{8}\u{c}\n\r\t"),
            ("unicode", r"\u00e9\u20AC!", "é€!"),
            ("surrogate pair", r"<\ud83d\ude00>", "<😀>"),
            ("lone high surrogate", r"\ud83dx", "\u{fffd}x"),
            ("two high surrogates", r"\ud83d\ud83d\ude00", "\u{fffd}😀"),
            ("lone low surrogate", r"\ude00\u0041", "\u{fffd}A"),
            ("NUL", r"a\u0000b", "a\0b"),
        ];
        for (name, inside, expected) in cases {
            assert_eq!(decode(inside), expected, "{name}");
        }
        assert!(matches!(decode("STOP"), Cow::Borrowed(_)));
    }

    proptest! {
        /// Parsing a written text, here or by `serde_json`, gives the same text.
        #[test]
        fn written_text_is_read_back(text in ".*") {
            let mut out = Vec::new();
            write_string(&mut out, &text);
            prop_assert_eq!(string_end(&out, 1), StringEnd::Closed(out.len()));
            let inside = std::str::from_utf8(&out[1..out.len() - 1]).unwrap();
            prop_assert_eq!(decode(inside), text.as_str());
            prop_assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
        }
    }
}
