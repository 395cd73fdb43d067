//! The words that correlators keep: a text is one of them, or it is not of this program.

use serde_json::Value;

use crate::kinds::KINDS;
use crate::question;
use crate::saved::Saved;
use crate::why;

/// The side that is no cause, and what flaps (`VM` stops and resumes).
const WORDS: [&str; 7] = ["qemu", "VM", "network", "persistent reservation manager", "port", "sleep", "tray"];

/// The word of the program that this is.
fn word(text: &str) -> Option<&'static str> {
    let mut words = WORDS
        .into_iter()
        .chain(KINDS)
        .chain([question::QUERY_STATUS, question::QUERY_JOBS])
        .chain(why::CAUSES);
    words.find(|word| *word == text)
}

/// A word of the program's own.
impl Saved for &'static str {
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
