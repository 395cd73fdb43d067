//! The end or reset of a VM that was already stopped: the cause is the state before, and the event that ended or reset
//! the VM is `ended_by`.
//!
//! A guest that shut itself down stays with `-no-shutdown` until its manager ends QEMU by a signal; a guest that
//! panicked stays until it is reset. Neither guest would have run on. The run states for which this holds are in
//! `run_states.rs`; it also holds for a guest that panicked and was left running, even if the guest itself causes the
//! end.

use serde_json::{Value, json};

use super::evidence::Evidence;
use super::explanation::new_explanation;
use super::run_states::ENDED;
use super::status::Status;
use super::{by_libvirt, exit, run_states};
use crate::finding::Id;
use crate::local_time::Moment;
use crate::persist::persist;
use crate::state::Explanation;
use crate::text;

/// The cause of the end of a QEMU whose migration to here failed.
const FAILED_ARRIVAL: &str = "incoming-migration";

/// The state of the VM before.
#[derive(Clone, Debug)]
pub(super) struct PriorState {
    /// The run state, if its name is known.
    run_state: Option<Box<str>>,
    /// The explanation of that state, if it is the cause of the end or reset.
    why: Option<Explanation>,
    /// How long that state lasted, if known.
    later: Option<String>,
    /// The announcement of the end, if a signal ended the process before it exited.
    announced: Option<Explanation>,
}

persist!(PriorState { run_state, why, later, announced });

impl PriorState {
    /// The explanation of the state, unless `own` is another cause: a migration that fails does not kill its QEMU.
    fn why_of(&self, own: &Explanation) -> Option<&Explanation> {
        self.why.as_ref().filter(|why| why.cause != FAILED_ARRIVAL || own.cause != "killed")
    }
}

/// The state of the VM before the end or reset that `own` explains.
pub(super) fn prior(
    status: &Status,
    evidence: &Evidence,
    own: &Explanation,
    now: Moment,
) -> Option<Box<PriorState>> {
    let run_state = status.sure_state();
    let decides = run_state.is_some_and(|state| run_states::of(state).decides) && own.by != "guest";
    let left_running = evidence.left_running.as_deref();
    let failed =
        (own.cause == "gone" && run_state == Some("inmigrate")).then(|| evidence.failed(now)).flatten();
    let failed_arrival = failed.map(|mark| (mark, failed_arrival(mark.id)));
    let (why, since) = match (&failed_arrival, &status.why, left_running) {
        (Some((mark, why)), ..) => (Some(why), Some(mark.now)),
        (_, Some(why), _) if decides => (Some(why), status.since.filter(|_| !status.found)),
        (.., Some((mark, why))) => (Some(why), Some(mark.now)),
        _ => (None, None),
    };
    let why = why.filter(|why| why.cause != own.cause).cloned();
    let later = since.filter(|_| why.is_some()).map(|since| text::span(now.since(since)));
    (why.is_some() || run_state.is_some())
        .then(|| Box::new(PriorState { run_state: run_state.map(Box::from), why, later, announced: None }))
}

/// Explains that a migration to here failed, which ends its QEMU.
fn failed_arrival(failed: Id) -> Explanation {
    new_explanation((FAILED_ARRIVAL, "unknown", ""), "The migration to here failed", "", [failed])
}

/// Adds to the state before the announcement of an end that a signal brought about, `later` than the announcement.
pub(super) fn announce(prior: &mut Option<Box<PriorState>>, announcement: Explanation, later: String) {
    let none = || Box::new(PriorState { run_state: None, why: None, later: None, announced: None });
    let prior = prior.get_or_insert_with(none);
    (prior.later, prior.announced) = (Some(later), Some(announcement));
}

/// The explanation of an end or a reset that by itself is explained by `own`.
pub(super) fn explained(prior: Option<&PriorState>, own: &Explanation) -> Explanation {
    let mut explained = own.clone();
    let announced = prior.and_then(|prior| prior.announced.as_ref());
    if let Some((prior, announced)) = prior.zip(announced) {
        explained.summary = announced_sentence(prior, announced, own);
        for why in [Some(announced), prior.why.as_ref()].into_iter().flatten() {
            (explained.cause, explained.by) = (why.cause, why.by);
            explained.causes.extend(&why.causes);
            explained.details.extend(why.details.clone());
        }
        explained.causes.sort_unstable();
        explained.causes.dedup();
        if prior.why.is_some() {
            explained.details.remove("reason");
        }
    } else if let Some((prior, why)) = prior.and_then(|prior| Some((prior, prior.why_of(own)?))) {
        explained.summary = sentence(prior, why, own);
        (explained.cause, explained.by) = (why.cause, why.by);
        explained.causes.extend(&why.causes);
        explained.causes.sort_unstable();
        explained.causes.dedup();
        explained.details.remove("reason");
        explained.details.extend(why.details.clone());
    }
    explained.details.insert("ended_by".to_owned(), json!(own.cause));
    let before = prior.and_then(|prior| prior.run_state.as_deref());
    explained.details.extend(before.map(|state| ("run_state_before".to_owned(), json!(state))));
    explained
}

