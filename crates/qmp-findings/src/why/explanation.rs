//! Explanations: cause, side and sentence, the client that is named, and the finding.

use serde_json::{Map, Value, json};

use super::causing_command::CausingCommand;
use super::run_states::ENDED;
use crate::conclusion::Conclusions;
use crate::finding::Id;
use crate::state::Explanation;
use crate::text;

/// Every cause: of an end, a reset, a stop, or a run state.
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

/// The member of the details with the command that was given through the hub.
pub(super) const COMMAND: &str = "command";

/// Adds the finding with this explanation.
pub(super) fn report(kind: &'static str, why: &Explanation, found: &mut Conclusions) {
    debug_assert!(CAUSES.contains(&why.cause), "{} is not listed", why.cause);
    let mut data = Map::from_iter([("cause".to_owned(), json!(why.cause)), ("by".to_owned(), json!(why.by))]);
    if !why.run_state.is_empty() {
        data.insert("run_state".to_owned(), json!(why.run_state));
    }
    data.extend(why.details.clone());
    found.push(kind, why.summary.clone(), why.causes.clone(), data.into());
}

/// Creates an explanation whose sentence is `clause` and `rest`.
pub(super) fn new_explanation(
    (cause, by, run_state): (&'static str, &'static str, &str),
    clause: impl Into<String>,
    rest: &str,
    causes: impl IntoIterator<Item = Id>,
) -> Explanation {
    let mut causes: Vec<Id> = causes.into_iter().collect();
    causes.sort_unstable();
    causes.dedup();
    debug_assert!(CAUSES.contains(&cause), "{cause} is not listed");
    let clause = clause.into();
    let summary = format!("{clause}{rest}.");
    Explanation { cause, by, summary, causes, details: Map::new(), run_state: run_state.into(), clause }
}

/// Makes a command the cause, and names the client of the hub that gave it.
pub(super) fn name_client(explained: &mut Explanation, given: CausingCommand<'_>) {
    let CausingCommand { id, cause, command } = given;
    let (execute, name) = (&*command.execute, command.name());
    let client_name = command.client.as_deref().map_or_else(|| "a client of the hub".to_owned(), text::shown);
    (explained.clause, explained.summary) = match (cause, name) {
        ("host-stop", _) => sentence(format!("It was paused by `stop`, from {client_name}"), ""),
        ("resume", "cont" | "c") => {
            sentence(format!("It was started or resumed by `cont`, from {client_name}"), ", and runs")
        }
        ("resume", _) => {
            sentence(format!("It was resumed when `{name}` was done, from {client_name}"), ", and runs")
        }
        ("host-qmp-system-reset", _) if &*explained.run_state == ENDED => sentence(
            format!(
                "It was reset by `system_reset`, from {client_name}, and is set to end then (`-no-reboot`)"
            ),
            ", and QEMU exited",
        ),
        ("host-qmp-system-reset", _) => {
            sentence(format!("It was reset by `system_reset`, from {client_name}"), "")
        }
        ("host-qmp-quit", _) => {
            sentence(format!("It was ended by `{execute}`, from {client_name}"), ", and QEMU exited")
        }
        ("migration", _) => sentence(format!("It was migrated away by `migrate`, from {client_name}"), ""),
        _ if command.has_failed => {
            sentence(format!("It was stopped for `{name}`, from {client_name}, which failed"), "")
        }
        _ => sentence(format!("It was stopped for `{name}`, from {client_name}"), ""),
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
