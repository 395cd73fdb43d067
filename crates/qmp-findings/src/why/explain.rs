//! The sentences about a VM that is there, and what they say for programs.

use qmp_events::EventKind as K;
use serde_json::json;

use super::evidence::{Evidence, IoError, Mark, Panic, Seen};
use super::explanation::{name_client, why};
use super::given::Given;
use super::{ending, run_states};
use crate::finding::Id;
use crate::limits::BREATH;
use crate::observation::{Event, Input};
use crate::state::Why;
use crate::text;

/// How the sentences about a watchdog begin.
const WATCHDOG_EXPIRED: &str = "Its watchdog expired, because the guest did not answer";

/// How the VM was found when an epoch opened.
pub(super) fn found(status: &str, id: Id) -> Why {
    let state = run_states::of(status);
    let (cause, clause) = state.found;
    why((cause, state.by, status), clause, "", [id])
}

pub(super) fn running(kind: K, evidence: &Evidence, input: &Input<'_>) -> Why {
    let id = input.id;
    if kind == K::Wakeup {
        return why(("wakeup", "unknown", "running"), "The guest woke from sleep", " and runs", [id]);
    }
    let clause = "It was started or resumed, and runs; no recorded command says by whom";
    let mut explained = why(("resume", "unknown", "running"), clause, "", [id]);
    if let Some(given) = evidence.resuming(input.now) {
        name_client(&mut explained, given);
    }
    explained
}

/// A VM that waited for an incoming migration (`waited`) runs, and this is the migration that it waited for.
pub(super) fn arrived(waited: &[Id], migration: Mark, resume: Id) -> Why {
    // What the VM said when the epoch opened tells of the migration, and not of anybody's doing.
    let by = if migration.id.1.0 == 0 { "unknown" } else { "host" };
    let causes = waited.iter().copied().chain([migration.id, resume]);
    why(("incoming-migration", by, "running"), "It was migrated to here", ", and runs", causes)
}

pub(super) fn suspended(id: Id) -> Why {
    why(
        ("guest-suspend", "guest", "suspended"),
        "The guest went to sleep with its memory powered (ACPI S3)",
        "",
        [id],
    )
}

pub(super) fn panicked_and_runs(id: Id) -> Why {
    why(
        ("guest-panic", "guest", "running"),
        "The guest panicked and was left running",
        " (`-action panic=none`)",
        [id],
    )
}

/// A guest that panicked and has another kernel to save what it can.
pub(super) fn crash_kernel(id: Id) -> Why {
    let clause = "The guest panicked and started its crash kernel";
    let mut explained = why(("guest-panic", "guest", "running"), clause, "", [id]);
    explained.details.insert("crash_kernel".to_owned(), json!(true));
    explained
}

pub(super) fn panic(cause: Id, said: &Panic, stop: Id) -> Why {
    let mut explained = why(
        ("guest-panic", "guest", "guest-panicked"),
        "The guest panicked",
        ", and QEMU paused it",
        [cause, stop],
    );
    explained.details.extend(said.info.clone().map(|info| ("info".to_owned(), info)));
    explained
}

pub(super) fn watchdog_pause(cause: Id, stop: Id) -> Why {
    why(("watchdog", "guest", "watchdog"), WATCHDOG_EXPIRED, ", and QEMU paused it", [cause, stop])
}

