//! Explanations of the end of a VM by libvirt's own word, with which the epoch was closed.
//!
//! libvirt ends a QEMU by a signal, whatever the reason is, so its word is better evidence than the event SHUTDOWN. For other
//! words, such as `shutdown` and `failed`, QEMU's events are the better evidence.

use super::evidence::Evidence;
use super::explanation::new_explanation;
use super::run_states::ENDED;
use crate::finding::Id;
use crate::libvirt::ended_word;
use crate::state::Explanation;

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
