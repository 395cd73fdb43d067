//! Why a VM stopped: the orders of events as observed on QEMU.

use super::super::Correlators;
use super::super::testing::{final_state, findings, found, short, story, take};

#[test]
fn every_way_to_stop_has_its_cause() {
    //  name, story after `0 attached running`, findings, final state
    let cases: [(&str, &str, &[&str], &str); 50] = [
        ("stop", "1 STOP\n3 passes", &["why-paused unknown 1.1"], "paused unknown"),
        ("stop, cont", "1 STOP\n2 RESUME", &["why-paused unknown 1.1"], "running resume"),
        (
            "stop by a client of the hub",
            "5 STOP\n5.01 command {\"execute\": \"stop\", \"client\": \"shell\"}",
            &["why-paused host-stop 1.1,1.2"],
            "paused host-stop",
        ),
        (
            "system_reset while it runs",
            "1 RESET {\"guest\": false, \"reason\": \"host-qmp-system-reset\"}\n3 passes",
            &["why-reset host-qmp-system-reset 1.1"],
            "running host-qmp-system-reset",
        ),
        (
            "system_reset, and the firmware once more",
            "5 RESET {\"guest\": false, \"reason\": \"host-qmp-system-reset\"}\n5.08 RESET {\"guest\": true, \"reason\": \"guest-reset\"}",
            &["why-reset host-qmp-system-reset 1.1"],
            "running host-qmp-system-reset",
        ),
        (
            "system_reset, and the firmware twice more",
            "5 RESET {\"guest\": false, \"reason\": \"host-qmp-system-reset\"}\n5.08 RESET {\"guest\": true, \"reason\": \"guest-reset\"}\n5.09 RESET {\"guest\": true, \"reason\": \"guest-reset\"}",
            &["why-reset host-qmp-system-reset 1.1"],
            "running host-qmp-system-reset",
        ),
        (
            "system_reset by a client of the hub, and the firmware before that is recorded",
            "5 RESET {\"guest\": false, \"reason\": \"host-qmp-system-reset\"}\n5.08 RESET {\"guest\": true, \"reason\": \"guest-reset\"}\n5.1 command {\"execute\": \"system_reset\", \"client\": \"shell\"}",
            &["why-reset host-qmp-system-reset 1.1,1.3"],
            "running host-qmp-system-reset",
        ),
        (
            "system_reset while it is stopped, then cont, and the firmware once more",
            "1 STOP\n2 answers paused\n5 RESET {\"guest\": false, \"reason\": \"host-qmp-system-reset\"}\n5.01 command {\"execute\": \"system_reset\", \"client\": \"shell\"}\n9 RESUME\n9.01 command {\"execute\": \"cont\", \"client\": \"shell\"}\n9.15 RESET {\"guest\": true, \"reason\": \"guest-reset\"}",
            &["why-paused host-stop 1.1,1.2", "why-reset host-qmp-system-reset 1.3,1.4"],
            "running resume",
        ),
        (
            "guest reset, and the firmware once more",
            "24.553 RESET {\"guest\": true, \"reason\": \"guest-reset\"}\n24.711 RESET {\"guest\": true, \"reason\": \"guest-reset\"}",
            &["why-reset guest-reset 1.1"],
            "running guest-reset",
        ),
        (
            "a panic, a guest reset, and the firmware once more",
            "5 GUEST_PANICKED {\"action\": \"run\"}\n10.9 RESET {\"guest\": true, \"reason\": \"guest-reset\"}\n11.05 RESET {\"guest\": true, \"reason\": \"guest-reset\"}",
            &["why-reset guest-panic 1.1,1.2"],
            "running guest-panic",
        ),
        (
            "two guest resets, and the firmware once more after each",
            "5 RESET {\"guest\": true, \"reason\": \"guest-reset\"}\n5.1 RESET {\"guest\": true, \"reason\": \"guest-reset\"}\n8 RESET {\"guest\": true, \"reason\": \"guest-reset\"}\n8.1 RESET {\"guest\": true, \"reason\": \"guest-reset\"}",
            &["why-reset guest-reset 1.1", "why-reset guest-reset 1.3"],
            "running guest-reset",
        ),
        (
            "watchdog reset, and the firmware once more",
            "5 WATCHDOG {\"action\": \"reset\"}\n5.001 RESET {\"guest\": true, \"reason\": \"guest-reset\"}\n5.1 RESET {\"guest\": true, \"reason\": \"guest-reset\"}",
            &["why-reset watchdog 1.1,1.2"],
            "running watchdog",
        ),
        (
            "system_reset while it is stopped",
            "1 STOP\n5 RESET {\"guest\": false, \"reason\": \"host-qmp-system-reset\"}\n9 passes",
            &["why-paused unknown 1.1", "why-reset host-qmp-system-reset 1.2"],
            "prelaunch host-qmp-system-reset",
        ),
        ("system_powerdown", "1 POWERDOWN\n9 passes", &["powerdown-ignored - 1.1"], "running found-running"),
        (
            "guest S5",
            "1 SHUTDOWN {\"guest\": true, \"reason\": \"guest-shutdown\"}\n1.01 detached",
            &["why-ended guest-shutdown 1.1,1.2"],
            "ended guest-shutdown",
        ),
        (
            "guest S5 after the power button",
            "1 POWERDOWN\n4 SHUTDOWN {\"guest\": true, \"reason\": \"guest-shutdown\"}\n4.1 detached",
            &["why-ended guest-shutdown 1.1,1.2,1.3"],
            "ended guest-shutdown",
        ),
        (
            "guest S5, -no-shutdown",
            "1 SHUTDOWN {\"guest\": true, \"reason\": \"guest-shutdown\"}\n1.001 STOP",
            &["why-paused guest-shutdown 1.1,1.2"],
            "shutdown guest-shutdown",
        ),
        (
            "guest S5, -no-shutdown, then quit",
            "1 SHUTDOWN {\"guest\": true, \"reason\": \"guest-shutdown\"}\n1.001 STOP\n9 SHUTDOWN {\"guest\": false, \"reason\": \"host-qmp-quit\"}\n9.1 detached",
            &["why-paused guest-shutdown 1.1,1.2", "why-ended guest-shutdown 1.1,1.2,1.3,1.4"],
            "ended guest-shutdown",
        ),
        (
            "guest S5, -no-shutdown, then killed",
            "1 SHUTDOWN {\"guest\": true, \"reason\": \"guest-shutdown\"}\n1.001 STOP\n9 detached",
            &["why-paused guest-shutdown 1.1,1.2", "why-ended guest-shutdown 1.1,1.2,1.3"],
            "gone guest-shutdown",
        ),
        (
            "guest S4",
            "1 SUSPEND_DISK\n1.001 SHUTDOWN {\"guest\": true, \"reason\": \"guest-shutdown\"}\n1.01 detached",
            &["why-ended guest-hibernate 1.1,1.2,1.3"],
            "ended guest-hibernate",
        ),
        ("guest S3", "1 SUSPEND", &["why-suspended guest-suspend 1.1"], "suspended guest-suspend"),
        ("guest S3, woken", "1 SUSPEND\n2 WAKEUP", &["why-suspended guest-suspend 1.1"], "running wakeup"),
        (
            "guest reset",
            "5 RESET {\"guest\": true, \"reason\": \"guest-reset\"}",
            &["why-reset guest-reset 1.1"],
            "running guest-reset",
        ),
        (
            "guest reset, -no-reboot",
            "1 SHUTDOWN {\"guest\": true, \"reason\": \"guest-reset\"}\n1.01 detached",
            &["why-ended guest-reset 1.1,1.2"],
            "ended guest-reset",
        ),
        (
            "guest reset, reboot=shutdown,shutdown=pause",
            "1 SHUTDOWN {\"guest\": true, \"reason\": \"guest-reset\"}\n1.001 STOP",
            &["why-paused guest-reset 1.1,1.2"],
            "shutdown guest-reset",
        ),
        (
            "system_reset, -no-reboot",
            "1 SHUTDOWN {\"guest\": false, \"reason\": \"host-qmp-system-reset\"}\n1.01 detached",
            &["why-ended host-qmp-system-reset 1.1,1.2"],
            "ended host-qmp-system-reset",
        ),
        (
            "quit",
            "1 SHUTDOWN {\"guest\": false, \"reason\": \"host-qmp-quit\"}\n1.01 detached",
            &["why-ended host-qmp-quit 1.1,1.2"],
            "ended host-qmp-quit",
        ),
        (
            "quit by a client of the hub",
            "1 SHUTDOWN {\"guest\": false, \"reason\": \"host-qmp-quit\"}\n1.001 command {\"execute\": \"quit\", \"client\": \"shell\"}\n1.01 detached",
            &["why-ended host-qmp-quit 1.1,1.2,1.3"],
            "ended host-qmp-quit",
        ),
        (
            "quit by a client of the hub, recorded after the monitor closed",
            "1 SHUTDOWN {\"guest\": false, \"reason\": \"host-qmp-quit\"}\n1.01 detached\n1.02 command {\"execute\": \"quit\", \"client\": \"shell\"}",
            &["why-ended host-qmp-quit 1.1,1.2,1.3"],
            "ended host-qmp-quit",
        ),
        (
            "a quit that was refused is not what ended it",
            "1 command {\"execute\": \"quit\", \"client\": \"shell\", \"result\": \"failed\"}\n1.1 detached",
            &["why-ended gone 1.2"],
            "gone gone",
        ),
        (
            "signal",
            "1 SHUTDOWN {\"guest\": false, \"reason\": \"host-signal\"}\n1.01 detached",
            &["why-ended host-signal 1.1,1.2"],
            "ended host-signal",
        ),
        (
            "window closed",
            "1 SHUTDOWN {\"guest\": false, \"reason\": \"host-ui\"}\n1.01 detached",
            &["why-ended host-ui 1.1,1.2"],
            "ended host-ui",
        ),
        (
            "host error",
            "1 SHUTDOWN {\"guest\": false, \"reason\": \"host-error\"}\n1.01 detached",
            &["why-ended host-error 1.1,1.2"],
            "ended host-error",
        ),
        (
            "watchdog reset",
            "5 WATCHDOG {\"action\": \"reset\"}\n5.001 RESET {\"guest\": true, \"reason\": \"guest-reset\"}",
            &["why-reset watchdog 1.1,1.2"],
            "running watchdog",
        ),
        (
            "watchdog reset, held back until after the second reset",
            "5 WATCHDOG {\"action\": \"reset\"}\n5.001 RESET {\"guest\": true, \"reason\": \"guest-reset\"}\n5.5 RESET {\"guest\": true, \"reason\": \"guest-reset\"}\n6@5.499 WATCHDOG {\"action\": \"reset\"}",
            &["why-reset watchdog 1.1,1.2", "why-reset watchdog 1.3,1.4"],
            "running watchdog",
        ),
        (
            "watchdog reset, -no-reboot",
            "5 WATCHDOG {\"action\": \"reset\"}\n5.001 SHUTDOWN {\"guest\": true, \"reason\": \"guest-reset\"}\n5.01 detached",
            &["why-ended watchdog 1.1,1.2,1.3"],
            "ended watchdog",
        ),
        (
            "watchdog shutdown, and the guest obeys",
            "5 WATCHDOG {\"action\": \"shutdown\"}\n5.001 POWERDOWN\n6 SHUTDOWN {\"guest\": true, \"reason\": \"guest-shutdown\"}\n6.1 detached",
            &["why-ended guest-shutdown 1.1,1.2,1.3,1.4"],
            "ended guest-shutdown",
        ),
        (
            "watchdog poweroff: no SHUTDOWN",
            "5 WATCHDOG {\"action\": \"poweroff\"}\n5.01 detached",
            &["why-ended watchdog 1.1,1.2"],
            "ended watchdog",
        ),
        (
            "watchdog pause",
            "5 WATCHDOG {\"action\": \"pause\"}\n5.001 STOP",
            &["why-paused watchdog 1.1,1.2"],
            "watchdog watchdog",
        ),
        (
            "watchdog pause, held back until after its STOP",
            "5 WATCHDOG {\"action\": \"none\"}\n5.5 STOP\n6@5.499 WATCHDOG {\"action\": \"pause\"}",
            &["why-paused watchdog 1.2,1.3"],
            "watchdog watchdog",
        ),
        ("watchdog debug", "5 WATCHDOG {\"action\": \"debug\"}\n9 passes", &[], "running found-running"),
        (
            "panic=pause",
            "1 GUEST_PANICKED {\"action\": \"pause\"}\n1.001 STOP",
            &["why-paused guest-panic 1.1,1.2"],
            "guest-panicked guest-panic",
        ),
        (
            "panic=shutdown, by the guest",
            "1 GUEST_PANICKED {\"action\": \"poweroff\"}\n1.002 SHUTDOWN {\"guest\": true, \"reason\": \"guest-panic\"}\n1.01 detached",
            &["why-ended guest-panic 1.1,1.2,1.3"],
            "ended guest-panic",
        ),
        (
            "panic=exit-failure, -no-shutdown, by the guest",
            "1 GUEST_PANICKED {\"action\": \"poweroff\"}\n1.001 SHUTDOWN {\"guest\": true, \"reason\": \"guest-panic\"}\n1.002 STOP\n9 passes",
            &["why-paused guest-panic 1.1,1.2,1.3"],
            "shutdown guest-panic",
        ),
        (
            "panic=shutdown, by the human monitor",
            "1 GUEST_PANICKED {\"action\": \"poweroff\"}\n1.001 STOP\n1.002 SHUTDOWN {\"guest\": true, \"reason\": \"guest-panic\"}\n1.01 detached",
            &["why-ended guest-panic 1.1,1.3,1.4"],
            "ended guest-panic",
        ),
        (
            "panic=exit-failure, -no-shutdown, by the human monitor: it stays",
            "1 GUEST_PANICKED {\"action\": \"poweroff\"}\n1.001 STOP\n1.002 SHUTDOWN {\"guest\": true, \"reason\": \"guest-panic\"}\n9 passes",
            &["why-paused guest-panic 1.1,1.2"],
            "guest-panicked guest-panic",
        ),
        ("panic=none", "1 GUEST_PANICKED {\"action\": \"run\"}\n9 passes", &[], "running guest-panic"),
        (
            "pvpanic shutdown",
            "1 GUEST_PVSHUTDOWN\n1.001 SHUTDOWN {\"guest\": true, \"reason\": \"guest-shutdown\"}\n1.01 detached",
            &["schema-drift GUEST_PVSHUTDOWN 1.1", "why-ended guest-shutdown 1.1,1.2,1.3"],
            "ended guest-shutdown",
        ),
        (
            "block error, policy stop",
            "1 BLOCK_IO_ERROR {\"device\": \"d0\", \"node-name\": \"n\", \"operation\": \"write\", \"action\": \"stop\", \"nospace\": true, \"reason\": \"No space left on device\"}\n1.001 STOP",
            &["why-paused io-error 1.1,1.2"],
            "io-error io-error",
        ),
        ("killed", "5 detached", &["why-ended gone 1.1"], "gone gone"),
    ];
    for (name, story, expected, state) in cases {
        let story = format!("0 attached running\n{story}\n99 passes");
        assert_eq!(found(&story), expected, "{name}");
        assert_eq!(final_state(&story), state, "{name}");
    }
}

