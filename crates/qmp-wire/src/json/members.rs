//! The members of one complete and valid object.

use std::borrow::Cow;

use super::scan::{Scan, Step};
use super::string::decode;

/// Iterates over the members of an object: names with escapes resolved, values as raw JSON.
///
/// For any other value the iterator is empty; a duplicate name is returned twice.
#[derive(Debug)]
pub(crate) struct Members<'a> {
    text: &'a str,
    scan: Option<Scan>,
}

impl<'a> Members<'a> {
    /// Returns the members of the object `text`.
    pub(crate) fn of(text: &'a str) -> Self {
        Self { text, scan: text.starts_with('{').then(Scan::object) }
    }
}

impl<'a> Iterator for Members<'a> {
    type Item = (Cow<'a, str>, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        match self.scan.as_mut()?.step(self.text.as_bytes()) {
            Ok(Step::Member { name, value }) => Some((decode(name.of(self.text)), value.of(self.text))),
            _ => {
                self.scan = None;
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn object_gives_names_and_raw_values() {
        type Case = (&'static str, &'static str, &'static [(&'static str, &'static str)]);
        let cases: [Case; 5] = [
            ("empty", "{}", &[]),
            ("no object", "[1]", &[]),
            ("no JSON", "", &[]),
            (
                "values of all kinds",
                r#"{"a": 1, "b":[{"a":2}] ,"c":"}"}"#,
                &[("a", "1"), ("b", r#"[{"a":2}]"#), ("c", r#""}""#)],
            ),
            ("escaped and repeated name", r#"{"a":null,"\u0061":true}"#, &[("a", "null"), ("a", "true")]),
        ];
        for (name, text, expected) in cases {
            let members: Vec<_> = Members::of(text).collect();
            let members: Vec<_> = members.iter().map(|(name, value)| (name.as_ref(), *value)).collect();
            assert_eq!(members, expected, "{name}");
        }
    }
}
