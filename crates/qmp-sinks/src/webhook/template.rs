//! Templates of bodies and headers: text with values of a record.
//!
//! `{{ vm }}` is the value's text, and `{{ data.device | json }}` the value as JSON; a value that the record lacks is an
//! empty text, or `null`. A body that begins with `{` or `[` is JSON, and remains valid JSON for every record: outside
//! of strings a value needs `| json`, and inside of a string its text is escaped.

use std::fmt::Write as _;

use qmp_settings::suggest;
use serde::de::IgnoredAny;
use serde_json::Value;

use super::values;

/// A text with places for values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Template {
    parts: Vec<Part>,
    is_json: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(Box<str>),
    Value { path: Box<str>, form: ValueForm },
}

/// The form of a value in the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ValueForm {
    /// The text as it is.
    Text,
    /// The text with the escapes of a JSON string, without quotes.
    InString,
    /// JSON.
    Json,
}

/// An error of a template, with its position.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {fault}")]
pub(super) struct TemplateError {
    line: usize,
    column: usize,
    fault: Fault,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum Fault {
    #[error("`{{{{` without `}}}}` on the same line")]
    Unclosed,
    #[error("expected `{{{{ NAME }}}}` or `{{{{ NAME | json }}}}`")]
    Syntax,
    #[error("unknown filter \"{0}\"; the only one is json")]
    UnknownFilter(Box<str>),
    #[error("unknown value \"{name}\"; {advice}")]
    UnknownValue { name: Box<str>, advice: Box<str> },
    #[error("in JSON, outside of a string, write {{{{ {0} | json }}}}")]
    NotJson(Box<str>),
    #[error("`| json` writes the quotes: leave out those around it, or leave out `| json`")]
    Quoted,
    #[error("not JSON: {0}")]
    InvalidJson(Box<str>),
}

/// Names of values that an error lists.
const LISTED_MAX: usize = 8;

impl Template {
    /// Parses a text whose values are inserted as they are.
    pub(super) fn parse(text: &str) -> Result<Self, TemplateError> {
        Ok(Self { parts: Parser::new(text, false).parts()?, is_json: false })
    }

    /// Parses a body, which is JSON if it begins like an object or an array of JSON.
    pub(super) fn parse_body(text: &str) -> Result<Self, TemplateError> {
        let is_json = text.trim_start().starts_with(['{', '[']) && !text.trim_start().starts_with("{{");
        if !is_json {
            return Self::parse(text);
        }
        let mut parser = Parser::new(text, true);
        let parts = parser.parts()?;
        if let Err(error) = serde_json::from_str::<IgnoredAny>(&parser.sample) {
            let words = error.to_string();
            let words = words.split(" at line ").next().unwrap_or_default().into();
            let (line, column) = (error.line(), error.column());
            return Err(TemplateError { line, column, fault: Fault::InvalidJson(words) });
        }
        Ok(Self { parts, is_json })
    }

    pub(super) fn is_json(&self) -> bool {
        self.is_json
    }

    /// Writes the text with the values of a record.
    pub(super) fn render(&self, values: &Value) -> String {
        let mut out = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Value { path, form } => insert(&mut out, at(values, path), *form),
            }
        }
        out
    }
}

fn insert(out: &mut String, value: Option<&Value>, form: ValueForm) {
    // Writing to a `String` cannot fail.
    let _ = match (form, value) {
        (ValueForm::Json, value) => write!(out, "{}", value.unwrap_or(&Value::Null)),
        (_, None | Some(Value::Null)) => Ok(()),
        (ValueForm::Text, Some(Value::String(text))) => out.write_str(text),
        (ValueForm::Text, Some(value)) => write!(out, "{value}"),
        (ValueForm::InString, Some(value)) => {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let quoted = Value::String(text).to_string();
            out.write_str(&quoted[1..quoted.len() - 1])
        }
    };
}