#[test]
fn stop_is_explained_by_a_migration_only_if_it_belongs_to_one() {
    let status = |at: &str, status: &str| format!("{at} MIGRATION {{\"status\": \"{status}\"}}\n");
    let begin = format!("0 attached running\n{}{}", status("5", "setup"), status("5.1", "active"));
    let cases: [(&str, String, &[&str], &str); 8] = [
        (
            "COLO: kept in step, then given up",
            format!(
                "{begin}6 STOP\n{}6.2 RESUME\n7 STOP\n{}7.2 RESUME",
                status("6.1", "colo"),
                status("7.1", "completed")
            ),
            &[
                "why-paused migration 1.2,1.3,1.4",
                "migration completed 1.1,1.2,1.4,1.7",
                "why-paused migration 1.4,1.6,1.7",
            ],
            "running resume",
        ),
        (
            "7.2: to the end",
            format!("{begin}6 STOP\n{}", status("6.2", "completed")),
            &["migration completed 1.1,1.2,1.4", "why-paused migration 1.2,1.3,1.4"],
            "postmigrate migration",
        ),
        (
            "11.1: to the end",
            format!("{begin}6 STOP\n{}{}", status("6.1", "device"), status("6.2", "completed")),
            &["why-paused migration 1.2,1.3,1.4", "migration completed 1.1,1.2,1.4,1.5"],
            "postmigrate migration",
        ),
        (
            "an operator pauses it meanwhile",
            format!("{begin}6 STOP\n6.1 answers paused\n20 passes"),
            &["why-paused host-stop 1.3,1.4"],
            "paused host-stop",
        ),
        (
            "no further event of the migration",
            format!("{begin}6 STOP\n20 passes"),
            &["why-paused unknown 1.3"],
            "paused unknown",
        ),
        (
            "cancelled",
            format!("{begin}{}{}", status("6", "cancelling"), status("6.1", "cancelled")),
            &["migration cancelled 1.1,1.2,1.3,1.4"],
            "running found-running",
        ),
        (
            "without the capability, and without an answer",
            "0 attached running\n6 STOP\n20 passes".to_owned(),
            &["why-paused unknown 1.1"],
            "paused unknown",
        ),
        (
            "without the capability, and the VM names its state",
            "0 attached running\n6 STOP\n6.1 answers finish-migrate\n7.2 answers postmigrate\n20 passes"
                .to_owned(),
            &["why-paused migration 1.1,1.2"],
            "postmigrate migration",
        ),
    ];
    for (name, story, expected, state) in cases {
        assert_eq!(found(&story), expected, "{name}");
        assert_eq!(final_state(&story), state, "{name}");
    }
}

