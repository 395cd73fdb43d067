//! The static strings of correlators: a saved text is one of them, or it is invalid.

use serde_json::Value;

use crate::kinds::KINDS;
use crate::persist::Persist;
use crate::question;
use crate::why;

/// The side that is not a cause, and the names of flapping things (`VM` stops and resumes).
const WORDS: [&str; 7] = ["qemu", "VM", "network", "persistent reservation manager", "port", "sleep", "tray"];

/// The static string that equals the text.
fn word(text: &str) -> Option<&'static str> {
    let mut words = WORDS
        .into_iter()
        .chain(KINDS.iter().map(|kind| kind.name))
        .chain([question::QUERY_STATUS, question::QUERY_JOBS])
        .chain(why::CAUSES);
    words.find(|word| *word == text)
}

/// A static string of the program.
impl Persist for &'static str {
    fn layout(into: &mut String) {
        into.push_str("word ");
    }

    fn save(&self) -> Value {
        debug_assert!(word(self).is_some(), "{self} is not in the table of words");
        Value::from(*self)
    }

    fn load(value: Value) -> Option<Self> {
        word(value.as_str()?)
    }
}