/// `state` is the run state afterwards.
pub(super) fn watchdog_reset(cause: Id, reset: Id, state: &str) -> Why {
    why(("watchdog", "guest", state), WATCHDOG_EXPIRED, ", and QEMU reset it", [cause, reset])
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
    let rest = ", and QEMU paused it until `cont`, which tries again";
    let clause = format!("{operation} {device} failed{reason}");
    let mut explained = why(("io-error", "qemu", "io-error"), clause, rest, [cause, stop]);
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

/// A stop that the events do not explain; whether a recorded command does.
pub(super) fn plain_stop(evidence: &Evidence, stop: Mark) -> (Why, bool) {
    let clause = "It was stopped, and it is not known why";
    let mut explained = why(("unknown", "unknown", "paused"), clause, "", [stop.id]);
    let given = evidence.stopping(stop.now);
    if let Some(given) = given {
        name_client(&mut explained, given);
    }
    (explained, given.is_some())
}

/// What the VM answered: its run state is `status`. `before` is what led there, such as the STOP that no event explains.
pub(super) fn answered(evidence: &Evidence, status: &str, before: Vec<Id>, answer: Id) -> Why {
    let state = run_states::of(status);
    let (cause, clause) = state.answered;
    let stop = before.last().copied().unwrap_or(answer);
    let mut explained = match (status, &**evidence) {
        ("shutdown", Seen { shutdown: Some((mark, said)), .. }) => {
            ending::shutdown(evidence, *mark, said, Some(stop), None)
        }
        ("guest-panicked", Seen { panic: Some((mark, said)), .. }) => panic(mark.id, said, stop),
        ("io-error", Seen { io_error: Some((mark, said)), .. }) => io_error(mark.id, said, stop),
        ("watchdog", Seen { watchdog: Some((mark, action)), .. }) if &**action == "pause" => {
            watchdog_pause(mark.id, stop)
        }
        ("finish-migrate", Seen { migration: Some(_), .. }) => switchover(evidence, stop),
        ("postmigrate", Seen { migration: Some((mark, _)), .. }) => migrated(None, mark.id),
        _ => why((cause, state.by, status), clause, "", [answer]),
    };
    explained.causes.extend(before);
    explained.causes.push(answer);
    explained.causes.sort_unstable();
    explained.causes.dedup();
    if let Some((mark, command)) = evidence.migrate.as_ref().filter(|_| explained.cause == "migration") {
        name_client(&mut explained, Given { id: mark.id, cause: "migration", command });
    }
    explained
}

/// The VM answered a probe: its run state is `status`, and no event told of it. `before` is what was known.
pub(super) fn named(evidence: &Evidence, status: &str, before: Vec<Id>, answer: Id) -> Why {
    let explained = answered(evidence, status, before, answer);
    if explained.cause != "unknown" {
        return explained;
    }
    let clause = format!(
        "Its run state is {}, as QEMU answered, and no event says what led there",
        text::shown(status)
    );
    why(("unknown", "unknown", status), clause, "", explained.causes)
}

/// The VM answered what was known: the run state has its name.
pub(super) fn confirmed(before: &Why, status: &str, answer: Id) -> Why {
    let mut explained = before.clone();
    explained.run_state = status.into();
    explained.causes.push(answer);
    explained
}

/// A stop while a migration is under way.
pub(super) fn switchover(evidence: &Evidence, stop: Id) -> Why {
    let migration = evidence.migration.as_ref().map(|(mark, _)| mark.id);
    let clause = "It was paused so that its migration could take the last of it over";
    why(("migration", "host", "finish-migrate"), clause, "", migration.into_iter().chain([stop]))
}

/// A migration that is complete.
pub(super) fn migrated(standing: Option<&Why>, completed: Id) -> Why {
    let before = standing.map(|why| why.causes.clone()).unwrap_or_default();
    let clause = "It was migrated away";
    let rest = "; it runs elsewhere, and here only QEMU remains";
    why(("migration", "host", "postmigrate"), clause, rest, before.into_iter().chain([completed]))
}

/// A reset by the guest of which nothing else is known. `state` is the run state afterwards.
pub(super) fn guest_reset(reset: Id, state: &str) -> Why {
    why(("guest-reset", "guest", state), "The guest rebooted", "", [reset])
}

/// A reset, and whether that is the last word about it. `state` is the run state afterwards.
pub(super) fn reset(evidence: &Evidence, mark: Mark, event: &Event<'_>, state: &str) -> (Why, bool) {
    let watchdog = evidence
        .watchdog
        .as_ref()
        .filter(|(cause, action)| &**action == "reset" && mark.now.since(cause.now) <= BREATH);
    let guests = |evidence: Option<&(Mark, Box<str>)>| match evidence {
        Some((cause, _)) => (watchdog_reset(cause.id, mark.id, state), true),
        None => (guest_reset(mark.id, state), false),
    };
    let by_host = |cause, clause| {
        let mut explained = why((cause, "host", state), clause, "", [mark.id]);
        let given = evidence.resetting(mark.now);
        if let Some(given) = given {
            name_client(&mut explained, given);
        }
        (explained, given.is_some())
    };
    match (event.text("reason"), event.flag("guest")) {
        (Some("guest-reset"), _) => guests(watchdog),
        (None, Some(true)) => guests(watchdog),
        (Some("host-qmp-system-reset"), _) => {
            by_host("host-qmp-system-reset", "It was reset by `system_reset`")
        }
        (None, Some(false)) => by_host("host", "It was reset from outside; this QEMU does not say how"),
        (None, None) if watchdog.is_some() => guests(watchdog),
        (reason, _) => {
            let clause = match reason {
                Some(reason) => format!("It was reset, with the reason {}", text::shown(reason)),
                None => "It was reset; its QEMU does not say by whom".to_owned(),
            };
            (why(("reset", "unknown", state), clause, "", [mark.id]), true)
        }
    }
}
