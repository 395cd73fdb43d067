//! An explanation: cause, side and sentence, how it names a client, and how it becomes a finding.

use serde_json::{Map, Value, json};

use super::given::Given;
use super::run_states::ENDED;
use crate::conclusion::Found;
use crate::finding::Id;
use crate::state::Why;
use crate::text;

/// Every cause that is told, of an end, a reset, a stop, or how a VM stands.
pub(in super::super) const CAUSES: [&str; 35] = [
    "crashed",
    "debug",
    "exited",
    "found",
    "found-paused",
    "found-prelaunch",
    "found-running",
    "gone",
    "guest",
    "guest-hibernate",
    "guest-panic",
    "guest-reset",
    "guest-shutdown",
    "guest-suspend",
    "host",
    "host-error",
    "host-qmp-quit",
    "host-qmp-system-reset",
    "host-signal",
    "host-stop",
    "host-ui",
    "incoming-migration",
    "internal-error",
    "io-error",
    "killed",
    "memory-failure",
    "migration",
    "reset",
    "restore-vm",
    "resume",
    "save-vm",
    "shutdown",
    "unknown",
    "wakeup",
    "watchdog",
];

/// The member of the details that names the command by which it was done through the hub.
pub(super) const COMMAND: &str = "command";

/// Adds the finding that says so.
pub(super) fn tell(kind: &'static str, why: &Why, found: &mut Found) {
    debug_assert!(CAUSES.contains(&why.cause), "{} is not listed", why.cause);
    let mut data = Map::from_iter([("cause".to_owned(), json!(why.cause)), ("by".to_owned(), json!(why.by))]);
    if !why.run_state.is_empty() {
        data.insert("run_state".to_owned(), json!(why.run_state));
    }
    data.extend(why.details.clone());
    found.push(kind, why.summary.clone(), why.causes.clone(), data.into());
}

/// An explanation whose sentence is `clause` and `rest`.
pub(super) fn why(
    (cause, by, run_state): (&'static str, &'static str, &str),
    clause: impl Into<String>,
    rest: &str,
    causes: impl IntoIterator<Item = Id>,
) -> Why {
    let mut causes: Vec<Id> = causes.into_iter().collect();
    causes.sort_unstable();
    causes.dedup();
    debug_assert!(CAUSES.contains(&cause), "{cause} is not listed");
    let clause = clause.into();
    let summary = format!("{clause}{rest}.");
    Why { cause, by, summary, causes, details: Map::new(), run_state: run_state.into(), clause }
}

/// Says that a command did it, and which client of the hub gave it.
pub(super) fn name_client(explained: &mut Why, given: Given<'_>) {
    let Given { id, cause, command } = given;
    let execute = &*command.execute;
    let who = command.client.as_deref().map_or_else(|| "a client of the hub".to_owned(), text::shown);
    (explained.clause, explained.summary) = match (cause, execute) {
        ("host-stop", _) => sentence(format!("It was paused by `stop`, from {who}"), ""),
        ("resume", "cont" | "human-monitor-command") => {
            sentence(format!("It was started or resumed by `cont`, from {who}"), ", and runs")
        }
        ("resume", _) => sentence(format!("It went on when `{execute}` was done, from {who}"), ", and runs"),
        ("host-qmp-system-reset", _) if &*explained.run_state == ENDED => sentence(
            format!("It was reset by `system_reset`, from {who}, and is set to end then (`-no-reboot`)"),
            ", and QEMU exited",
        ),
        ("host-qmp-system-reset", _) => sentence(format!("It was reset by `system_reset`, from {who}"), ""),
        ("host-qmp-quit", _) => {
            sentence(format!("It was ended by `{execute}`, from {who}"), ", and QEMU exited")
        }
        ("migration", _) => sentence(format!("It was migrated away by `migrate`, from {who}"), ""),
        _ => sentence(format!("It was stopped for `{execute}`, from {who}"), ""),
    };
    (explained.cause, explained.by) = (cause, "host");
    explained.causes.push(id);
    explained.causes.sort_unstable();
    explained.causes.dedup();
    explained.details.insert(COMMAND.to_owned(), json!(execute));
    let client = command.client.as_deref();
    explained.details.extend(client.map(|client| ("client".to_owned(), Value::from(client))));
}

fn sentence(clause: String, rest: &str) -> (String, String) {
    let summary = format!("{clause}{rest}.");
    (clause, summary)
}
