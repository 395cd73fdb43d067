//! Modified UTF-8 as QEMU reads it: U+0000 as C0 80, no surrogates, no noncharacters, nothing overlong.

/// Returns the first character of `bytes` and its length; `None` and the number of bytes to skip if it is invalid.
///
/// `bytes` must not be empty. An invalid sequence is skipped up to the byte that breaks it.
pub(super) fn decode(bytes: &[u8]) -> (Option<char>, usize) {
    let first = bytes[0];
    let length = match first {
        0x00 | 0x80..=0xBF | 0xFE | 0xFF => return (None, 1),
        0x01..=0x7F => return (Some(char::from(first)), 1),
        0xC0..=0xDF => 2,
        0xE0..=0xEF => 3,
        0xF0..=0xF7 => 4,
        0xF8..=0xFB => 5,
        0xFC..=0xFD => 6,
    };
    let mut code = u32::from(first) & (0x7F >> length);
    for index in 1..length {
        match bytes.get(index) {
            Some(byte @ 0x80..=0xBF) => code = code << 6 | u32::from(byte & 0x3F),
            _ => return (None, index),
        }
    }
    let smallest = [0x80, 0x800, 0x1_0000, 0x20_0000, 0x400_0000][length - 2];
    let overlong = code < smallest && !(code == 0 && length == 2);
    let character = char::from_u32(code).filter(|_| !overlong && is_character(code));
    (character, length)
}

/// Returns whether a code point is valid in a string: noncharacters are not.
pub(super) fn is_character(code: u32) -> bool {
    char::from_u32(code).is_some() && !(0xFDD0..=0xFDEF).contains(&code) && code & 0xFFFE != 0xFFFE
}

/// Returns the text that QEMU prints for `bytes`: invalid sequences become U+FFFD.
pub(super) fn lossy(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    let mut rest = bytes;
    while !rest.is_empty() {
        let (character, used) = decode(rest);
        text.push(character.unwrap_or(char::REPLACEMENT_CHARACTER));
        rest = &rest[used..];
    }
    text
}
