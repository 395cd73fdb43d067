//! Explanations of the end of a process that was seen.

use serde_json::{Value, json};

use crate::finding::Id;
use crate::process::is_qemu;
use crate::state::Explanation;
use crate::text;

/// The end of the sentences about a QEMU whose exit status is unknown.
const EXITED: &str = "QEMU exited.";

/// Signals by which Linux ends a faulty process, and the two that people send.
///
/// Source: signal(7), for x86 and ARM.
const SIGNALS: [(u64, &str, bool); 11] = [
    //           a crash
    (3, "SIGQUIT", true),
    (4, "SIGILL", true),
    (5, "SIGTRAP", true),
    (6, "SIGABRT", true),
    (7, "SIGBUS", true),
    (8, "SIGFPE", true),
    (9, "SIGKILL", false),
    (11, "SIGSEGV", true),
    (15, "SIGTERM", false),
    (25, "SIGXFSZ", true),
    (31, "SIGSYS", true),
];

/// The explanation `guess` of an end, with how the process named `name` ended.
pub(super) fn explained(guess: &Explanation, name: &str, how: &Value, id: Id) -> Explanation {
    let mut explained = guess.clone();
    for member in ["exit_code", "signal", "core_dumped"] {
        explained.details.extend(how.get(member).map(|value| (member.to_owned(), value.clone())));
    }
    let code = how.get("exit_code").and_then(Value::as_u64);
    let signal = signal(how);
    if guess.cause == "gone" {
        (explained.cause, explained.by, explained.summary) = match (code, signal) {
            (_, Some(signal)) => {
                by_signal(&subject(name), signal, how.get("core_dumped") == Some(&json!(true)))
            }
            (Some(code), None) => {
                let sentence = format!("{} exited with status {code}, and no event said why.", subject(name));
                ("exited", "qemu", sentence)
            }
            (None, None) => return explained,
        };
        explained.clause = explained.summary.trim_end_matches('.').to_owned();
        explained.causes.push(id);
    } else if let Some(before) = guess.summary.strip_suffix(EXITED) {
        let Some(code) = code.filter(|code| *code != 0) else { return explained };
        explained.summary = format!("{before}QEMU exited with status {code}.");
        explained.causes.push(id);
    }
    explained
}

/// The signal that ended the process.
pub(super) fn signal(how: &Value) -> Option<u64> {
    how.get("signal").and_then(Value::as_u64)
}

fn by_signal(subject: &str, signal: u64, core_dumped: bool) -> (&'static str, &'static str, String) {
    let is_crash = SIGNALS.iter().any(|(number, _, is_crash)| *number == signal && *is_crash);
    let signal_name = named(signal);
    if is_crash {
        let core = if core_dumped { ", and left a core dump" } else { "" };
        ("crashed", "qemu", format!("{subject} crashed, by {signal_name}{core}."))
    } else if signal == 9 {
        let sentence = format!(
            "{subject} was killed by {signal_name}: by a process of the host, or by the kernel because memory ran out."
        );
        ("killed", "host", sentence)
    } else {
        ("killed", "host", format!("{subject} was killed by {signal_name}."))
    }
}

/// The name of a signal.
pub(super) fn named(signal: u64) -> String {
    match SIGNALS.iter().find(|(number, ..)| *number == signal) {
        Some((_, name, _)) => (*name).to_owned(),
        None => format!("signal {signal}"),
    }
}

/// The subject of the sentence. A process may have any name; a QEMU is not named.
fn subject(name: &str) -> String {
    if name.is_empty() || is_qemu(name) {
        "QEMU".to_owned()
    } else {
        format!("The process {}", text::shown(name))
    }
}
