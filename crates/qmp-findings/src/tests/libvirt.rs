//! Why a VM ended that is followed through libvirt: orders of events as observed on libvirt 9.0.

use super::super::testing::{final_state, findings, story};

/// The event with which libvirt's signal is announced.
const SIGNAL: &str = r#"SHUTDOWN {"guest": false, "reason": "host-signal"}"#;

#[test]
fn word_of_libvirt_explains_the_end() {
    let guest = format!(
        r#"1 SHUTDOWN {{"guest": true, "reason": "guest-shutdown"}}
1 STOP
1.001 {SIGNAL}"#
    );
    let signal = format!("1 {SIGNAL}");
    let panic = r#"1 GUEST_PANICKED {"action": "pause"}
1 STOP"#;
    //  name, events, word, finding, its sentence
    let cases = [
        (
            "destroyed",
            &*signal,
            "destroyed",
            "host-signal",
            "It was destroyed through libvirt, and QEMU exited.",
        ),
        ("saved", "1 STOP", "saved", "save-vm", "It was saved through libvirt, and QEMU exited."),
        (
            "migrated",
            "1 STOP",
            "migrated",
            "migration",
            "It was migrated to another host through libvirt, and QEMU exited.",
        ),
        (
            "reverted",
            "1 STOP",
            "from-snapshot",
            "restore-vm",
            "It was reverted to a snapshot through libvirt, and QEMU exited.",
        ),
        ("panic, on_crash=destroy", panic, "crashed", "guest-panic", "panicked"),
        ("guest", &*guest, "shutdown", "guest-shutdown", "The guest shut itself down"),
        ("killed", "", "failed", "gone", "no event said why"),
        ("unknown word", &*signal, "teleported", "host-signal", "QEMU received a signal"),
    ];
    for (name, events, word, cause, sentence) in cases {
        let story = story(&format!("0 attached running\n{events}\n3 detached libvirt: {word}\n20 passes"));
        let found = findings(&story);
        let ended = found.iter().rfind(|finding| finding.kind == "why-ended").expect(name);
        assert_eq!(ended.data["cause"], cause, "{name}: {ended:?}");
        assert!(ended.summary.contains(sentence), "{name}: {}", ended.summary);
    }
}

#[test]
fn loss_of_the_source_is_no_end() {
    let text = "0 attached running\n3 detached source lost\n20 passes";
    assert!(findings(&story(text)).is_empty());
    assert_eq!(final_state(text), "running found-running");
}
