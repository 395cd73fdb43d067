//! The width of text, estimated: the fonts of the reader are not known.

use std::borrow::Cow;

use crate::render::escape;

/// An estimate of the width of `text` at a size of `size` pixels, rather too large than too small.
pub(super) fn width(text: &str, size: f64) -> f64 {
    text.chars().map(|character| size * em(character)).sum()
}

/// The width of a character in em.
fn em(character: char) -> f64 {
    match character {
        'i' | 'j' | 'l' | 't' | 'f' | 'r' | ' ' | '.' | ',' | ':' | '-' | '\'' | '|' => 0.38,
        'm' | 'w' | 'M' | 'W' | '@' => 0.95,
        'A'..='Z' | '_' => 0.72,
        // Ideographs, and whatever else may be as wide.
        '\u{1100}'.. => 1.05,
        _ => 0.6,
    }
}

/// `text` as far as there is room for it, made safe as on a terminal.
pub(super) fn fitted(text: &str, size: f64, room: f64) -> Cow<'_, str> {
    let safe = escape::text(text);
    if width(&safe, size) <= room {
        return safe;
    }
    let mut left = room - width("…", size);
    let fits = |character: &char| {
        left -= size * em(*character);
        left >= 0.0
    };
    let mut cut: String = safe.chars().take_while(fits).collect();
    cut.push('…');
    Cow::Owned(cut)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_text_is_cut_to_the_room() {
        assert_eq!(fitted("web1", 12.0, 100.0), "web1");
        assert_eq!(fitted("a\u{1b}b", 12.0, 100.0), "a\\u001bb");
        let cut = fitted(&"web".repeat(4_000), 12.0, 100.0).into_owned();
        assert!(cut.ends_with('…') && width(&cut, 12.0) <= 100.0, "{cut}");
        assert_eq!(fitted("日本語日本語", 12.0, 40.0), "日本…");
    }
}