#[test]
fn vm_resumed_by_incoming_migration_has_it_as_cause() {
    let status = |at: &str, status: &str| format!("{at} MIGRATION {{\"status\": \"{status}\"}}\n");
    let (active, completed) = (status("5", "active"), status("6", "completed"));
    let cont = "command {\"execute\": \"cont\", \"client\": \"shell\"}";
    //  name, story after `0 attached inmigrate`, cause, by, causes
    let cases: [(&str, String, &str); 7] = [
        (
            "RESUME after completed",
            format!("{active}{completed}6.01 RESUME"),
            "incoming-migration host 1.0,1.2,1.3",
        ),
        (
            "RESUME before completed",
            format!("{active}5.9 RESUME\n{completed}"),
            "incoming-migration host 1.0,1.1,1.2",
        ),
        (
            "postcopy",
            format!("{}5.9 RESUME\n{completed}", status("5", "postcopy-active")),
            "incoming-migration host 1.0,1.1,1.2",
        ),
        ("started with -S, and resumed later", format!("{active}{completed}20 RESUME"), "resume unknown 1.3"),
        (
            "resumed through the hub",
            format!("{active}{completed}6.5 RESUME\n6.51 {cont}"),
            "resume host 1.0,1.2,1.3,1.4",
        ),
        ("without the capability", "6 RESUME".to_owned(), "resume unknown 1.1"),
        ("it failed", format!("{active}{}6.01 RESUME", status("6", "failed")), "resume unknown 1.3"),
    ];
    for (name, text, expected) in cases {
        let mut correlators = Correlators::new();
        for step in story(&format!("0 attached inmigrate\n{text}")) {
            take(&mut correlators, &step, &mut Vec::new());
        }
        let why = correlators.state("vm1").and_then(|state| state.why).expect("there is an explanation");
        let causes: Vec<String> =
            why.causes.iter().map(|(epoch, seq)| format!("{}.{}", epoch.0, seq.0)).collect();
        assert_eq!(format!("{} {} {}", why.cause, why.by, causes.join(",")), expected, "{name}");
    }
}

