//! Headers that a rule adds to each request: `Name: value`, where the value is a template.

use hyper::header::{self, HeaderName, HeaderValue};
use serde_json::Value;

use super::template::Template;
use crate::status::cut;

/// The longest value of a header of a webhook, in bytes: servers refuse heads of more than about 8 KiB.
const HEADER_VALUE_MAX_BYTES: usize = 2 << 10;

/// Headers that the request needs, which a rule cannot replace.
const OWN: [HeaderName; 4] =
    [header::HOST, header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::CONNECTION];

/// A header of each request.
#[derive(Clone, Debug)]
pub(super) struct Header {
    pub(super) name: HeaderName,
    value: Template,
}

impl Header {
    /// Parses `Name: value`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (name, value) = text
            .split_once(':')
            .filter(|(name, _)| !name.contains("{{"))
            .ok_or("expected a header such as \"Title: {{ vm }}\"")?;
        let parsed: HeaderName = name.parse().map_err(|_| format!("{name:?} is no name of a header"))?;
        if OWN.contains(&parsed) || parsed.as_str().starts_with("webhook-") {
            return Err(format!("the request has its own {parsed}"));
        }
        // Blanks instead of the name, so that positions are those in the text.
        let value = format!("{:1$}{value}", "", name.chars().count() + 1);
        let value = Template::parse(&value).map_err(|error| format!("header {parsed}: {error}"))?;
        Ok(Self { name: parsed, value })
    }

    /// The value for a record. Control characters, which end a header, become blanks.
    pub(super) fn value(&self, values: &Value) -> HeaderValue {
        let text = self.value.render(values);
        let text: String =
            text.trim().chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
        HeaderValue::from_bytes(cut(&text, HEADER_VALUE_MAX_BYTES).as_bytes())
            .unwrap_or_else(|_| HeaderValue::from_static(""))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn header_is_parsed_or_refused() {
        let values = json!({"vm": "web1\r\nX: y", "data": {"n": "ü"}});
        let cases = [
            ("Title: {{ vm }} paused", Ok("title: web1  X: y paused")),
            ("X-Data:{{data.n|json}}", Ok("x-data: \"ü\"")),
            ("Priority: high", Ok("priority: high")),
            ("Empty:", Ok("empty: ")),
            ("Title", Err("expected a header such as \"Title: {{ vm }}\"")),
            ("{{ vm }}: x", Err("expected a header such as \"Title: {{ vm }}\"")),
            ("a b: x", Err("\"a b\" is no name of a header")),
            ("Host: x", Err("the request has its own host")),
            ("Webhook-Id: x", Err("the request has its own webhook-id")),
            ("Title: {{ x }", Err("header title: line 1, column 8: `{{` without `}}` on the same line")),
        ];
        for (text, expected) in cases {
            let found = Header::parse(text).map(|header| {
                let value = header.value(&values);
                format!("{}: {}", header.name, std::str::from_utf8(value.as_bytes()).expect("UTF-8"))
            });
            assert_eq!(found.as_deref().map_err(String::as_str), expected, "{text}");
        }
    }

    proptest! {
        /// A value of a VM stays one value of one header.
        #[test]
        fn any_value_is_one_header(vm in "(?s).{0,40}") {
            let header = Header::parse("A: <{{ vm }}>").expect("a header");
            let value = header.value(&json!({"vm": vm}));
            let text = std::str::from_utf8(value.as_bytes()).expect("UTF-8");
            prop_assert!(text.starts_with('<') && text.ends_with('>'), "{}", text);
        }
    }
}
