//! libvirt's words for its numbers. A number without a word stays a number.

use std::borrow::Cow;

/// Returns the word of a number, or the number itself.
pub(crate) fn word(words: &[&'static str], number: i32) -> Cow<'static, str> {
    let known = usize::try_from(number).ok().and_then(|number| words.get(number));
    known.map_or_else(|| number.to_string().into(), |word| (*word).into())
}
