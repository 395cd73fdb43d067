//! libvirt's words for its numbers, and its texts. A number without a word stays a number.

use std::borrow::Cow;

/// Returns the word of a number, or the number itself.
pub(crate) fn word(words: &[&'static str], number: i32) -> Cow<'static, str> {
    let known = usize::try_from(number).ok().and_then(|number| words.get(number));
    known.map_or_else(|| number.to_string().into(), |word| (*word).into())
}

/// Returns the beginning of a text of the daemon, `max_bytes` at most.
pub(crate) fn cut(text: Box<str>, max_bytes: usize) -> Box<str> {
    if text.len() <= max_bytes {
        return text;
    }
    let end = (0..=max_bytes).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    text[..end].into()
}
