//! Names of events: bounded in length, and reversible where a name is shortened.
//!
//! The name is text of the peer and becomes a key of tables, counters and filters. A name of more than
//! [`EVENT_NAME_MAX_BYTES`] bytes is cut, and half a surrogate pair (which JSON can represent but text cannot)
//! becomes U+FFFD. In both cases `~` and a hash of the whole name follow, so that different names stay different,
//! and the server's JSON string is kept with it, byte for byte.

use std::borrow::Cow;

use crate::json::{Piece, decode, pieces, write_string};

/// Maximum length of an event name, in bytes; a longer one is cut, with the whole name kept in `sent`. The longest
/// name of QEMU has 29 bytes. The catalogue has the same limit.
pub const EVENT_NAME_MAX_BYTES: usize = 256;

/// Length of the suffix of a shortened name: `~` and 16 hexadecimal digits.
const SUFFIX_LEN: usize = 17;

/// The name of an event, of at most [`EVENT_NAME_MAX_BYTES`] bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventName<'a> {
    /// The name.
    pub name: Cow<'a, str>,
    /// The whole name as a JSON string, byte for byte; `None` if `name` is complete.
    pub sent: Option<Cow<'a, str>>,
}

impl<'a> EventName<'a> {
    /// Reads a name from its JSON string; `None` if `json` is not a string. It must be valid JSON.
    #[inline]
    #[must_use]
    pub fn from_json(json: &'a str) -> Option<Self> {
        read(json).map(|(name, sent)| Self { name, sent: sent.map(Cow::Borrowed) })
    }

    /// Creates a name from text.
    #[must_use]
    pub fn from_text(text: Cow<'a, str>) -> Self {
        if text.len() <= EVENT_NAME_MAX_BYTES {
            return Self { name: text, sent: None };
        }
        let mut json = Vec::with_capacity(text.len() + 2);
        write_string(&mut json, &text);
        let json = String::from_utf8(json).expect("text is written as text");
        Self { name: shortened(&json[1..json.len() - 1]).into(), sent: Some(json.into()) }
    }

    /// Returns whether a name has the form of a shortened one: only such a name can have the whole name in `sent`.
    #[must_use]
    pub fn may_be_shortened(name: &str) -> bool {
        let end = name.len().checked_sub(SUFFIX_LEN).map(|start| &name.as_bytes()[start..]);
        end.is_some_and(|end| end[0] == b'~' && end[1..].iter().all(u8::is_ascii_hexdigit))
    }

    /// Decodes the whole name from its JSON string. Half a surrogate pair becomes U+FFFD.
    #[must_use]
    pub fn whole(sent: &str) -> Cow<'_, str> {
        decode(sent.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(sent))
    }
}

/// Decodes a JSON string: the name, and the string itself if the name is shortened.
#[inline]
pub(crate) fn read(json: &str) -> Option<(Cow<'_, str>, Option<&str>)> {
    let inside = json.strip_prefix('"')?.strip_suffix('"')?;
    Some(if is_complete(inside) { (decode(inside), None) } else { (shortened(inside).into(), Some(json)) })
}

/// Returns whether the text of a name is complete and short enough.
#[inline]
fn is_complete(inside: &str) -> bool {
    if inside.len() <= EVENT_NAME_MAX_BYTES && !inside.contains('\\') {
        return true;
    }
    let mut bytes = 0;
    pieces(inside).all(|piece| match piece {
        Piece::Text(text) => {
            bytes += text.len();
            bytes <= EVENT_NAME_MAX_BYTES
        }
        Piece::Character(character) => {
            bytes += character.len_utf8();
            bytes <= EVENT_NAME_MAX_BYTES
        }
        Piece::HalfPair(_) => false,
    })
}

