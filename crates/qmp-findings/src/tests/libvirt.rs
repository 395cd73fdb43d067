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
    let panic_kept = format!("{panic}\n2 {SIGNAL}");
    let save = r#"1 STOP
1 answers paused
1.1 MIGRATION {"status": "setup"}
1.2 MIGRATION {"status": "active"}
1.3 MIGRATION {"status": "completed"}"#;
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
        ("saved, with events", save, "saved", "save-vm", "It was saved through libvirt, and QEMU exited."),
        (
            "panic, on_crash=destroy",
            panic,
            "crashed",
            "guest-panic",
            "The guest panicked, and libvirt is set to end it then, and QEMU exited.",
        ),
        (
            "panic, on_crash=preserve",
            &*panic_kept,
            "destroyed",
            "guest-panic",
            "QEMU, which had stayed with the VM stopped, was destroyed through libvirt 1.0 s later.",
        ),
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

#[test]
fn end_while_the_source_is_lost_is_explained_by_the_exit_status() {
    let cases = [
        (
            r#"{"signal": 9}"#,
            "killed",
            "QEMU was killed by SIGKILL: by a process of the host, or by the kernel",
        ),
        (r#"{"exit_code": 0}"#, "exited", "QEMU exited with status 0, while its events were not received."),
    ];
    for (how, cause, sentence) in cases {
        let text = format!(
            "0 attached running 7.2.22 qemu-system-x86#7\n3 detached source lost\n9 process-ended {how}\n20 passes"
        );
        let found = findings(&story(&text));
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!((found[0].kind, &found[0].data["cause"]), ("why-ended", &cause.into()));
        assert!(found[0].summary.contains(sentence), "{}", found[0].summary);
    }
}
