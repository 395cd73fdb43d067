//! The notation of sent and expected messages, in one line: `NAME member=value member.of.member=value !absent`.
//!
//! A value is JSON, or else a text up to the next space. `reply` is a successful reply and `error` one that is not.

use serde_json::{Map, Value, json};

/// A line of that notation.
#[derive(Debug)]
pub(crate) struct Words<'a> {
    /// An event, a command, or a kind of finding.
    pub(crate) name: &'a str,
    members: Vec<(&'a str, Value)>,
    absent: Vec<&'a str>,
}

impl<'a> Words<'a> {
    /// Parses `text`.
    ///
    /// # Panics
    ///
    /// If a word is neither `member=value` nor `!member`: the scenario is invalid.
    pub(crate) fn read(text: &'a str) -> Self {
        let (name, mut rest) = text.split_once(' ').unwrap_or((text, ""));
        let mut words = Self { name, members: Vec::new(), absent: Vec::new() };
        loop {
            rest = rest.trim_start();
            if rest.is_empty() {
                return words;
            }
            if let Some(absent) = rest.strip_prefix('!') {
                let (member, after) = absent.split_once(' ').unwrap_or((absent, ""));
                words.absent.push(member);
                rest = after;
                continue;
            }
            let (member, after) = rest.split_once('=').unwrap_or_else(|| panic!("no value: {text}"));
            let (value, after) = value(after);
            words.members.push((member, value));
            rest = after;
        }
    }

    /// Returns the members as the arguments of a command.
    pub(crate) fn arguments(self) -> Map<String, Value> {
        self.members.into_iter().map(|(member, value)| (member.to_owned(), value)).collect()
    }

    /// Returns whether `data` has all members with their values, and no member that has to be absent.
    pub(crate) fn hold_of(&self, data: &Value) -> bool {
        let at = |path: &str| path.split('.').try_fold(data, |value, member| value.get(member));
        self.members.iter().all(|(path, value)| at(path) == Some(value))
            && self.absent.iter().all(|path| at(path).is_none())
    }
}

/// Returns whether a message of QEMU matches `expected`.
pub(crate) fn is(message: &Value, expected: &str) -> bool {
    let words = Words::read(expected);
    let none = Value::Null;
    match words.name {
        "reply" => message.get("return").is_some_and(|value| words.hold_of(value)),
        "error" => message.get("error").is_some_and(|value| words.hold_of(value)),
        name => message["event"] == name && words.hold_of(message.get("data").unwrap_or(&none)),
    }
}

/// Returns a command in QEMU's form.
pub(crate) fn request(command: &str) -> Value {
    let words = Words::read(command);
    let mut request = json!({"execute": words.name});
    let arguments = words.arguments();
    if !arguments.is_empty() {
        request["arguments"] = arguments.into();
    }
    request
}

/// Returns the value at the beginning of `text`, and the rest.
fn value(text: &str) -> (Value, &str) {
    let mut json = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    // `null` is the status of a job.
    if let Some(Ok(value)) = json.next().filter(|value| !matches!(value, Ok(Value::Null))) {
        let after = &text[json.byte_offset()..];
        if after.is_empty() || after.starts_with(' ') {
            return (value, after);
        }
    }
    let (word, after) = text.split_once(' ').unwrap_or((text, ""));
    (word.into(), after)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_what_is_expected_from_what_is_not() {
        let reset = json!({"event": "RESET", "data": {"guest": true, "reason": "guest-reset"}});
        let nested =
            json!({"event": "ACPI_DEVICE_OST", "data": {"info": {"slot": "0", "text": "two words"}}});
        let cases = [
            ("name alone", &reset, "RESET", true),
            ("another name", &reset, "STOP", false),
            ("members", &reset, "RESET reason=guest-reset guest=true", true),
            ("a value of another type", &reset, "RESET guest=\"true\"", false),
            ("absent as it should be", &reset, "RESET !device guest=true", true),
            ("not absent", &reset, "RESET !guest", false),
            ("missing", &reset, "RESET device=x", false),
            ("within a member, JSON with a space", &nested, "ACPI_DEVICE_OST info.text=\"two words\"", true),
            ("a number that is a text", &nested, "ACPI_DEVICE_OST info.slot=0", false),
            ("an event is no reply", &reset, "reply", false),
            ("without data", &json!({"event": "STOP"}), "STOP !guest", true),
            ("a reply", &json!({"return": {"status": "running"}}), "reply status=running", true),
            ("an error", &json!({"error": {"class": "GenericError"}}), "error class=GenericError", true),
            ("an error is no success", &json!({"error": {}}), "reply", false),
        ];
        for (name, message, expected, outcome) in cases {
            assert_eq!(is(message, expected), outcome, "{name}");
        }
    }

    #[test]
    fn arguments_are_json_where_they_can_be() {
        let arguments = Words::read(r#"x a=1 b=on c=[{"d": true}] e=7z f=null"#).arguments();
        assert_eq!(
            Value::from(arguments),
            json!({"a": 1, "b": "on", "c": [{"d": true}], "e": "7z", "f": "null"})
        );
    }
}