#[test]
fn io_error_has_its_details_in_summary_and_data() {
    let steps = super::super::testing::story(
        "0 attached running\n\
         1 BLOCK_IO_ERROR {\"device\": \"\", \"node-name\": \"n\", \"qom-path\": \"/machine/x\", \"operation\": \"read\", \"action\": \"stop\", \"nospace\": false, \"reason\": \"Input/output error\"}\n\
         1.001 STOP",
    );
    let found = super::super::testing::findings(&steps);
    let paused = found.iter().find(|finding| finding.kind == "why-paused").expect("why it paused");
    insta::assert_snapshot!(
        paused.summary,
        @"A read from disk /machine/x failed (Input/output error), and QEMU paused it until `cont`, which tries again."
    );
    insta::assert_snapshot!(
        serde_json::Value::Object(paused.data.clone()),
        @r#"{"by":"qemu","cause":"io-error","node-name":"n","nospace":false,"operation":"read","qom-path":"/machine/x","reason":"Input/output error","run_state":"io-error"}"#
    );
}

#[test]
fn older_qemu_without_reasons_gives_general_causes() {
    let cases = [
        ("3.1.0", "1 SHUTDOWN {\"guest\": true}\n1.1 detached", "why-ended guest 1.1,1.2"),
        ("3.1.0", "1 SHUTDOWN {\"guest\": false}\n1.1 detached", "why-ended host 1.1,1.2"),
        ("2.5.0", "1 SHUTDOWN\n1.1 detached", "why-ended shutdown 1.1,1.2"),
        ("2.5.0", "1 RESET", "why-reset reset 1.1"),
        ("2.5.0", "1 WATCHDOG {\"action\": \"reset\"}\n1.1 RESET", "why-reset watchdog 1.1,1.2"),
    ];
    for (version, story, expected) in cases {
        let found = found(&format!("0 attached running {version}\n{story}"));
        assert_eq!(found, [expected], "{version} {story}");
    }
}

