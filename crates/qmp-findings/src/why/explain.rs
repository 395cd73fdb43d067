//! Explanations of the states of a VM that has not ended.

use qmp_events::EventKind as K;
use serde_json::json;

use super::causing_command::CausingCommand;
use super::evidence::{Evidence, Facts, IoError, Mark, Panic};
use super::explanation::{name_client, new_explanation};
use super::{ending, run_states};
use crate::finding::Id;
use crate::limits::CAUSE_LEAD_MAX;
use crate::observation::{Event, Observation};
use crate::state::Explanation;
use crate::text;

/// The begin of the sentences about a watchdog.
const WATCHDOG_EXPIRED: &str = "Its watchdog expired, because the guest did not answer";

/// The state in which the VM was found when an epoch opened.
pub(super) fn initial(status: &str, id: Id) -> Explanation {
    let state = run_states::of(status);
    let (cause, clause) = state.found;
    new_explanation((cause, state.by, status), clause, "", [id])
}

pub(super) fn running(kind: K, evidence: &Evidence, input: &Observation<'_>) -> Explanation {
    let id = input.id;
    if kind == K::Wakeup {
        return new_explanation(
            ("wakeup", "unknown", "running"),
            "The guest woke from sleep",
            " and runs",
            [id],
        );
    }
    let clause = "It was started or resumed, and runs; no recorded command says by whom";
    let mut explained = new_explanation(("resume", "unknown", "running"), clause, "", [id]);
    if let Some(given) = evidence.resuming(input.now) {
        name_client(&mut explained, given);
    }
    explained
}

/// Explains that a VM is paused after an incoming migration, as it was on its source or because of `-S`. `before` are the
/// causes of its waiting.
pub(super) fn arrived_stopped(evidence: &Evidence, status: &str, before: Vec<Id>, answer: Id) -> Explanation {
    let migration = evidence.carried().map(|mark| mark.id);
    let by = if migration.is_some_and(|id| id.1.0 != 0) { "host" } else { "unknown" };
    let rest = match status {
        "prelaunch" => ", and has not been started",
        _ => ", and is paused",
    };
    let causes = before.into_iter().chain(migration).chain([answer]);
    new_explanation(("incoming-migration", by, status), "It was migrated to here", rest, causes)
}

/// Explains that a VM runs after an incoming migration; `waited` are the causes of its waiting.
pub(super) fn arrived(waited: &[Id], migration: Mark, resume: Id) -> Explanation {
    // A migration status in the snapshot, when the epoch opened, does not prove a side.
    let by = if migration.id.1.0 == 0 { "unknown" } else { "host" };
    let causes = waited.iter().copied().chain([migration.id, resume]);
    new_explanation(("incoming-migration", by, "running"), "It was migrated to here", ", and runs", causes)
}

pub(super) fn suspended(id: Id) -> Explanation {
    new_explanation(
        ("guest-suspend", "guest", "suspended"),
        "The guest went to sleep with its memory powered (ACPI S3)",
        "",
        [id],
    )
}

pub(super) fn panicked_and_runs(id: Id) -> Explanation {
    new_explanation(
        ("guest-panic", "guest", "running"),
        "The guest panicked and was left running",
        " (`-action panic=none`)",
        [id],
    )
}

/// Explains a guest that panicked and started another kernel to save its data.
pub(super) fn crash_kernel(id: Id) -> Explanation {
    let clause = "The guest panicked and started its crash kernel";
    let mut explained = new_explanation(("guest-panic", "guest", "running"), clause, "", [id]);
    explained.details.insert("crash_kernel".to_owned(), json!(true));
    explained
}

pub(super) fn panic(cause: Id, members: &Panic, stop: Id) -> Explanation {
    let mut explained = new_explanation(
        ("guest-panic", "guest", "guest-panicked"),
        "The guest panicked",
        ", and QEMU paused it",
        [cause, stop],
    );
    explained.details.extend(members.info.clone().map(|info| ("info".to_owned(), info)));
    explained
}

pub(super) fn watchdog_pause(cause: Id, stop: Id) -> Explanation {
    new_explanation(
        ("watchdog", "guest", "watchdog"),
        WATCHDOG_EXPIRED,
        ", and QEMU paused it",
        [cause, stop],
    )
}

/// Explains a reset by the watchdog; `state` is the run state afterwards.
pub(super) fn watchdog_reset(cause: Id, reset: Id, state: &str) -> Explanation {
    new_explanation(("watchdog", "guest", state), WATCHDOG_EXPIRED, ", and QEMU reset it", [cause, reset])
}

pub(super) fn io_error(cause: Id, members: &IoError, stop: Id) -> Explanation {
    let device = [&members.device, &members.qom_path, &members.node_name].into_iter().flatten().next();
    let device = device
        .map_or_else(|| "a disk without a name".to_owned(), |device| format!("disk {}", text::shown(device)));
    let operation = match members.operation.as_deref() {
        Some("read") => "A read from",
        Some("write") => "A write to",
        _ => "Access to",
    };
    let reason = match (&members.reason, members.no_space) {
        (Some(reason), _) => format!(" ({})", text::shown(reason)),
        (None, true) => " (no space left)".to_owned(),
        (None, false) => String::new(),
    };
    let rest = ", and QEMU paused it until `cont`, which tries again";
    let clause = format!("{operation} {device} failed{reason}");
    let mut explained = new_explanation(("io-error", "qemu", "io-error"), clause, rest, [cause, stop]);
    let details = [
        ("device", &members.device),
        ("node-name", &members.node_name),
        ("qom-path", &members.qom_path),
        ("operation", &members.operation),
        ("reason", &members.reason),
    ];
    for (name, value) in details {
        explained.details.extend(value.as_ref().map(|value| (name.to_owned(), json!(value))));
    }
    explained.details.insert("nospace".to_owned(), json!(members.no_space));
    explained
}