/// The explanation of an unseen end, which `own` explains. Other events may have preceded it, so the last known state
/// is named, but is not the cause.
pub(super) fn unseen(prior: Option<&PriorState>, own: &Explanation) -> Explanation {
    let mut explained = own.clone();
    if let Some(why) = prior.and_then(|prior| prior.why.as_ref()) {
        explained.summary = format!("{}; {}", why.clause, own.summary);
        explained.causes.extend(&why.causes);
        explained.causes.sort_unstable();
        explained.causes.dedup();
        explained.details.insert("cause_before".to_owned(), json!(why.cause));
    }
    explained.details.insert("ended_by".to_owned(), json!(own.cause));
    let before = prior.and_then(|prior| prior.run_state.as_deref());
    explained.details.extend(before.map(|state| ("run_state_before".to_owned(), json!(state))));
    explained
}

fn sentence(prior: &PriorState, why: &Explanation, own: &Explanation) -> String {
    let qemu = match prior.run_state.as_deref() {
        Some("suspended" | "running" | "inmigrate") | None => "QEMU",
        Some("postmigrate") => "QEMU, which had stayed,",
        Some(_) => "QEMU, which had stayed with the VM stopped,",
    };
    let is_end = &*own.run_state == ENDED || &*own.run_state == run_states::GONE;
    let is_reason_known = why.cause == FAILED_ARRIVAL;
    let then = match is_end {
        true if is_reason_known => end(qemu, own).replace(", and no event said why", ""),
        true => end(qemu, own),
        false => reset(own),
    };
    let later = prior.later.as_ref().map(|later| format!(" {later} later")).unwrap_or_default();
    let status = own.details.get("exit_code").and_then(Value::as_u64).filter(|code| *code != 0);
    let status = status.filter(|_| own.cause != "exited");
    let status = status.map(|code| format!(", with status {code}")).unwrap_or_default();
    // A phrase that ends in a comma continues.
    let then = if later.is_empty() { then.trim_end_matches(',') } else { &then };
    format!("{}; {then}{later}{status}.", why.clause)
}

/// The sentence about an end that was announced, and that a signal brought about.
fn announced_sentence(prior: &PriorState, announced: &Explanation, own: &Explanation) -> String {
    let before = prior.why.as_ref().map(|why| format!("{}. ", why.clause)).unwrap_or_default();
    let announcement = match announced.cause {
        "host-qmp-quit" => format!("`quit` was given{}", from(announced).trim_end_matches(',')),
        _ => announced.clause.clone(),
    };
    let later = prior.later.as_deref().unwrap_or_default();
    format!("{before}{announcement}; {} {later} later.", end("QEMU", own))
}

/// The end of QEMU, as the second half of a sentence.
fn end(qemu: &str, own: &Explanation) -> String {
    let signal = own.details.get("signal").and_then(Value::as_u64).map(exit::named);
    let from = from(own);
    if let Some(how) = by_libvirt::how(own) {
        return format!("{qemu} was {how}");
    }
    match own.cause {
        "host-qmp-quit" => format!("{qemu} was ended by `quit`{from}"),
        "host-qmp-system-reset" => format!("{qemu} was ended by `system_reset`{from} (`-no-reboot`)"),
        "host-signal" => match signal {
            Some(signal) => format!("{qemu} was ended by {signal}"),
            None => format!("{qemu} was ended by a signal (SIGTERM, SIGINT or SIGHUP)"),
        },
        "host-ui" => format!("{qemu} was ended by its window, which was closed,"),
        "host-error" => format!("{qemu} met an error that it cannot recover from"),
        "memory-failure" => format!("{qemu} lost memory of the host that it used, and ended"),
        "killed" => format!("{qemu} was killed by {}", signal.unwrap_or_default()),
        "crashed" => format!("{qemu} crashed, by {},", signal.unwrap_or_default()),
        "exited" => {
            let code = own.details.get("exit_code").and_then(Value::as_u64).unwrap_or_default();
            format!("{qemu} exited with status {code}, and no event said why,")
        }
        "gone" => format!("the monitor of {qemu} closed, and no event said why,"),
        "guest-shutdown" => "the guest shut itself down".to_owned(),
        "guest-hibernate" => "the guest hibernated".to_owned(),
        "guest-reset" => "the guest rebooted, which is set to be the end (`-no-reboot`),".to_owned(),
        "watchdog" => "its watchdog expired, and QEMU ended".to_owned(),
        _ => format!("{qemu} was shut down"),
    }
}

fn reset(own: &Explanation) -> String {
    match own.cause {
        "host-qmp-system-reset" => format!("it was reset by `system_reset`{}", from(own)),
        "guest-reset" => "the guest rebooted".to_owned(),
        "watchdog" => "its watchdog expired, and it was reset".to_owned(),
        _ => "it was reset".to_owned(),
    }
}

/// The client of the hub that gave the command.
fn from(own: &Explanation) -> String {
    let client = own.details.get("client").and_then(Value::as_str);
    client.map(|client| format!(", from {},", text::shown(client))).unwrap_or_default()
}
