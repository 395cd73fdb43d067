//! Raw JSON for people: on one line, and objects as `key=value`.
//!
//! The bytes of numbers and strings are unchanged: an integer of 20 digits or a number with an exponent is shown as the VM
//! sent it.

use std::borrow::Cow;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::escape;

/// Raw JSON without the blanks and line breaks between its tokens.
pub fn compact(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    let (mut in_string, mut escaped) = (false, false);
    for character in json.chars() {
        if in_string {
            in_string = escaped || character != '"';
            escaped = !escaped && character == '\\';
        } else if matches!(character, ' ' | '\t' | '\r' | '\n') {
            continue;
        } else {
            in_string = character == '"';
        }
        text.push(character);
    }
    text
}

/// A JSON object as `key=value key=value`: strings without quotes if that is unambiguous, nested values as JSON.
///
/// Any other value is shown as compact JSON.
pub fn compact_members(json: &str) -> String {
    let Ok(Members(members)) = serde_json::from_str(json) else {
        return escape::text(&compact(json)).into_owned();
    };
    let shown: Vec<String> = members
        .iter()
        .map(|(name, value)| format!("{}={}", escape::text(name), compact_value(value.get())))
        .collect();
    shown.join(" ")
}

fn compact_value(json: &str) -> String {
    let Ok(text) = serde_json::from_str::<String>(json) else {
        return escape::text(&compact(json)).into_owned();
    };
    // Without quotes only if the text cannot be read as a number, a keyword, or the next member.
    let is_bare = text.starts_with(|c: char| c.is_alphabetic() || matches!(c, '/' | '_' | '#'))
        && text.chars().all(|c| c.is_alphanumeric() || "-_./:#@+".contains(c))
        && !matches!(text.as_str(), "true" | "false" | "null");
    if is_bare { text } else { escape::text(&quoted(&text)).into_owned() }
}

fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        if matches!(character, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(character);
    }
    quoted.push('"');
    quoted
}

/// The members of a JSON object in their original order.
#[derive(Debug)]
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MembersVisitor;
        impl<'de> Visitor<'de> for MembersVisitor {
            type Value = Members<'de>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry::<String, &RawValue>()? {
                    members.push((Cow::Owned(member.0), member.1));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(MembersVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn members_are_shown_as_key_and_value() {
        let cases = [
            // name             json                                        shown
            ("plain", r#"{"guest": false, "reason": "host-qmp-quit"}"#, "guest=false reason=host-qmp-quit"),
            ("order kept", r#"{"z": 1, "a": 2}"#, "z=1 a=2"),
            ("empty string", r#"{"device": ""}"#, r#"device="""#),
            ("blank", r#"{"reason": "No space left"}"#, r#"reason="No space left""#),
            ("quote", r#"{"msg": "a \"b\" \\c"}"#, r#"msg="a \"b\" \\c""#),
            ("looks like a number", r#"{"id": "12", "n": 12}"#, r#"id="12" n=12"#),
            ("looks like a keyword", r#"{"id": "true"}"#, r#"id="true""#),
            (
                "path",
                r#"{"path": "/machine/peripheral-anon/device[1]"}"#,
                r#"path="/machine/peripheral-anon/device[1]""#,
            ),
            ("exact", r#"{"len": 18446744073709551615, "x": 1.0e3}"#, "len=18446744073709551615 x=1.0e3"),
            ("nested", "{\"info\": {\"slot\": \"0\",\r\n \"a\": [1, 2]}}", r#"info={"slot":"0","a":[1,2]}"#),
            ("terminal", "{\"id\": \"\\u001b[2J\"}", r#"id="\u001b[2J""#),
            ("terminal in a name", "{\"\\u001b[2J\": 1}", r"\u001b[2J=1"),
            ("raw control in nested", "{\"a\": [\"\u{9b}2J\"]}", r#"a=["\u009b2J"]"#),
            ("no object", "[1, 2]", "[1,2]"),
            ("null", "null", "null"),
        ];
        for (name, json, shown) in cases {
            assert_eq!(compact_members(json), shown, "{name}");
        }
    }

    proptest! {
        /// Compact JSON has the value of the original.
        #[test]
        fn compact_json_has_the_same_value(strings in prop::collection::vec(any::<String>(), 0..5), number in any::<i64>()) {
            let value = serde_json::json!({"s": strings, "n": number});
            let pretty = serde_json::to_string_pretty(&value).unwrap();
            prop_assert_eq!(compact(&pretty), value.to_string());
        }
    }
}