/// Explains a stop without an event as its cause; returns whether a recorded command explains it.
pub(super) fn plain_stop(evidence: &Evidence, stop: Mark) -> (Explanation, bool) {
    let clause = "It was stopped, and it is not known why";
    let mut explained = new_explanation(("unknown", "unknown", "paused"), clause, "", [stop.id]);
    let given = evidence.stopping(stop.now);
    if let Some(given) = given {
        name_client(&mut explained, given);
    }
    (explained, given.is_some())
}

/// Explains the run state `status` by the VM's answer. `before` are the records that led to it, such as the STOP
/// without a cause.
pub(super) fn answered(evidence: &Evidence, status: &str, before: Vec<Id>, answer: Id) -> Explanation {
    let state = run_states::of(status);
    let (cause, clause) = state.answered;
    let stop = before.last().copied().unwrap_or(answer);
    let mut explained = match (status, &**evidence) {
        ("shutdown", Facts { shutdown: Some((mark, members)), .. }) => {
            ending::shutdown(evidence, *mark, members, Some(stop), None)
        }
        ("guest-panicked", Facts { panic: Some((mark, members)), .. }) => panic(mark.id, members, stop),
        ("io-error", Facts { io_error: Some((mark, members)), .. }) => io_error(mark.id, members, stop),
        ("watchdog", Facts { watchdog: Some((mark, action)), .. }) if &**action == "pause" => {
            watchdog_pause(mark.id, stop)
        }
        _ => match evidence.carried() {
            Some(_) if status == "finish-migrate" => switchover(evidence, stop),
            Some(mark) if status == "postmigrate" => migrated(None, false, mark.id),
            _ => new_explanation((cause, state.by, status), clause, "", [answer]),
        },
    };
    explained.causes.extend(before);
    explained.causes.push(answer);
    explained.causes.sort_unstable();
    explained.causes.dedup();
    if let Some((mark, command)) = evidence.migrate.as_ref().filter(|_| explained.cause == "migration") {
        name_client(&mut explained, CausingCommand { id: mark.id, cause: "migration", command });
    }
    explained
}

/// Explains the run state `status` by the VM's reply to a probe, without an event; `explained` is the explanation of the
/// answer.
pub(super) fn probed(explained: Explanation, status: &str) -> Explanation {
    if explained.cause != "unknown" {
        return explained;
    }
    let clause = format!(
        "Its run state is {}, as QEMU answered, and no event says what led there",
        text::shown(status)
    );
    new_explanation(("unknown", "unknown", status), clause, "", explained.causes)
}

/// Confirms a known explanation by the VM's answer, which names the run state.
pub(super) fn confirmed(before: &Explanation, status: &str, answer: Id) -> Explanation {
    let mut explained = before.clone();
    explained.run_state = status.into();
    explained.causes.push(answer);
    explained
}

/// Explains a stop during a migration.
pub(super) fn switchover(evidence: &Evidence, stop: Id) -> Explanation {
    let migration = evidence.migration.as_ref().map(|(mark, _)| mark.id);
    let clause = "It was paused so that its migration could take the last of it over";
    new_explanation(("migration", "host", "finish-migrate"), clause, "", migration.into_iter().chain([stop]))
}

/// Explains a migration that is complete; `was_stopped` if the VM was known not to run before.
pub(super) fn migrated(current: Option<&Explanation>, was_stopped: bool, completed: Id) -> Explanation {
    let before = current.map(|why| why.causes.clone()).unwrap_or_default();
    let clause =
        if was_stopped { "It was migrated away while it was stopped" } else { "It was migrated away" };
    let rest = ", and only QEMU remains here";
    new_explanation(("migration", "host", "postmigrate"), clause, rest, before.into_iter().chain([completed]))
}

/// Explains a reset by the guest without another cause. `state` is the run state afterwards.
pub(super) fn guest_reset(reset: Id, state: &str) -> Explanation {
    new_explanation(("guest-reset", "guest", state), "The guest rebooted", "", [reset])
}

/// Explains a reset; returns whether the explanation is final. `state` is the run state afterwards.
pub(super) fn reset(evidence: &Evidence, mark: Mark, event: &Event<'_>, state: &str) -> (Explanation, bool) {
    let watchdog = evidence
        .watchdog
        .as_ref()
        .filter(|(cause, action)| &**action == "reset" && mark.now.since(cause.now) <= CAUSE_LEAD_MAX);
    let guests = |evidence: Option<&(Mark, Box<str>)>| match evidence {
        Some((cause, _)) => (watchdog_reset(cause.id, mark.id, state), true),
        None => (guest_reset(mark.id, state), false),
    };
    let by_host = |cause, clause| {
        let mut explained = new_explanation((cause, "host", state), clause, "", [mark.id]);
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
            (new_explanation(("reset", "unknown", state), clause, "", [mark.id]), true)
        }
    }
}
