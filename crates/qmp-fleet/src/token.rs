//! A token of a subject: an escaped name of bounded length.
//!
//! Letters, digits, `_` and `-` stand for themselves; each other byte is `%` and two hexadecimal digits, so that `.`,
//! `*`, `>` and blanks of a name never act as those of NATS. The empty name is `_`, and the name `_` is `%5F`. A longer
//! token is cut, and ends with `~` and a hash of the whole name, so that names with the same beginning remain distinct.

use std::fmt::Write as _;

use ring::digest::{SHA256, digest};

/// The longest token of a subject, in bytes. Four of them and the prefix fit into the 4 KiB that a NATS server accepts
/// for a control line.
pub const TOKEN_MAX_BYTES: usize = 255;

/// Bytes of the hash at the end of a cut token.
const HASH_PREFIX: usize = 16;

/// The token of the empty name.
const EMPTY: &str = "_";

/// Begins the hash of a cut token; no escaped name has it.
const CUT: char = '~';

/// A token that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Token {
    /// The name.
    Whole(Box<str>),
    /// The beginning of a name that was too long, and a hash of it: a header has the name.
    Cut,
}

/// Errors of reading a token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// The token contains a byte that an escaped name does not have.
    #[error("the token {0:?} contains a character that has to be escaped")]
    Unescaped(Box<str>),
    /// `%` without two upper-case hexadecimal digits, or an escape that is not needed.
    #[error("the token {0:?} contains an invalid escape")]
    Escape(Box<str>),
    /// The bytes are not UTF-8.
    #[error("the token {0:?} is not UTF-8")]
    NotUtf8(Box<str>),
}

/// The token of `name`, and whether it was cut.
pub(crate) fn encode(name: &str) -> (String, bool) {
    if name.is_empty() {
        return (EMPTY.to_owned(), false);
    }
    if name == EMPTY {
        return ("%5F".to_owned(), false);
    }
    let mut token = String::with_capacity(name.len());
    for byte in name.bytes() {
        if is_plain(byte) {
            token.push(char::from(byte));
        } else {
            write!(token, "%{byte:02X}").expect("writes to memory");
        }
    }
    if token.len() <= TOKEN_MAX_BYTES {
        return (token, false);
    }
    let room = TOKEN_MAX_BYTES - 1 - 2 * HASH_PREFIX;
    // Not inside an escape.
    let end = (room - 2..=room)
        .rev()
        .find(|end| !token[..*end].ends_with('%') && !token[..*end - 1].ends_with('%'));
    token.truncate(end.unwrap_or(room - 2));
    token.push(CUT);
    for byte in &digest(&SHA256, name.as_bytes()).as_ref()[..HASH_PREFIX] {
        write!(token, "{byte:02x}").expect("writes to memory");
    }
    (token, true)
}

/// Reads a token.
pub(crate) fn decode(token: &str) -> Result<Token, TokenError> {
    if token == EMPTY {
        return Ok(Token::Whole("".into()));
    }
    if token.contains(CUT) {
        return Ok(Token::Cut);
    }
    let mut bytes = Vec::with_capacity(token.len());
    let mut rest = token.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let mut digit = || rest.next().and_then(hexadecimal);
            let (Some(high), Some(low)) = (digit(), digit()) else {
                return Err(TokenError::Escape(token.into()));
            };
            bytes.push(high << 4 | low);
        } else if is_plain(byte) {
            bytes.push(byte);
        } else {
            return Err(TokenError::Unescaped(token.into()));
        }
    }
    let name = String::from_utf8(bytes).map_err(|_| TokenError::NotUtf8(token.into()))?;
    // One name has one token.
    if encode(&name).0 != token {
        return Err(TokenError::Escape(token.into()));
    }
    Ok(Token::Whole(name.into()))
}

const fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
}

fn hexadecimal(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn token_of_name_is_escaped() {
        let cases = [
            ("plain", "web_1-a", "web_1-a"),
            ("dot", "web.1", "web%2E1"),
            ("wildcards and blank", "*> ", "%2A%3E%20"),
            ("percent", "100%", "100%25"),
            ("unicode", "ü", "%C3%BC"),
            ("mark of a cut", "a~b", "a%7Eb"),
            ("no name", "", "_"),
            ("name of one underscore", "_", "%5F"),
            ("two underscores", "__", "__"),
        ];
        for (case, name, expected) in cases {
            assert_eq!(encode(name), (expected.to_owned(), false), "{case}");
            assert_eq!(decode(expected), Ok(Token::Whole(name.into())), "{case}");
        }
    }

    #[test]
    fn invalid_token_is_refused() {
        let escape = |token: &str| Err(TokenError::Escape(token.into()));
        let cases = [
            ("a*b", Err(TokenError::Unescaped("a*b".into()))),
            ("", escape("")),
            ("a%2", escape("a%2")),
            ("a%2e", escape("a%2e")),
            ("%61", escape("%61")),
            ("%FF", Err(TokenError::NotUtf8("%FF".into()))),
        ];
        for (token, expected) in cases {
            assert_eq!(decode(token), expected, "{token}");
        }
    }

    #[test]
    fn long_name_is_cut_outside_an_escape() {
        for plain in 0..4 {
            let name = format!("{}{}", "a".repeat(plain), "é".repeat(200));
            let (token, is_cut) = encode(&name);
            let (beginning, hash) = token.split_once('~').expect("a hash");
            assert!(is_cut && token.len() <= TOKEN_MAX_BYTES && hash.len() == 32, "{token}");
            assert_eq!((beginning.len() - plain) % 3, 0, "{token}");
            assert_eq!(decode(&token), Ok(Token::Cut));
        }
        assert_ne!(encode(&"a".repeat(300)), encode(&"a".repeat(301)), "the hash is of the whole name");
        assert_eq!(encode(&"a".repeat(255)), ("a".repeat(255), false));
    }

    proptest! {
        /// Any name is one token of bounded length that NATS accepts, and is read back, or its token is marked as cut.
        #[test]
        fn any_name_is_read_back(name in "\\PC{0,100}|[a-z._%~ ]{0,300}") {
            let (token, is_cut) = encode(&name);
            prop_assert!(!token.is_empty() && token.len() <= TOKEN_MAX_BYTES);
            let is_allowed = |byte: u8| is_plain(byte) || byte == b'%' || byte == b'~';
            prop_assert!(token.bytes().all(is_allowed), "{}", token);
            let expected = if is_cut { Token::Cut } else { Token::Whole(name.into()) };
            prop_assert_eq!(decode(&token), Ok(expected));
        }

        /// A token that is accepted is the token of its name.
        #[test]
        fn accepted_token_is_the_only_one(token in "[a-c%0-9A-F_.]{1,12}") {
            if let Ok(Token::Whole(name)) = decode(&token) {
                prop_assert_eq!(encode(&name).0, token);
            }
        }
    }
}
