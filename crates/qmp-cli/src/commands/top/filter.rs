//! Which VMs are shown: patterns of names as in `--vm`, or parts of names.

use globset::{Glob, GlobSet, GlobSetBuilder};
use qmp_wire::QualifiedName;

/// A filter of VM names. The empty one matches all.
#[derive(Clone, Debug, Default)]
pub(super) struct NameFilter {
    text: String,
    patterns: GlobSet,
    parts: Vec<String>,
}

impl NameFilter {
    /// Reads a filter: words separated by spaces, of which one must match. A word with `*`, `?` or `[` is a pattern of the
    /// whole name, every other word a part of it. A pattern that is not finished yet is a part, too.
    pub(super) fn new(text: &str) -> Self {
        let mut patterns = GlobSetBuilder::new();
        let mut parts = Vec::new();
        for word in text.split_whitespace() {
            match Glob::new(word) {
                Ok(glob) if word.contains(['*', '?', '[']) => drop(patterns.add(glob)),
                _ => parts.push(word.to_lowercase()),
            }
        }
        Self { text: text.to_owned(), patterns: patterns.build().unwrap_or_default(), parts }
    }

    /// The text that was read.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Whether a VM is shown.
    pub(super) fn matches(&self, name: &str) -> bool {
        let is_all = self.patterns.is_empty() && self.parts.is_empty();
        // A pattern of a VM of another host may name the VM alone.
        let is_match = |name: &str| self.patterns.is_match(name);
        is_all || is_match(name) || is_match(QualifiedName::divide(name).1) || {
            let name = name.to_lowercase();
            self.parts.iter().any(|part| name.contains(part))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_patterns_or_parts() {
        let cases = [
            ("", "web1", true),
            ("  ", "web1", true),
            ("web*", "web1", true),
            ("web*", "db-web1", false),
            ("web*", "node1/web1", true),
            ("node1/*", "node1/web1", true),
            ("EB", "web1", true),
            ("db* web?", "web1", true),
            ("db", "web1", false),
            ("[", "a[b", true),
        ];
        for (filter, name, expected) in cases {
            assert_eq!(NameFilter::new(filter).matches(name), expected, "{filter:?} {name}");
        }
    }
}
