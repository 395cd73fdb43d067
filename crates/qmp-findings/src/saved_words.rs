//! The words that correlators keep: a text is one of them, or it is not of this program.

use serde_json::Value;

use crate::kinds::KINDS;
use crate::question;
use crate::saved::Saved;
use crate::why;

/// Causes and sides of explanations, those of run states aside, and what flaps.
const WORDS: [&str; 35] = [
    // Sides.
    "guest",
    "host",
    "qemu",
    "unknown",
    // Causes.
    "crashed",
    "exited",
    "gone",
    "guest-hibernate",
    "guest-panic",
    "guest-reset",
    "guest-shutdown",
    "guest-suspend",
    "host-error",
    "host-qmp-quit",
    "host-qmp-system-reset",
    "host-signal",
    "host-stop",
    "host-ui",
    "io-error",
    "killed",
    "memory-failure",
    "migration",
    "reset",
    "restore-vm",
    "resume",
    "save-vm",
    "shutdown",
    "wakeup",
    "watchdog",
    // What flaps, and `VM`, which stops and resumes.
    "VM",
    "network",
    "persistent reservation manager",
    "port",
    "sleep",
    "tray",
];

/// The word of the program that this is.
fn word(text: &str) -> Option<&'static str> {
    let mut words = WORDS
        .into_iter()
        .chain(KINDS)
        .chain([question::QUERY_STATUS, question::QUERY_JOBS])
        .chain(why::run_state_causes());
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
