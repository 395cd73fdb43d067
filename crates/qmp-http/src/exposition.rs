//! Prometheus' text format, version 0.0.4.
//!
//! ```text
//! # HELP qmp_epochs_total Spans of certainty that were opened.
//! # TYPE qmp_epochs_total counter
//! qmp_epochs_total{vm="web1"} 3
//! ```

use std::fmt::{self, Display, Write as _};

/// The media type of the format.
pub(super) const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A text that grows by one family of metrics after another.
#[derive(Debug, Default)]
pub(super) struct Exposition(String);

/// The samples of one metric.
#[derive(Debug)]
pub(super) struct Family<'e> {
    text: &'e mut String,
    name: &'static str,
}

/// The type of a metric.
#[derive(Clone, Copy, Debug)]
pub(super) enum Type {
    /// The value only grows until the hub restarts.
    Counter,
    /// The value can grow and shrink.
    Gauge,
}

impl Exposition {
    /// Begins a metric. `help` is one line without backslashes.
    pub(super) fn family(&mut self, name: &'static str, ty: Type, help: &str) -> Family<'_> {
        let ty = match ty {
            Type::Counter => "counter",
            Type::Gauge => "gauge",
        };
        // Writing to a `String` cannot fail, here and below.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {ty}");
        Family { text: &mut self.0, name }
    }

    pub(super) fn into_text(self) -> String {
        self.0
    }
}

impl Family<'_> {
    /// Adds a sample; each combination of labels once.
    pub(super) fn sample(&mut self, labels: &[(&str, &str)], value: impl Display) {
        self.text.push_str(self.name);
        for (index, (name, value)) in labels.iter().enumerate() {
            let before = if index == 0 { '{' } else { ',' };
            let _ = write!(self.text, "{before}{name}=\"{}\"", EscapedLabel(value));
        }
        let end = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.text, "{end} {value}");
    }
}

/// A label's value between its quotes.
struct EscapedLabel<'a>(&'a str);

impl Display for EscapedLabel<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for letter in self.0.chars() {
            match letter {
                '\\' => formatter.write_str("\\\\")?,
                '"' => formatter.write_str("\\\"")?,
                '\n' => formatter.write_str("\\n")?,
                letter => formatter.write_char(letter)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn family_with_and_without_labels_is_written() {
        let mut exposition = Exposition::default();
        exposition.family("a_bytes", Type::Gauge, "How much.").sample(&[], 1.5);
        let mut family = exposition.family("b_total", Type::Counter, "How often.");
        family.sample(&[("vm", "web1"), ("reason", "peer closed")], 3);
        family.sample(&[("vm", "a\"b\\c\nd"), ("reason", "")], u64::MAX);
        insta::assert_snapshot!(exposition.into_text(), @r#"
        # HELP a_bytes How much.
        # TYPE a_bytes gauge
        a_bytes 1.5
        # HELP b_total How often.
        # TYPE b_total counter
        b_total{vm="web1",reason="peer closed"} 3
        b_total{vm="a\"b\\c\nd",reason=""} 18446744073709551615
        "#);
    }

    proptest! {
        /// A label's value, whatever its characters, stays one value on one line.
        #[test]
        fn label_value_cannot_leave_its_quotes(value in "[\\\\\"\na-z{} ,=é]{0,12}") {
            let mut exposition = Exposition::default();
            exposition.family("m", Type::Gauge, "h").sample(&[("l", &value)], 1);
            let text = exposition.into_text();
            let line = text.lines().nth(2).expect("a sample");
            prop_assert_eq!(text.lines().count(), 3);
            let quoted = line.strip_prefix("m{l=\"").and_then(|rest| rest.strip_suffix("\"} 1")).expect("its frame");
            prop_assert_eq!(read(quoted), Some(value));
        }
    }

    /// Reads a value as a scraper does; `None` if a quote ends it too soon.
    fn read(quoted: &str) -> Option<String> {
        let (mut letters, mut value) = (quoted.chars(), String::new());
        while let Some(letter) = letters.next() {
            value.push(match letter {
                '"' => return None,
                '\\' => match letters.next()? {
                    'n' => '\n',
                    other => other,
                },
                letter => letter,
            });
        }
        Some(value)
    }
}
