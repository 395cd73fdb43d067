//! The words that correlators keep: a text is one of them, or it is not of this program.

use super::super::{KINDS, question, why};

/// Causes and sides of explanations, those of run states aside, and what flaps.
const WORDS: [&str; 36] = [
    // Sides.
    "guest",
    "host",
    "qemu",
    "unknown",
    // Causes.
    "crashed",
    "exited",
    "firmware-reset",
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
pub(super) fn word(text: &str) -> Option<&'static str> {
    let mut words = WORDS
        .into_iter()
        .chain(KINDS)
        .chain([question::QUERY_STATUS, question::QUERY_JOBS])
        .chain(why::run_state_causes());
    words.find(|word| *word == text)
}