/// The value at a path of names, and of numbers for elements of lists.
fn at<'v>(values: &'v Value, path: &str) -> Option<&'v Value> {
    path.split('.').try_fold(values, |value, name| match value {
        Value::Object(members) => members.get(name),
        Value::Array(elements) => elements.get(name.parse::<usize>().ok()?),
        _ => None,
    })
}

struct Parser<'t> {
    text: &'t str,
    /// The bytes before this one are parsed.
    at: usize,
    is_json: bool,
    is_in_string: bool,
    /// The text with a value of the same length in each place.
    sample: String,
}

impl<'t> Parser<'t> {
    fn new(text: &'t str, is_json: bool) -> Self {
        Self { text, at: 0, is_json, is_in_string: false, sample: String::new() }
    }

    fn parts(&mut self) -> Result<Vec<Part>, TemplateError> {
        let mut parts = Vec::new();
        while self.at < self.text.len() {
            let rest = &self.text[self.at..];
            let literal = &rest[..rest.find("{{").unwrap_or(rest.len())];
            if !literal.is_empty() {
                self.follow_strings(literal);
                self.sample.push_str(literal);
                parts.push(Part::Text(literal.into()));
                self.at += literal.len();
                continue;
            }
            let line = rest.lines().next().unwrap_or_default();
            let end = line.find("}}").ok_or_else(|| self.error(Fault::Unclosed))?;
            let (path, form) = self.value(&line[2..end])?;
            let length = end + 2;
            let filler =
                if form == ValueForm::InString { "x".repeat(length) } else { format!("{:length$}", 0) };
            self.sample.push_str(&filler);
            parts.push(Part::Value { path, form });
            self.at += length;
        }
        Ok(parts)
    }

    /// Parses the text between the braces.
    fn value(&self, inner: &str) -> Result<(Box<str>, ValueForm), TemplateError> {
        let (path, filter) = match inner.split_once('|') {
            Some((path, filter)) => (path.trim(), Some(filter.trim())),
            None => (inner.trim(), None),
        };
        let is_name = |name: &str| !name.is_empty() && !name.contains([' ', '\t', '{', '}', '"', '\'']);
        if !path.split('.').all(is_name) {
            return Err(self.error(Fault::Syntax));
        }
        let name = path.split('.').next().unwrap_or_default();
        if !values::NAMES.contains(&name) {
            let advice = suggest::advice(name, &values::NAMES, LISTED_MAX).into();
            return Err(self.error(Fault::UnknownValue { name: name.into(), advice }));
        }
        let form = match (filter, self.is_json, self.is_in_string) {
            (None, true, true) => ValueForm::InString,
            (None, true, false) => return Err(self.error(Fault::NotJson(path.into()))),
            (None, false, _) => ValueForm::Text,
            (Some("json"), true, true) => return Err(self.error(Fault::Quoted)),
            (Some("json"), ..) => ValueForm::Json,
            (Some(other), ..) => return Err(self.error(Fault::UnknownFilter(other.into()))),
        };
        Ok((path.into(), form))
    }

    /// Determines whether the end of a literal is inside a JSON string.
    fn follow_strings(&mut self, literal: &str) {
        let mut is_escaped = false;
        for letter in literal.chars() {
            match letter {
                _ if is_escaped => is_escaped = false,
                '\\' => is_escaped = self.is_in_string,
                '"' => self.is_in_string = !self.is_in_string,
                _ => {}
            }
        }
    }

