//! Explanations by libvirt's own words: of a state, by libvirt's reason for it, and of the end, by the word with which the epoch
//! was closed.
//!
//! libvirt ends a QEMU by a signal, whatever the reason is, so its word is better evidence than the event SHUTDOWN. For other
//! words, such as `shutdown` and `failed`, QEMU's events are the better evidence.

use super::evidence::Evidence;
use super::explanation::new_explanation;
use super::run_states::ENDED;
use crate::finding::Id;
use crate::libvirt::{DomainWords, ended_word};
use crate::observation::Snapshot;
use crate::state::Explanation;

/// Explains the state in which an epoch found the VM; `None` if libvirt's reason does not say why.
pub(super) fn found(snapshot: &Snapshot, attached: Id) -> Option<Explanation> {
    let words = snapshot.libvirt.as_ref()?.words();
    reason(words, snapshot.status.as_deref()?, [attached])
}

/// Explains the run state `status` by libvirt's reason for it; `None` if that does not say why.
pub(super) fn reason(
    words: DomainWords<'_>,
    status: &str,
    causes: impl IntoIterator<Item = Id>,
) -> Option<Explanation> {
    let (cause, by, clause) = words.explained()?;
    let rest = if status == "running" { ", and runs" } else { "" };
    Some(new_explanation((cause, by, status), clause, rest, causes))
}

/// Names libvirt in an explanation by an answer, which is libvirt's and not QEMU's.
pub(super) fn named(mut explained: Explanation) -> Explanation {
    for text in [&mut explained.clause, &mut explained.summary] {
        *text = text
            .replace("as QEMU answered", "as libvirt says")
            .replace("QEMU says `paused`, as after `stop`", "libvirt says so");
    }
    explained
}

/// Explains the end of an epoch that was closed with this detail; `None` if libvirt's word does not say why.
pub(super) fn ended(evidence: &Evidence, detail: Option<&str>, end: Id) -> Option<Explanation> {
    let (cause, by, clause) = match ended_word(detail?)? {
        "destroyed" => ("host-signal", "host", "It was destroyed through libvirt"),
        "saved" => ("save-vm", "host", "It was saved through libvirt"),
        "migrated" => ("migration", "host", "It was migrated to another host through libvirt"),
        "from-snapshot" => ("restore-vm", "host", "It was reverted to a snapshot through libvirt"),
        "crashed" if evidence.panic.is_some() => {
            ("guest-panic", "guest", "The guest panicked, and libvirt is set to end it then")
        }
        "crashed" => {
            ("guest-panic", "guest", "The guest crashed, as libvirt says, and libvirt is set to end it then")
        }
        _ => return None,
    };
    let announced = evidence.shutdown.as_ref().map(|(mark, _)| mark.id);
    let panic = evidence.panic.as_ref().filter(|_| cause == "guest-panic").map(|(mark, _)| mark.id);
    let causes = announced.into_iter().chain(panic).chain([end]);
    Some(new_explanation((cause, by, ENDED), clause, ", and QEMU exited", causes))
}

/// Whether libvirt's word alone explains the end: the state before belongs to the work that libvirt did.
pub(super) fn is_complete(detail: Option<&str>) -> bool {
    matches!(detail.and_then(ended_word), Some("saved" | "migrated" | "from-snapshot"))
}

/// How libvirt ended the QEMU, as the end of the sentence "QEMU was …"; `None` for an end that libvirt did not explain.
pub(super) fn how(own: &Explanation) -> Option<&str> {
    own.clause.strip_prefix("It was ").filter(|how| how.ends_with(" through libvirt"))
}