#[test]
fn epoch_closed_by_the_hub_adds_no_finding() {
    for reason in ["hub stopped", "overrun", "protocol error", "removed"] {
        let story = format!("0 attached running\n1 detached {reason}");
        assert_eq!(found(&story), [""; 0], "{reason}");
        assert_eq!(final_state(&story), "running found-running", "{reason}: the last known state");
    }
}

#[test]
fn end_of_vm_waits_for_the_exit_status_if_it_is_available() {
    //  name, story, findings
    let cases: [(&str, &str, &[&str]); 10] = [
        (
            "killed",
            "0 attached running 7.2.22 qemu-system-x86\n1 detached\n1.01 process-ended {\"signal\": 9, \"core_dumped\": false}",
            &[
                "why-ended killed 1.1,1.2: QEMU was killed by SIGKILL: by a process of the host, or by the kernel because memory ran out.",
            ],
        ),
        (
            "crashed",
            "0 attached running 7.2.22 kvm\n1 detached\n1.01 process-ended {\"signal\": 11, \"core_dumped\": true}",
            &["why-ended crashed 1.1,1.2: QEMU crashed, by SIGSEGV, and left a core dump."],
        ),
        (
            "a signal that has no name here",
            "0 attached running 7.2.22 kvm\n1 detached\n1.01 process-ended {\"signal\": 40}",
            &["why-ended killed 1.1,1.2: QEMU was killed by signal 40."],
        ),
        (
            "exited, and is no QEMU",
            "0 attached running 7.2.22 my-vmm\n1 detached\n1.01 process-ended {\"exit_code\": 3}",
            &["why-ended exited 1.1,1.2: The process my-vmm exited with status 3, and no event said why."],
        ),
        (
            "no record of how it ended",
            "0 attached running 7.2.22 kvm\n1 detached\n9 passes",
            &[
                "why-ended gone 1.1: Its monitor closed, and no event said why: QEMU was killed (SIGKILL, out of memory), it crashed, it exited by itself, or its monitor was removed.",
            ],
        ),
        (
            "the record is late",
            "0 attached running 7.2.22 kvm\n1 detached\n9 process-ended {\"signal\": 9}",
            &[
                "why-ended gone 1.1: Its monitor closed, and no event said why: QEMU was killed (SIGKILL, out of memory), it crashed, it exited by itself, or its monitor was removed.",
                "why-ended killed 1.1,1.2: QEMU was killed by SIGKILL: by a process of the host, or by the kernel because memory ran out.",
            ],
        ),
        (
            "attached again before that",
            "0 attached running 7.2.22 kvm\n1 detached\n1.5 attached running",
            &[
                "why-ended gone 1.1: Its monitor closed, and no event said why: QEMU was killed (SIGKILL, out of memory), it crashed, it exited by itself, or its monitor was removed.",
            ],
        ),
        (
            "a panic, and exit-failure",
            "0 attached running 7.2.22 kvm\n1 GUEST_PANICKED {\"action\": \"poweroff\"}\n1.001 STOP\n1.002 SHUTDOWN {\"guest\": true, \"reason\": \"guest-panic\"}\n1.01 detached\n1.02 process-ended {\"exit_code\": 1}",
            &["why-ended guest-panic 1.1,1.3,1.4,1.5: The guest panicked, and QEMU exited with status 1."],
        ),
        (
            "as it should",
            "0 attached running 7.2.22 kvm\n1 SHUTDOWN {\"guest\": true, \"reason\": \"guest-shutdown\"}\n1.01 detached\n1.02 process-ended {\"exit_code\": 0}",
            &["why-ended guest-shutdown 1.1,1.2: The guest shut itself down, and QEMU exited."],
        ),
        (
            "by a client of the hub",
            "0 attached running 7.2.22 kvm\n1 SHUTDOWN {\"guest\": false, \"reason\": \"host-qmp-quit\"}\n1.01 detached\n1.015 command {\"execute\": \"quit\", \"client\": \"shell\"}\n1.02 process-ended {\"exit_code\": 0}",
            &["why-ended host-qmp-quit 1.1,1.2,1.3: It was ended by `quit`, from shell, and QEMU exited."],
        ),
    ];
    for (name, text, expected) in cases {
        let findings = findings(&story(text));
        let ended = findings.iter().filter(|finding| finding.kind == "why-ended");
        let ended: Vec<_> = ended.map(|finding| format!("{}: {}", short(finding), finding.summary)).collect();
        assert_eq!(ended, expected, "{name}");
    }
}

