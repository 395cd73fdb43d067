//! Why a VM ended that is followed through libvirt: orders of events as observed on libvirt 9.0.

use super::super::testing::{final_state, findings, found, story};

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

/// The events by which QEMU writes its state into a file of libvirt, or reads it from there.
const FILE: &str = r#"MIGRATION {"status": "setup"}
1.3 MIGRATION {"status": "active"}
1.4 MIGRATION {"status": "completed"}"#;

#[test]
fn reason_of_libvirt_explains_the_state() {
    let restored_paused = format!("0 attached libvirt started restored paused migration\n0.1 {FILE}");
    let restored = format!(
        "0 attached libvirt started restored paused migration\n0.1 {FILE}\n1.5 RESUME\n1.6 libvirt running restored"
    );
    let running = "0 attached libvirt found - running booted";
    let stop = |answer: &str| format!("{running}\n1 STOP\n1.1 {answer}\n9 passes");
    //  name, story, state and cause, its sentence
    let cases = [
        ("boot", "0 attached libvirt started booted running booted\n0.1 RESUME\n9 passes".to_owned(), "running resume", "It was started through libvirt, and runs."),
        ("start --paused", "0 attached libvirt started booted paused user".to_owned(), "paused host-stop", "It was paused through libvirt."),
        ("suspend", stop("libvirt paused user"), "paused host-stop", "It was paused through libvirt."),
        ("save", stop(&format!("libvirt paused save\n1.2 {FILE}")), "paused save-vm", "It was paused so that libvirt could save its state."),
        ("another client", stop("libvirt paused unknown"), "paused unknown", "It was stopped, and it is not known why."),
        ("error without an event", stop("libvirt paused ioerror"), "io-error io-error", "An I/O error stopped it, as libvirt says, and no event names the disk."),
        ("restored, paused", restored_paused, "paused restore-vm", "It was restored through libvirt from a saved state in which it was paused."),
        ("restored, running", restored, "running restore-vm", "It was restored from a saved state through libvirt, and runs."),
        ("resume", "0 attached libvirt found - paused user\n1 RESUME\n1.1 libvirt running unpaused".to_owned(), "running resume", "It was started or resumed, and runs; no recorded command says by whom."),
        ("unknown while it arrives", "0 attached libvirt started - paused starting-up\n2 passes\n2.1 query 0 {\"execute\": \"virDomainGetState\", \"return\": {\"state\": \"paused\", \"reason\": \"user\"}}".to_owned(), "paused host-stop", "It was paused through libvirt."),
    ];
    for (name, text, state, sentence) in cases {
        assert_eq!(final_state(&text), state, "{name}");
        let mut correlators = crate::Correlators::new();
        for step in story(&text) {
            super::super::testing::take(&mut correlators, &step, &mut Vec::new());
        }
        let why = correlators.state("vm1").and_then(|state| state.why).expect(name);
        assert_eq!(why.summary, sentence, "{name}");
    }
}

#[test]
fn domain_that_was_restored_paused_is_paused_after_a_restart_of_the_hub() {
    let restored = "0 attached libvirt started restored paused migration of kvm#7\n5 detached hub stopped";
    let cases = [("kvm#7", "paused found-paused"), ("kvm#8", "- -")];
    for (process, expected) in cases {
        let text = format!("{restored}\n9 attached libvirt found - paused migration of {process}");
        assert_eq!(final_state(&text), expected, "{process}");
    }
}

#[test]
fn stop_for_a_migration_waits_for_its_events() {
    let text = r#"0 attached libvirt found - running booted
5 MIGRATION {"status": "setup"}
6 MIGRATION {"status": "active"}
7 STOP
7.01 libvirt paused migration
8 MIGRATION {"status": "completed"}
9 detached libvirt: migrated"#;
    assert_eq!(found(text)[0], "why-paused migration 1.2,1.3,1.5");
}

#[test]
fn pause_through_libvirt_is_reported_with_its_reason() {
    let running = "0 attached libvirt found - running booted";
    for (reason, cause) in [("user", "host-stop"), ("save", "save-vm"), ("unknown", "unknown")] {
        let text = format!("{running}\n5 STOP\n5.01 libvirt paused {reason}\n20 passes");
        let causes = if reason == "unknown" { "1.1" } else { "1.1,1.2" };
        assert_eq!(found(&text), [format!("why-paused {cause} {causes}")], "{reason}");
    }
}

#[test]
fn state_in_a_file_of_libvirt_is_no_migration() {
    let away = format!("0 attached libvirt found - paused user\n1 {FILE}");
    let running = "0 attached libvirt found - running booted\n5 STOP\n5.01 libvirt paused";
    //  name, story, directions of the migrations that are reported
    let cases: [(&str, String, &[&str]); 8] = [
        (
            "restored",
            format!("0 attached libvirt started restored running restored\n1 {FILE}\n20 passes"),
            &[],
        ),
        (
            "restored, paused",
            format!("0 attached libvirt started restored paused migration\n1 {FILE}\n20 passes"),
            &[],
        ),
        (
            "migrated to here",
            format!("0 attached libvirt started migrated running migrated\n1 {FILE}"),
            &["incoming"],
        ),
        ("migrated away", format!("{away}\n3 detached libvirt: migrated"), &["outgoing"]),
        ("saved", format!("{away}\n3 detached libvirt: saved\n20 passes"), &[]),
        ("not said", format!("{away}\n20 passes"), &["null"]),
        (
            "saved while it runs",
            format!(
                "{running} save\n6 MIGRATION {{\"status\": \"setup\"}}\n7 MIGRATION {{\"status\": \"active\"}}\n8 MIGRATION {{\"status\": \"completed\"}}\n40 passes"
            ),
            &[],
        ),
        (
            "dumped",
            format!(
                "{running} dump\n6 MIGRATION {{\"status\": \"setup\"}}\n7 MIGRATION {{\"status\": \"active\"}}\n8 MIGRATION {{\"status\": \"completed\"}}\n9 RESUME\n40 passes"
            ),
            &[],
        ),
    ];
    for (name, text, expected) in cases {
        let found = findings(&story(&text));
        let migrations = found.iter().filter(|finding| finding.kind == "migration");
        let directions: Vec<&str> =
            migrations.map(|finding| finding.data["direction"].as_str().unwrap_or("null")).collect();
        assert_eq!(directions, expected, "{name}");
    }
}
