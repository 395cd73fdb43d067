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
        "crashed" if evidence.panic.is_none() => {
            ("guest-panic", "guest", "The guest crashed, as libvirt says, and libvirt is set to end it then")
        }
        _ => return None,
    };
    let announced = evidence.shutdown.as_ref().map(|(mark, _)| mark.id);
    let causes = announced.into_iter().chain([end]);
    Some(new_explanation((cause, by, ENDED), clause, ", and QEMU exited", causes))
}