#[test]
fn process_that_was_ended_by_signal_after_shutdown_was_killed_or_crashed() {
    let shutdown = |at: &str, reason: &str| {
        let guest = reason.starts_with("guest");
        format!("{at} SHUTDOWN {{\"guest\": {guest}, \"reason\": \"{reason}\"}}\n")
    };
    let signal = |signal: u32| format!("9 detached\n9.01 process-ended {{\"signal\": {signal}}}");
    let stays = shutdown("1", "host-qmp-system-reset") + "1.001 STOP\n";
    let stories = [
        shutdown("1", "guest-shutdown") + &signal(11),
        shutdown("1", "host-signal") + &signal(9),
        shutdown("1", "host-qmp-quit") + &signal(9),
        format!("{stays}{}{}", shutdown("8.7", "host-qmp-system-reset"), signal(9)),
        format!(
            "{}1.001 STOP\n{}{}",
            shutdown("1", "guest-shutdown"),
            shutdown("8.7", "host-signal"),
            signal(9)
        ),
        format!("8 WATCHDOG {{\"action\": \"poweroff\"}}\n{}", signal(9)),
    ];
    let ended = |text: String| {
        let steps = story(&format!("0 attached running 7.2.22 kvm\n{text}"));
        let found = findings(&steps);
        super::oracle::judge(&found, &steps).expect("every conclusion has its evidence");
        let ended = found.last().expect("a finding");
        format!("{} {}: {}\n", short(ended), ended.data["ended_by"], ended.summary)
    };
    insta::assert_snapshot!(stories.map(ended).concat(), @r#"
    why-ended guest-shutdown 1.1,1.2,1.3 "crashed": The guest shut itself down; QEMU crashed, by SIGSEGV, 8.0 s later.
    why-ended host-signal 1.1,1.2,1.3 "killed": QEMU received a signal that ends it (SIGTERM, SIGINT or SIGHUP); QEMU was killed by SIGKILL 8.0 s later.
    why-ended host-qmp-quit 1.1,1.2,1.3 "killed": `quit` was given; QEMU was killed by SIGKILL 8.0 s later.
    why-ended host-qmp-system-reset 1.3,1.4,1.5 "killed": It was reset by `system_reset` and is set to end then (`-no-reboot`); QEMU was killed by SIGKILL 300 ms later.
    why-ended guest-shutdown 1.1,1.2,1.3,1.4,1.5 "killed": The guest shut itself down. QEMU received a signal that ends it (SIGTERM, SIGINT or SIGHUP); QEMU was killed by SIGKILL 300 ms later.
    why-ended watchdog 1.1,1.2,1.3 "killed": Its watchdog expired, because the guest did not answer; QEMU was killed by SIGKILL 1.0 s later.
    "#);
}
