//! Writes XML: elements with escaped attributes and text.

use std::fmt::{self, Display, Write as _};

use crate::render::escape;

/// A document that grows at its end.
#[derive(Debug, Default)]
pub(super) struct Xml {
    text: String,
    open: Vec<&'static str>,
}

/// The attributes of an element.
pub(super) type Attributes<'a> = &'a [(&'static str, &'a dyn Display)];

impl Xml {
    /// Opens an element, which is indented.
    pub(super) fn open(&mut self, name: &'static str, attributes: Attributes<'_>) {
        self.begin(name, attributes);
        self.text.push_str(">\n");
        self.open.push(name);
    }

    /// Closes the last open element.
    pub(super) fn close(&mut self) {
        if let Some(name) = self.open.pop() {
            self.indent();
            let _ = writeln!(self.text, "</{name}>");
        }
    }

    /// An element without content.
    pub(super) fn empty(&mut self, name: &'static str, attributes: Attributes<'_>) {
        self.begin(name, attributes);
        self.text.push_str("/>\n");
    }

    /// An element with text.
    pub(super) fn text(&mut self, name: &'static str, attributes: Attributes<'_>, text: &str) {
        self.begin(name, attributes);
        let _ = writeln!(self.text, ">{}</{name}>", Escaped(text));
    }

    /// An element without content, whose title a viewer shows under the pointer.
    pub(super) fn titled(&mut self, name: &'static str, attributes: Attributes<'_>, title: &str) {
        self.begin(name, attributes);
        let _ = writeln!(self.text, "><title>{}</title></{name}>", Escaped(title));
    }

    /// The document.
    pub(super) fn into_text(self) -> String {
        self.text
    }

    fn begin(&mut self, name: &'static str, attributes: Attributes<'_>) {
        self.indent();
        let _ = write!(self.text, "<{name}");
        for (name, value) in attributes {
            let _ = write!(self.text, " {name}=\"{}\"", Escaped(&value.to_string()));
        }
    }

    fn indent(&mut self) {
        self.text.extend(std::iter::repeat_n(' ', self.open.len()));
    }
}

/// Text of a peer: characters that XML does not permit, or that hide or reorder text, are JSON escapes, as on a terminal.
struct Escaped<'t>(&'t str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in escape::text(self.0).chars() {
            match character {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                // The only other ones that XML 1.0 excludes.
                '\u{fffe}' | '\u{ffff}' => f.write_char(char::REPLACEMENT_CHARACTER)?,
                character => f.write_char(character)?,
            }
        }
        Ok(())
    }
}

/// A length in pixels, to a hundredth.
#[derive(Clone, Copy, Debug)]
pub(super) struct Px(pub(super) f64);

impl Display for Px {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{:.2}", self.0);
        let text = text.trim_end_matches('0').trim_end_matches('.');
        f.write_str(if text == "-0" { "0" } else { text })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn elements_are_indented_and_escaped() {
        let mut xml = Xml::default();
        xml.open("g", &[("id", &"a\"<b>&")]);
        xml.text("text", &[("x", &Px(1.5)), ("y", &Px(-0.001))], "<script>\u{1b}\u{202e}\u{ffff}");
        xml.titled("rect", &[("width", &Px(10.0))], "it's");
        xml.close();
        assert_eq!(
            xml.into_text(),
            "<g id=\"a&quot;&lt;b&gt;&amp;\">\n <text x=\"1.5\" y=\"0\">&lt;script&gt;\\u001b\\u202e\u{fffd}</text>\n \
             <rect width=\"10\"><title>it's</title></rect>\n</g>\n"
        );
    }

    proptest! {
        /// No text of a peer ends an element or an attribute, or has a character that XML excludes.
        #[test]
        fn any_text_is_text(text in any::<String>()) {
            let written = Escaped(&text).to_string();
            prop_assert!(!written.contains(['<', '>', '"']));
            let is_of_xml = |c: char| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..);
            prop_assert!(written.chars().all(is_of_xml));
            let entities = ["&amp;", "&lt;", "&gt;", "&quot;"];
            prop_assert!(written.match_indices('&').all(|(at, _)| entities.iter().any(|entity| written[at..].starts_with(entity))));
        }
    }
}