    /// An error at the present position.
    fn error(&self, fault: Fault) -> TemplateError {
        let before = &self.text[..self.at];
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().map_or(0, |line| line.chars().count()) + 1;
        TemplateError { line, column, fault }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn rendered(text: &str) -> Result<String, String> {
        let values = json!({
            "vm": "web1", "kind": "event", "offset": 41,
            "data": {"device": "a \"b\"\n", "n": 5, "list": [1, {"x": true}], "null": null},
        });
        Template::parse_body(text).map(|template| template.render(&values)).map_err(|error| error.to_string())
    }

    #[test]
    fn values_are_inserted_as_text_or_json() {
        let cases = [
            ("plain", "plain"),
            ("", ""),
            ("{{ vm }} is {{kind}}", "web1 is event"),
            ("{{ data.device | json }}", r#""a \"b\"\n""#),
            ("{{ data.device }}!", "a \"b\"\n!"),
            ("{{ data.list.1.x }} {{ data.list | json }}", r#"true [1,{"x":true}]"#),
            ("<{{ data.absent }}{{ data.null }}{{ vm.x }}>", "<>"),
            ("{{ data.absent|json }}", "null"),
            ("}} { {{ offset }}", "}} { 41"),
            (r#"{"a": {{ data.device | json }}}"#, r#"{"a": "a \"b\"\n"}"#),
            (
                r#"{"a": "{{ vm }}: {{ data.device }}", "n": [{{ data.n | json }}]}"#,
                r#"{"a": "web1: a \"b\"\n", "n": [5]}"#,
            ),
            (
                r#" [{"\"{{ vm }}": "{{ data }}"}]"#,
                r#" [{"\"web1": "{\"device\":\"a \\\"b\\\"\\n\",\"list\":[1,{\"x\":true}],\"n\":5,\"null\":null}"}]"#,
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(rendered(text), Ok(expected.into()), "{text}");
        }
    }

    #[test]
    fn fault_is_reported_with_its_position() {
        let cases = [
            ("a\nb {{ vm", "line 2, column 3: `{{` without `}}` on the same line"),
            ("{{ vm\n}}", "line 1, column 1: `{{` without `}}` on the same line"),
            ("é {{ }}", "line 1, column 3: expected `{{ NAME }}` or `{{ NAME | json }}`"),
            ("{{ a b }}", "line 1, column 1: expected `{{ NAME }}` or `{{ NAME | json }}`"),
            ("{{ data..x }}", "line 1, column 1: expected `{{ NAME }}` or `{{ NAME | json }}`"),
            ("{{ vm | upper }}", "line 1, column 1: unknown filter \"upper\"; the only one is json"),
            ("{{ evnt }}", "line 1, column 1: unknown value \"evnt\"; did you mean \"event\"?"),
            ("{\"a\": {{ vm }}}", "line 1, column 7: in JSON, outside of a string, write {{ vm | json }}"),
            (
                "{\"a\":\n \"{{ vm | json }}\"}",
                "line 2, column 3: `| json` writes the quotes: leave out those around it, or leave out `| json`",
            ),
            ("{\"a\": 1,\n}", "line 2, column 1: not JSON: key must be a string"),
            ("[1", "line 1, column 2: not JSON: EOF while parsing a list"),
        ];
        for (text, expected) in cases {
            assert_eq!(rendered(text), Err(expected.into()), "{text}");
        }
    }

    proptest! {
        /// A JSON body is JSON for every record, and a value cannot leave its place.
        #[test]
        fn json_body_keeps_its_shape(device in "(?s).{0,20}", vm in "[\\\\\"{}\na-z]{0,10}") {
            let template = r#"{"text": "{{ vm }} {{ data.device }}", "device": {{ data.device | json }}}"#;
            let template = Template::parse_body(template).expect("a template");
            let text = template.render(&json!({"vm": vm, "data": {"device": device}}));
            let parsed: Value = serde_json::from_str(&text).expect("JSON");
            prop_assert_eq!(parsed, json!({"text": format!("{vm} {device}"), "device": device}));
        }

        /// Any text is a template or an error, and a text without braces is itself.
        #[test]
        fn any_text_is_parsed(text in "(?s).{0,40}", plain in "(?s)[^{]{0,40}") {
            let _ = Template::parse_body(&text);
            let plain = format!(".{plain}");
            prop_assert_eq!(rendered(&plain), Ok(plain));
        }
    }
}
