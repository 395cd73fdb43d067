//! Headers that a rule adds to each request: `Name: value`, where the value is a template.

use hyper::header::{HeaderName, HeaderValue};
use serde_json::Value;

use super::template::Template;
use crate::http;
use crate::status::cut;

/// The longest value of a header of a webhook, in bytes: servers refuse heads of more than about 8 KiB.
const HEADER_VALUE_MAX_BYTES: usize = 2 << 10;

/// A header of each request.
#[derive(Clone, Debug)]
pub(super) struct Header {
    pub(super) name: HeaderName,
    value: Template,
}

impl Header {
    /// Parses `Name: value`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (name, value) = http::header(text)?;
        // Blanks instead of the name, so that positions are those in the text.
        let value = format!("{:1$}{value}", "", text.len() - value.len());
        let value = Template::parse(&value).map_err(|error| format!("header {name}: {error}"))?;
        Ok(Self { name, value })
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