/// Returns the shortened name: as many characters as fit, and the hash.
#[cold]
fn shortened(inside: &str) -> String {
    let mut hash = Fnv::default();
    let mut name = String::with_capacity(EVENT_NAME_MAX_BYTES);
    let mut is_full = false;
    let mut push = |text: &str| {
        let room = EVENT_NAME_MAX_BYTES - SUFFIX_LEN - name.len();
        let fits = (0..=room.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
        let len = if is_full { 0 } else { fits.unwrap_or(0) };
        name.push_str(&text[..len]);
        is_full |= len < text.len();
    };
    for piece in pieces(inside) {
        match piece {
            Piece::Text(text) => {
                hash.add(text.as_bytes());
                push(text);
            }
            Piece::Character(character) => {
                let mut buffer = [0; 4];
                let text = &*character.encode_utf8(&mut buffer);
                hash.add(text.as_bytes());
                push(text);
            }
            Piece::HalfPair(unit) => {
                // 0xff is invalid in UTF-8: a half pair differs from every text.
                let [high, low] = unit.to_be_bytes();
                hash.add(&[0xff, high, low]);
                push("\u{fffd}");
            }
        }
    }
    name.push_str(&format!("~{:016x}", hash.0));
    name
}

/// 64-bit FNV-1a: the same on every host and in every release. A peer that makes two of its own names collide
/// affects only the counts of these names.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn short_text_is_kept_and_other_names_get_a_hash() {
        let long = "A".repeat(257);
        let wide = format!("{}é", "A".repeat(255));
        // name                 inside               name, or its beginning     is `sent` set
        let cases: [(&str, &str, &str, bool); 9] = [
            ("plain", "STOP", "STOP", false),
            ("empty", "", "", false),
            ("escapes", r"\u0053TOP\n", "STOP\n", false),
            ("a complete pair", r"\ud83d\ude00", "😀", false),
            ("of maximum length", &long[1..], &long[1..], false),
            ("one byte too long", &long, &long[..239], true),
            ("long because of its last character", &wide, &wide[..239], true),
            ("half a pair", r"X\ud83d", "X\u{fffd}", true),
            ("the other half", r"\ude00X", "\u{fffd}X", true),
        ];
        for (name, inside, expected, is_shortened) in cases {
            let json = format!("\"{inside}\"");
            let read = EventName::from_json(&json).expect("a string");
            assert_eq!(read.sent.as_deref(), is_shortened.then_some(json.as_str()), "{name}");
            assert!(read.name.len() <= EVENT_NAME_MAX_BYTES, "{name}");
            let shown = if is_shortened { &read.name[..read.name.len() - SUFFIX_LEN] } else { &*read.name };
            assert_eq!((shown, EventName::may_be_shortened(&read.name)), (expected, is_shortened), "{name}");
        }
        for no_string in ["", "7", "null", "{}", "\""] {
            assert_eq!(EventName::from_json(no_string), None, "{no_string}");
        }
    }

    #[test]
    fn escaped_and_plain_spelling_give_the_same_name() {
        let long = "é".repeat(200);
        let escaped = format!("\"{}\"", long.replace('é', r"\u00e9"));
        let text = EventName::from_text(long.as_str().into());
        assert_eq!(EventName::from_json(&escaped).expect("a string").name, text.name);
        assert_eq!(text.sent.as_deref().map(EventName::whole), Some(long.as_str().into()));
        assert_eq!(
            EventName::from_json(r#""X\ud83d""#).expect("a string").name,
            "X\u{fffd}~f4b5b15e317e4c97"
        );
    }

    proptest! {
        /// Different names stay different, and each can be written back byte for byte.
        #[test]
        fn different_names_stay_different(
            start in "[a-zé]{0,300}",
            ends in prop::collection::hash_set(r"[a-c]{0,2}(\\ud83[d-f]){0,2}", 2),
        ) {
            let jsons: Vec<String> = ends.iter().map(|end| format!("\"{start}{end}\"")).collect();
            let names: Vec<_> = jsons.iter().map(|json| EventName::from_json(json).expect("a string")).collect();
            prop_assert_ne!(&names[0].name, &names[1].name);
            for (json, EventName { name, sent }) in jsons.iter().zip(&names) {
                prop_assert!(name.len() <= EVENT_NAME_MAX_BYTES);
                prop_assert_eq!(sent.clone().unwrap_or_else(|| format!("\"{name}\"").into()), json.as_str());
            }
        }
    }
}
