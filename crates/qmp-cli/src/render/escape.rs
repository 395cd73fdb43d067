//! Text from guests and peers, made safe for a terminal.
//!
//! A guest chooses port names, and a peer chooses error texts: neither may move the cursor, change the title of the window
//! or reverse the direction of text. Control characters and invisible characters that reorder text are shown as JSON
//! escapes; all other characters are unchanged.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Returns `text` with every character that could control a terminal as `\uXXXX` (`\n`, `\t`, `\r` in short).
pub fn text(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        match character {
            '\n' => safe.push_str("\\n"),
            '\r' => safe.push_str("\\r"),
            '\t' => safe.push_str("\\t"),
            _ if is_unsafe(character) => {
                let mut units = [0; 2];
                for unit in character.encode_utf16(&mut units) {
                    // Writing to a `String` cannot fail.
                    let _ = write!(safe, "\\u{unit:04x}");
                }
            }
            _ => safe.push(character),
        }
    }
    Cow::Owned(safe)
}

/// Control characters (C0, DEL, C1), and the format characters that hide or reorder text.
///
/// Source: Unicode 15 general categories Cc, Zl, Zp and the bidirectional controls of UAX #9.
fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{00ad}' | '\u{061c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn control_and_reordering_characters_are_escaped() {
        let cases = [
            // name              given                 shown
            ("plain", "drive-virtio0 ü 日本", "drive-virtio0 ü 日本"),
            ("colour", "\x1b[31mred", "\\u001b[31mred"),
            ("line ends", "a\r\nb\tc", "a\\r\\nb\\tc"),
            ("delete", "a\x7fb", "a\\u007fb"),
            ("C1 introducer", "\u{9b}2J", "\\u009b2J"),
            ("right to left", "abc\u{202e}cba", "abc\\u202ecba"),
            ("tag characters", "a\u{e0041}", "a\\udb40\\udc41"),
            ("backslash stays", "a\\b", "a\\b"),
        ];
        for (name, given, shown) in cases {
            assert_eq!(text(given), shown, "{name}");
        }
    }

    proptest! {
        /// No control character in a guest's text reaches the terminal.
        #[test]
        fn no_control_character_remains(given in any::<String>()) {
            prop_assert!(!text(&given).chars().any(is_unsafe));
        }
    }
}
