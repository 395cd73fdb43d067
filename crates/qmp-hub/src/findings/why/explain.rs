//! The sentences about a VM that is there, and what they say for programs.

use qmp_events::EventKind as K;
use serde_json::{Map, Value, json};

use super::super::input::{Event, Input};
use super::super::tracked::Found;
use super::super::{BREATH, COMMAND_SAID_MAX, Id, text};
use super::ENDED;
use super::evidence::{Evidence, IoError, Mark, Panic};
use crate::state::Why;

/// The member of the details that names the command by which it was done through the hub.
pub(super) const COMMAND: &str = "command";

/// Adds the finding that says so.
pub(super) fn tell(kind: &'static str, why: &Why, found: &mut Found) {
    let mut data = Map::from_iter([
        ("cause".to_owned(), json!(why.cause)),
        ("by".to_owned(), json!(why.by)),
        ("run_state".to_owned(), json!(why.run_state)),
    ]);
    data.extend(why.details.clone());
    found.push(kind, why.summary.clone(), why.causes.clone(), data.into());
}

pub(super) fn why(
    (cause, by, run_state): (&'static str, &'static str, &'static str),
    summary: impl Into<String>,
    causes: impl IntoIterator<Item = Id>,
) -> Why {
    let mut causes: Vec<Id> = causes.into_iter().collect();
    causes.sort_unstable();
    causes.dedup();
    Why { cause, by, summary: summary.into(), causes, details: Map::new(), run_state }
}

/// How the VM was found when an epoch opened.
pub(super) fn found(status: &str, id: Id) -> Why {
    let (cause, by, summary): (_, _, &str) = match status {
        "running" => ("found-running", "unknown", "It ran when this epoch began."),
        "paused" => (
            "found-paused",
            "host",
            "It was paused when this epoch began: by `stop`, or for another reason of the host.",
        ),
        "prelaunch" => (
            "found-prelaunch",
            "host",
            "It had not been started when this epoch began (`-S`, or a reset while stopped).",
        ),
        "io-error" => ("io-error", "qemu", "An I/O error had stopped it before this epoch began."),
        "guest-panicked" => ("guest-panic", "guest", "Its guest had panicked before this epoch began."),
        "watchdog" => ("watchdog", "guest", "Its watchdog had stopped it before this epoch began."),
        "shutdown" => (
            "guest-shutdown",
            "guest",
            "It had shut down before this epoch began, and QEMU stays (`-no-shutdown`).",
        ),
        "suspended" => ("guest-suspend", "guest", "Its guest had gone to sleep before this epoch began."),
        "internal-error" => {
            ("internal-error", "qemu", "An error in QEMU or KVM had stopped it before this epoch began.")
        }
        "inmigrate" => {
            ("incoming-migration", "host", "It waited for an incoming migration when this epoch began.")
        }
        "postmigrate" => ("migration", "host", "It had been migrated away before this epoch began."),
        "finish-migrate" => ("migration", "host", "A migration was taking it over when this epoch began."),
        _ => ("found", "unknown", "So it was found when this epoch began."),
    };
    why((cause, by, ""), summary, [id])
}

pub(super) fn running(kind: K, evidence: &Evidence, input: &Input<'_>) -> Why {
    let id = input.id;
    if kind == K::Wakeup {
        return why(("wakeup", "unknown", "running"), "The guest woke from sleep and runs.", [id]);
    }
    let mut explained =
        why(("resume", "host", "running"), "It was started or resumed (`cont`), and runs.", [id]);
    if let Some((command, client)) = evidence.client("cont", input.now, BREATH) {
        name_client(&mut explained, "cont", command, client);
    }
    explained
}

pub(super) fn suspended(id: Id) -> Why {
    why(
        ("guest-suspend", "guest", "suspended"),
        "The guest went to sleep with its memory powered (ACPI S3).",
        [id],
    )
}

pub(super) fn panicked_and_runs(id: Id) -> Why {
    why(
        ("guest-panic", "guest", "running"),
        "The guest panicked and was left running (`-action panic=none`).",
        [id],
    )
}

pub(super) fn panic(cause: Id, said: &Panic, stop: Id) -> Why {
    let mut explained = why(
        ("guest-panic", "guest", "guest-panicked"),
        "The guest panicked, and QEMU paused it.",
        [cause, stop],
    );
    explained.details.extend(said.info.clone().map(|info| ("info".to_owned(), info)));
    explained
}

pub(super) fn watchdog_pause(cause: Id, stop: Id) -> Why {
    let summary = "Its watchdog expired, because the guest did not answer, and QEMU paused it.";
    why(("watchdog", "guest", "watchdog"), summary, [cause, stop])
}

pub(super) fn watchdog_reset(cause: Id, reset: Id) -> Why {
    let summary = "Its watchdog expired, because the guest did not answer, and QEMU reset it.";
    why(("watchdog", "guest", "running"), summary, [cause, reset])
}

pub(super) fn io_error(cause: Id, said: &IoError, stop: Id) -> Why {
    let device = [&said.device, &said.qom_path, &said.node_name].into_iter().flatten().next();
    let device = device
        .map_or_else(|| "a disk without a name".to_owned(), |device| format!("disk {}", text::shown(device)));
    let operation = match said.operation.as_deref() {
        Some("read") => "A read from",
        Some("write") => "A write to",
        _ => "Access to",
    };
    let reason = match (&said.reason, said.no_space) {
        (Some(reason), _) => format!(" ({})", text::shown(reason)),
        (None, true) => " (no space left)".to_owned(),
        (None, false) => String::new(),
    };
    let summary =
        format!("{operation} {device} failed{reason}, and QEMU paused it until `cont`, which tries again.");
    let mut explained = why(("io-error", "qemu", "io-error"), summary, [cause, stop]);
    let members = [
        ("device", &said.device),
        ("node-name", &said.node_name),
        ("qom-path", &said.qom_path),
        ("operation", &said.operation),
        ("reason", &said.reason),
    ];
    for (name, value) in members {
        explained.details.extend(value.as_ref().map(|value| (name.to_owned(), json!(value))));
    }
    explained.details.insert("nospace".to_owned(), json!(said.no_space));
    explained
}

/// A stop that the events do not explain; whether the command is known that did it.
pub(super) fn host_stop(evidence: &Evidence, stop: Mark) -> (Why, bool) {
    let summary = "It was paused from outside: by `stop`, or by a migration, a snapshot or an error that QEMU reports in no event.";
    let mut explained = why(("host-stop", "host", "paused"), summary, [stop.id]);
    let client = evidence.client("stop", stop.now, BREATH);
    if let Some((command, client)) = client {
        name_client(&mut explained, "stop", command, client);
    }
    (explained, client.is_some())
}

/// A stop while a migration is under way.
pub(super) fn switchover(evidence: &Evidence, stop: Id) -> Why {
    let migration = evidence.migration.as_ref().map(|(mark, _)| mark.id);
    let summary = "It was paused so that its migration could take the last of it over.";
    why(("migration", "host", "finish-migrate"), summary, migration.into_iter().chain([stop]))
}

/// A migration that is complete.
pub(super) fn migrated(standing: Option<&Why>, completed: Id) -> Why {
    let before = standing.map(|why| why.causes.clone()).unwrap_or_default();
    let summary = "It was migrated away; it runs elsewhere, and here only QEMU remains.";
    why(("migration", "host", "postmigrate"), summary, before.into_iter().chain([completed]))
}

pub(super) fn firmware_reset(before: Id, reset: Id) -> Why {
    let summary = "The firmware reset the machine once more, as some do after a reset.";
    why(("firmware-reset", "guest", "running"), summary, [before, reset])
}

/// A reset, and whether that is the last word about it. `state` is the run state afterwards.
pub(super) fn reset(evidence: &Evidence, mark: Mark, event: &Event<'_>, state: &'static str) -> (Why, bool) {
    let watchdog = evidence
        .watchdog
        .as_ref()
        .filter(|(cause, action)| &**action == "reset" && mark.now.since(cause.now) <= BREATH);
    let guests = |evidence: Option<&(Mark, Box<str>)>| match evidence {
        Some((cause, _)) => (watchdog_reset(cause.id, mark.id), true),
        None => (why(("guest-reset", "guest", state), "The guest rebooted.", [mark.id]), false),
    };
    match (event.text("reason"), event.flag("guest")) {
        (Some("guest-reset"), _) => guests(watchdog),
        (None, Some(true)) => guests(watchdog),
        (Some("host-qmp-system-reset"), _) | (None, Some(false)) => {
            let mut explained =
                why(("host-qmp-system-reset", "host", state), "It was reset by `system_reset`.", [mark.id]);
            let client = evidence.client("system_reset", mark.now, BREATH);
            if let Some((command, client)) = client {
                name_client(&mut explained, "system_reset", command, client);
            }
            (explained, client.is_some())
        }
        (None, None) if watchdog.is_some() => guests(watchdog),
        (reason, _) => {
            let summary = match reason {
                Some(reason) => format!("It was reset, with the reason {}.", text::shown(reason)),
                None => "It was reset; its QEMU does not say by whom.".to_owned(),
            };
            (why(("reset", "unknown", state), summary, [mark.id]), true)
        }
    }
}

/// Says which client of the hub gave the command.
pub(super) fn by_client(explained: &mut Why, evidence: &Evidence, execute: &str, mark: Mark) {
    if let Some((command, client)) = evidence.client(execute, mark.now, COMMAND_SAID_MAX + BREATH) {
        name_client(explained, execute, command, client);
    }
}

pub(super) fn name_client(explained: &mut Why, execute: &str, command: Id, client: Option<&str>) {
    let who = client.map_or_else(|| "a client of the hub".to_owned(), text::shown);
    explained.summary = match execute {
        "stop" => format!("It was paused by `stop`, from {who}."),
        "cont" => format!("It was started or resumed by `cont`, from {who}, and runs."),
        "system_reset" if explained.run_state == ENDED => {
            format!(
                "It was reset by `system_reset`, from {who}, and is set to end then (`-no-reboot`), and QEMU exited."
            )
        }
        "system_reset" => format!("It was reset by `system_reset`, from {who}."),
        _ => format!("It was ended by `{execute}`, from {who}, and QEMU exited."),
    };
    explained.causes.push(command);
    explained.causes.sort_unstable();
    explained.details.insert(COMMAND.to_owned(), json!(execute));
    explained.details.extend(client.map(|client| ("client".to_owned(), Value::from(client))));
}
