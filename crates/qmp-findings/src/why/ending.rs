//! Explanations of the end of a VM, and of a VM that shut down and stays.

use serde_json::json;

use super::evidence::{Evidence, Mark, ShutdownReason};
use super::explanation::{name_client, new_explanation};
use super::run_states::{ENDED, GONE};
use crate::finding::Id;
use crate::limits::{CAUSE_LEAD_MAX, POWER_BUTTON_MAX};
use crate::observation::Observation;
use crate::state::Explanation;
use crate::text;

/// Explains SHUTDOWN: the VM stays (`-no-shutdown`) if there is a `stop`, and has ended otherwise.
pub(super) fn shutdown(
    evidence: &Evidence,
    mark: Mark,
    members: &ShutdownReason,
    stop: Option<Id>,
    end: Option<Id>,
) -> Explanation {
    let (cause, by, sentence, before) = shutdown_reason(evidence, mark, members);
    let run_state = if stop.is_some() { "shutdown" } else { ENDED };
    let what_then = if stop.is_some() { "QEMU stays with the VM stopped" } else { "QEMU exited" };
    let causes = before.into_iter().chain([mark.id]).chain(stop).chain(end);
    let mut explained =
        new_explanation((cause, by, run_state), sentence, &format!(", and {what_then}"), causes);
    if let Some(reason) = &members.reason {
        explained.details.insert("reason".to_owned(), json!(reason));
    }
    if let Some((_, panic)) = evidence.panic.as_ref().filter(|_| cause == "guest-panic") {
        explained.details.extend(panic.info.clone().map(|info| ("info".to_owned(), info)));
    }
    let given = match cause {
        "host-qmp-quit" => evidence.quitting(mark.now),
        "host-qmp-system-reset" => evidence.resetting(mark.now),
        _ => None,
    };
    if let Some(given) = given {
        name_client(&mut explained, given);
    }
    explained
}

type Sentence = (&'static str, &'static str, String, Vec<Id>);

fn shutdown_reason(evidence: &Evidence, mark: Mark, members: &ShutdownReason) -> Sentence {
    let watchdog_reset = evidence
        .watchdog
        .as_ref()
        .filter(|(cause, action)| &**action == "reset" && mark.now.since(cause.now) <= CAUSE_LEAD_MAX);
    let plain = |cause, by, sentence: &str| (cause, by, sentence.to_owned(), Vec::new());
    match (members.reason.as_deref(), members.guest) {
        (Some("host-qmp-quit"), _) => plain("host-qmp-quit", "host", "It was ended by `quit`"),
        (Some("host-signal"), _) => {
            plain("host-signal", "host", "QEMU received a signal that ends it (SIGTERM, SIGINT or SIGHUP)")
        }
        (Some("host-ui"), _) => plain("host-ui", "host", "QEMU's window was closed"),
        (Some("host-error"), _) => {
            plain("host-error", "qemu", "QEMU met an error that it cannot recover from")
        }
        (Some("host-qmp-system-reset"), _) => plain(
            "host-qmp-system-reset",
            "host",
            "It was reset by `system_reset` and is set to end then (`-no-reboot`)",
        ),
        (Some("guest-reset"), _) => match watchdog_reset {
            Some((cause, _)) => {
                let sentence = "Its watchdog expired, because the guest did not answer, and it is set to end when it is reset (`-no-reboot`)";
                ("watchdog", "guest", sentence.to_owned(), vec![cause.id])
            }
            None => plain("guest-reset", "guest", "The guest rebooted and is set to end then (`-no-reboot`)"),
        },
        (Some("guest-panic"), _) => {
            let cause = evidence.panic.as_ref().map(|(mark, _)| mark.id);
            ("guest-panic", "guest", "The guest panicked".to_owned(), cause.into_iter().collect())
        }
        (Some("guest-shutdown"), _) => guest_shutdown(evidence, mark),
        (None, Some(true)) => {
            plain("guest", "guest", "The guest shut down or rebooted; this QEMU does not say which")
        }
        (None, Some(false)) => {
            plain("host", "host", "It was shut down from outside; this QEMU does not say how")
        }
        (None, None) => plain("shutdown", "unknown", "It shut down; this QEMU does not say why"),
        (Some(other), _) => (
            "shutdown",
            "unknown",
            format!("It shut down, with the reason {}", text::shown(other)),
            Vec::new(),
        ),
    }
}

fn guest_shutdown(evidence: &Evidence, mark: Mark) -> Sentence {
    let recent = |cause: &Mark| mark.now.since(cause.now) <= CAUSE_LEAD_MAX;
    if let Some(cause) = evidence.hibernated.filter(recent) {
        return (
            "guest-hibernate",
            "guest",
            "The guest hibernated to its disk (ACPI S4)".to_owned(),
            vec![cause.id],
        );
    }
    if let Some(cause) = evidence.pv_shutdown.filter(recent) {
        let sentence = "The guest shut itself down through its pvpanic device";
        return ("guest-shutdown", "guest", sentence.to_owned(), vec![cause.id]);
    }
    let button = evidence.power_button.filter(|button| mark.now.since(button.now) <= POWER_BUTTON_MAX);
    let Some(button) = button else {
        return ("guest-shutdown", "guest", "The guest shut itself down".to_owned(), Vec::new());
    };
    let waited = text::span(mark.now.since(button.now));
    let watchdog = evidence
        .watchdog
        .as_ref()
        .filter(|(cause, action)| &**action == "shutdown" && button.now.since(cause.now) <= CAUSE_LEAD_MAX);
    let (sentence, mut causes) = match watchdog {
        Some((cause, _)) => (
            format!("The guest shut down {waited} after its watchdog pressed the power button"),
            vec![cause.id],
        ),
        None => (format!("The guest shut down {waited} after its power button was pressed"), Vec::new()),
    };
    causes.push(button.id);
    ("guest-shutdown", "guest", sentence, causes)
}

/// Explains the end of an epoch whose monitor closed.
pub(super) fn ended(evidence: &Evidence, input: &Observation<'_>) -> Explanation {
    let end = input.id;
    if let Some((mark, members)) = &evidence.shutdown {
        return shutdown(evidence, *mark, members, None, Some(end));
    }
    if let Some((mark, _)) = evidence.watchdog.as_ref().filter(|(_, action)| &**action == "poweroff") {
        let clause = "Its watchdog expired, because the guest did not answer";
        let rest = ", and QEMU switched it off and exited";
        return new_explanation(("watchdog", "guest", ENDED), clause, rest, [mark.id, end]);
    }
    if let Some(mark) = evidence.memory_failure {
        let clause = "Memory of the host failed that QEMU itself uses";
        return new_explanation(
            ("memory-failure", "host", ENDED),
            clause,
            ", and QEMU ended",
            [mark.id, end],
        );
    }
    if let Some(given) = evidence.quitting(input.now) {
        let mut explained = new_explanation(("host-qmp-quit", "host", ENDED), "", "", [end]);
        name_client(&mut explained, given);
        return explained;
    }
    unexplained(end)
}

/// The explanation if the monitor closed at the record `end`, and no record before it is the cause.
pub(super) fn unexplained(end: Id) -> Explanation {
    let clause = "Its monitor closed, and no event said why";
    let rest = ": QEMU was killed (SIGKILL, out of memory), it crashed, it exited by itself, or its monitor was removed";
    new_explanation(("gone", "unknown", GONE), clause, rest, [end])
}
