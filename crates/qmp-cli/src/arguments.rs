//! The arguments of a QMP command on the command line: `key=value …`, or one JSON object.
//!
//! A value that is JSON is taken as JSON (`delay=10`, `force=true`, `filter={"a": 1}`, `id="12"`), and
//! anything else is a string (`device=drive0`). A dot in a key goes one level down (`backing.driver=file`).

use std::fmt;

use serde_json::{Map, Value};

/// Errors of [`parse`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ArgumentsError {
    /// The word is neither `key=value` nor an object.
    NoEquals {
        /// The word.
        word: Box<str>,
    },
    /// The key, or a part of it, is empty.
    EmptyKey {
        /// The word.
        word: Box<str>,
    },
    /// The key has a value already, or is used both as a value and as a level.
    Twice {
        /// The key, with its levels.
        key: Box<str>,
    },
    /// The JSON text is malformed.
    NotJson {
        /// The error and its position.
        what: Box<str>,
    },
    /// The JSON text is valid and not an object.
    NotAnObject,
}

impl fmt::Display for ArgumentsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoEquals { word } => write!(f, "expected key=value or a JSON object, found {word:?}"),
            Self::EmptyKey { word } => write!(f, "the key before \"=\" is empty in {word:?}"),
            Self::Twice { key } => write!(f, "{key} is given twice"),
            Self::NotJson { what } => write!(f, "the arguments are not JSON: {what}"),
            Self::NotAnObject => write!(f, "the arguments must be a JSON object, {{…}}"),
        }
    }
}

impl std::error::Error for ArgumentsError {}

/// Returns the arguments as JSON text; `None` if there are none.
///
/// # Errors
///
/// Any [`ArgumentsError`].
pub fn parse(words: &[String]) -> Result<Option<String>, ArgumentsError> {
    match words {
        [] => Ok(None),
        [json] if json.trim_start().starts_with(['{', '[']) => object(json).map(Some),
        words => {
            let mut arguments = Map::new();
            for word in words {
                let (key, value) = word
                    .split_once('=')
                    .ok_or_else(|| ArgumentsError::NoEquals { word: word.as_str().into() })?;
                insert(&mut arguments, key, value, word)?;
            }
            Ok(Some(Value::Object(arguments).to_string()))
        }
    }
}

/// Checks that `json` is one JSON object, and returns it unchanged.
///
/// # Errors
///
/// [`ArgumentsError::NotJson`] and [`ArgumentsError::NotAnObject`].
pub fn object(json: &str) -> Result<String, ArgumentsError> {
    match serde_json::from_str::<&serde_json::value::RawValue>(json) {
        Err(error) => Err(ArgumentsError::NotJson { what: error.to_string().into() }),
        Ok(raw) if raw.get().starts_with('{') => Ok(raw.get().to_owned()),
        Ok(_) => Err(ArgumentsError::NotAnObject),
    }
}

fn insert(
    arguments: &mut Map<String, Value>,
    key: &str,
    value: &str,
    word: &str,
) -> Result<(), ArgumentsError> {
    let twice = || ArgumentsError::Twice { key: key.into() };
    if key.split('.').any(str::is_empty) {
        return Err(ArgumentsError::EmptyKey { word: word.into() });
    }
    let mut level = arguments;
    let mut parts = key.split('.').peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            let value = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()));
            return if level.insert(part.to_owned(), value).is_some() { Err(twice()) } else { Ok(()) };
        }
        let below = level.entry(part).or_insert_with(|| Value::Object(Map::new()));
        level = below.as_object_mut().ok_or_else(twice)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parsed(words: &[&str]) -> Result<Option<String>, ArgumentsError> {
        parse(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn words_are_read_as_members() {
        let cases: [(&str, &[&str], Option<&str>); 10] = [
            ("none", &[], None),
            ("string", &["device=drive0"], Some(r#"{"device":"drive0"}"#)),
            (
                "number and bool",
                &["value=1073741824", "force=true"],
                Some(r#"{"force":true,"value":1073741824}"#),
            ),
            ("largest integer", &["n=18446744073709551615"], Some(r#"{"n":18446744073709551615}"#)),
            ("string of digits", &["id=\"12\""], Some(r#"{"id":"12"}"#)),
            ("empty string", &["device="], Some(r#"{"device":""}"#)),
            ("equals in the value", &["cmdline=a=b c"], Some(r#"{"cmdline":"a=b c"}"#)),
            ("nested", &["a.b.c=1", "a.b.d=x", "a.e=[1]"], Some(r#"{"a":{"b":{"c":1,"d":"x"},"e":[1]}}"#)),
            ("object value", &[r#"a={"b": 1}"#, "a.c=2"], Some(r#"{"a":{"b":1,"c":2}}"#)),
            ("object", &[r#" {"b": 1.0, "a": 2} "#], Some(r#"{"b": 1.0, "a": 2}"#)),
        ];
        for (name, words, expected) in cases {
            assert_eq!(parsed(words).as_ref().map(Option::as_deref), Ok(expected), "{name}");
        }
    }

    #[test]
    fn malformed_words_are_refused() {
        let cases: [(&[&str], &str); 8] = [
            (&["drive0"], "expected key=value or a JSON object, found \"drive0\""),
            (&["=x"], "the key before \"=\" is empty in \"=x\""),
            (&["a..b=1"], "the key before \"=\" is empty in \"a..b=1\""),
            (&["a=1", "a=2"], "a is given twice"),
            (&["a=1", "a.b=2"], "a.b is given twice"),
            (&["a.b=2", "a=1"], "a is given twice"),
            (&["{\"a\": }"], "the arguments are not JSON: expected value at line 1 column 7"),
            (&["[1]"], "the arguments must be a JSON object, {…}"),
        ];
        for (words, expected) in cases {
            assert_eq!(parsed(words).unwrap_err().to_string(), expected, "{words:?}");
        }
    }

    proptest! {
        /// A string reaches the VM unchanged, unless it is JSON.
        #[test]
        fn string_is_sent_unchanged(text in "[a-z/ :=.]{0,20}") {
            prop_assume!(serde_json::from_str::<Value>(&text).is_err());
            let arguments = parsed(&[&format!("key={text}")]).unwrap().unwrap();
            let value: Value = serde_json::from_str(&arguments).unwrap();
            prop_assert_eq!(value, serde_json::json!({"key": text}));
        }
    }
}
