//! Strings: decodes the text between the quotes, and reports errors in it.

use super::utf8;

/// Decodes a string token, quotes included.
///
/// # Errors
///
/// The error text without its prefix; as bytes, since it may quote invalid input.
pub(super) fn read(token: &[u8]) -> Result<String, Vec<u8>> {
    // The closing quote stays: an error about the bytes before it quotes it, too.
    let mut rest = &token[1..];
    let mut text = String::with_capacity(rest.len());
    while rest.len() > 1 {
        let (character, used) = if rest[0] == b'\\' { escape(rest)? } else { plain(rest)? };
        text.push(character);
        rest = &rest[used..];
    }
    Ok(text)
}

fn plain(rest: &[u8]) -> Result<(char, usize), Vec<u8>> {
    match utf8::decode(rest) {
        (Some(character), used) => Ok((character, used)),
        (None, _) => Err(b"invalid UTF-8 sequence in string".to_vec()),
    }
}

fn escape(rest: &[u8]) -> Result<(char, usize), Vec<u8>> {
    // The lexer ends no string after a backslash: there is a next byte.
    Ok(match rest[1] {
        quoted @ (b'"' | b'\'' | b'\\' | b'/') => (char::from(quoted), 2),
        b'b' => ('\u{8}', 2),
        b'f' => ('\u{C}', 2),
        b'n' => ('\n', 2),
        b'r' => ('\r', 2),
        b't' => ('\t', 2),
        b'u' => return unicode(rest),
        _ => return Err(b"invalid escape sequence in string".to_vec()),
    })
}

/// Decodes `\uXXXX`, or two of them that form one character.
fn unicode(rest: &[u8]) -> Result<(char, usize), Vec<u8>> {
    let first = hex(&rest[2..]);
    let leading = first.filter(|code| (0xD800..0xDC00).contains(code));
    let (code, used) = match leading {
        Some(leading) if rest[6..].starts_with(b"\\u") => {
            let trailing = hex(&rest[8..]).filter(|code| (0xDC00..0xE000).contains(code));
            (trailing.map(|trailing| 0x1_0000 + ((leading & 0x3FF) << 10) + (trailing & 0x3FF)), 12)
        }
        _ => (first, 6),
    };
    match code.filter(|code| utf8::is_character(*code)).and_then(char::from_u32) {
        Some(character) => Ok((character, used)),
        None => Err(refused(rest)),
    }
}

fn refused(rest: &[u8]) -> Vec<u8> {
    let mut complaint = rest[..rest.len().min(6)].to_vec();
    complaint.extend_from_slice(b" is not a valid Unicode character");
    complaint
}

fn hex(digits: &[u8]) -> Option<u32> {
    digits.get(..4)?.iter().try_fold(0, |code, digit| Some(code << 4 | char::from(*digit).to_digit(16)?))
}
