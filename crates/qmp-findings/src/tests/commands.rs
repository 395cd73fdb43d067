//! Recorded commands as causes: each explains its own effect only.

use super::super::Correlators;
use super::super::testing::{final_state, findings, found, short, story, take};

#[test]
fn command_explains_only_its_own_effect() {
    const QUIT: &str = r#"{"execute": "quit", "client": "shell", "took_ms": 2}"#;
    const STOP: &str = r#"{"execute": "stop", "client": "shell", "took_ms": 2}"#;
    const RESET: &str = r#"{"execute": "system_reset", "client": "shell", "took_ms": 2}"#;
    const RESET_EVENT: &str = r#"RESET {"guest": false, "reason": "host-qmp-system-reset"}"#;
    let hmp = |line: &str, bytes: u32| {
        let arguments = format!(r#"{{"command-line": "{line}"}}"#);
        format!(
            r#"{{"execute": "human-monitor-command", "client": "shell", "took_ms": 2, "arguments": {arguments}, "output_bytes": {bytes}}}"#
        )
    };
    let save =
        r#"{"execute": "snapshot-save", "client": "shell", "took_ms": 2, "arguments": {"job-id": "s1"}}"#;
    //  name, story after `0 attached running 7.2.22 kvm`, findings, final run state and cause
    let cases: [(&str, String, &[&str], &str); 12] = [
        (
            "refused HMP `quit`, then SIGKILL",
            format!("1 command {}\n4 detached\n4.01 process-ended {{\"signal\": 9}}", hmp("quit now", 40)),
            &["why-ended killed 1.2,1.3"],
            "gone killed",
        ),
        (
            "HMP `quit`, done",
            format!(
                "1 command {}\n1.01 SHUTDOWN {{\"guest\": false, \"reason\": \"host-qmp-quit\"}}\n1.1 detached\n20 passes",
                hmp("quit", 0)
            ),
            &["why-ended host-qmp-quit 1.1,1.2,1.3"],
            "ended host-qmp-quit",
        ),
        (
            "`quit` without SHUTDOWN, then SIGKILL",
            format!("1 command {QUIT}\n4 detached\n4.01 process-ended {{\"signal\": 9}}"),
            &["why-ended killed 1.2,1.3"],
            "gone killed",
        ),
        (
            "refused HMP `stop`, then the `stop` of another client",
            format!("1 command {}\n1.5 STOP\n20 passes", hmp("stop now", 40)),
            &["why-paused unknown 1.2"],
            "paused unknown",
        ),
        (
            "`stop`, then `cont` and `stop` of another client",
            format!("1 STOP\n1.001 command {STOP}\n1.2 RESUME\n1.4 STOP\n20 passes"),
            &["why-paused host-stop 1.1,1.2", "why-paused unknown 1.4"],
            "paused unknown",
        ),
        (
            "`stop` of a stopped VM, then `cont` and `stop` of another client",
            format!("1 STOP\n4 command {STOP}\n4.7 RESUME\n4.9 STOP\n20 passes"),
            &["why-paused unknown 1.1", "why-paused unknown 1.4"],
            "paused unknown",
        ),
        (
            "`stop` right after the STOP of another client",
            format!("5 STOP\n5.2 command {STOP}\n20 passes"),
            &["why-paused unknown 1.1"],
            "paused unknown",
        ),
        (
            "`system_reset`, then that of another client",
            format!("1 command {RESET}\n1.01 {RESET_EVENT}\n2.3 {RESET_EVENT}\n20 passes"),
            &["why-reset host-qmp-system-reset 1.1,1.2", "why-reset host-qmp-system-reset 1.3"],
            "running host-qmp-system-reset",
        ),
        (
            "`snapshot-save` that has failed, then the `stop` of another client",
            format!(
                "1 command {save}\n1.1 JOB_STATUS_CHANGE {{\"id\": \"s1\", \"status\": \"concluded\"}}\n1.6 STOP\n20 passes"
            ),
            &["job unknown 1.2", "why-paused unknown 1.3"],
            "paused unknown",
        ),
        (
            "`snapshot-save`, then the `stop` of another client",
            format!("1 command {save}\n1.1 STOP\n1.2 RESUME\n1.4 STOP\n20 passes"),
            &["why-paused save-vm 1.1,1.2", "why-paused unknown 1.4"],
            "paused unknown",
        ),
        (
            "`savevm` of the human monitor",
            format!("1.001 STOP\n1.002 RESUME\n1.002 command {}\n20 passes", hmp("savevm a", 0)),
            &["why-paused save-vm 1.1,1.3"],
            "running resume",
        ),
        (
            "`migrate`, then the migration of another client",
            "1 MIGRATION {\"status\": \"setup\"}\n1.001 command {\"execute\": \"migrate\", \"client\": \"shell\"}\n\
             2 MIGRATION {\"status\": \"failed\"}\n5 MIGRATION {\"status\": \"setup\"}\n5.1 MIGRATION {\"status\": \"active\"}\n\
             6 STOP\n6.1 answers postmigrate\n20 passes"
                .to_owned(),
            &["migration failed 1.1,1.3", "why-paused migration 1.5,1.6,1.7"],
            "postmigrate migration",
        ),
    ];
    for (name, story, expected, state) in cases {
        let story = format!("0 attached running 7.2.22 kvm\n{story}");
        assert_eq!(found(&story), expected, "{name}");
        assert_eq!(final_state(&story), state, "{name}");
    }
}

#[test]
fn shutdown_of_qemu_that_stays_is_not_its_end() {
    let stays = "0 attached running 7.2.22 kvm\n1 STOP\n3 SHUTDOWN {\"guest\": false, \"reason\": \"host-qmp-system-reset\"}";
    let killed = "19 detached\n19.01 process-ended {\"signal\": 9}";
    //  name, the VM's answer to the question that SHUTDOWN raises, finding about its end
    let cases = [
        ("it answers", "4.1 passes\n4.2 answers paused", "why-ended killed 1.4,1.5"),
        ("it does not answer", "4.1 passes", "why-ended host-qmp-system-reset 1.2,1.3,1.4"),
    ];
    for (name, answer, expected) in cases {
        let found = found(&format!("{stays}\n{answer}\n{killed}"));
        let ended: Vec<_> = found.iter().filter(|found| found.starts_with("why-ended")).collect();
        assert_eq!(ended, [expected], "{name}");
    }
}

#[test]
fn reply_to_a_probe_sets_the_run_state_that_no_event_named() {
    let probe = |status: &str| {
        format!("query 0 {{\"execute\": \"query-status\", \"return\": {{\"status\": \"{status}\"}}}}")
    };
    let (paused, running) = (probe("paused"), probe("running"));
    //  story, final state
    let cases = [
        (format!("0 attached inmigrate\n60 {paused}"), "paused incoming-migration"),
        (format!("0 attached inmigrate\n60 {running}"), "running unknown"),
        (format!("0 attached running\n60 {running}"), "running found-running"),
        (format!("0 attached paused\n60 {paused}"), "paused found-paused"),
        (format!("0 attached running\n60 {paused}\n61 RESUME"), "running resume"),
        // After the end of QEMU, a reply has no effect.
        (
            format!(
                "0 attached running\n1 SHUTDOWN {{\"guest\": true, \"reason\": \"guest-shutdown\"}}\n2 detached\n3 {paused}"
            ),
            "ended guest-shutdown",
        ),
    ];
    for (story, expected) in cases {
        assert_eq!(final_state(&story), expected, "{story}");
    }
}

#[test]
fn completed_migration_of_paused_vm_asks_for_its_run_state() {
    let story = "0 attached inmigrate\n1 MIGRATION {\"status\": \"active\"}\n2 MIGRATION {\"status\": \"completed\"}\n3.1 passes";
    assert_eq!(final_state(story), "inmigrate incoming-migration");
    assert_eq!(final_state(&format!("{story}\n3.2 answers paused\n20 passes")), "paused incoming-migration");
}

#[test]
fn cont_that_was_recorded_late_explains_its_resume() {
    let cont =
        |took: u32| format!("command {{\"execute\": \"cont\", \"client\": \"shell\", \"took_ms\": {took}}}");
    let stopped = "0 attached running\n1 STOP\n1.1 answers paused\n5 RESUME\n5.01 answers running\n";
    let by = |took: u32| {
        let mut correlators = Correlators::new();
        for step in story(&format!("{stopped}7 {}", cont(took))) {
            take(&mut correlators, &step, &mut Vec::new());
        }
        correlators.state("vm1").and_then(|state| state.why).expect("an explanation").by
    };
    assert_eq!(by(2_003), "host");
    assert_eq!(by(3), "unknown");
}

#[test]
fn loadvm_that_failed_has_stopped_the_vm() {
    let text = format!(
        "0 attached running\n1 STOP\n1.001 command {}\n1.1 query 1 {{\"execute\": \"query-status\", \"return\": {{\"status\": \"restore-vm\"}}}}\n20 passes",
        r#"{"execute": "human-monitor-command", "client": "shell", "took_ms": 2, "arguments": {"command-line": "loadvm nope"}, "output_bytes": 60}"#
    );
    let found = findings(&story(&text));
    let summaries: Vec<String> =
        found.iter().map(|finding| format!("{} {}", short(finding), finding.summary)).collect();
    insta::assert_snapshot!(summaries.join("\n"), @"why-paused restore-vm 1.1,1.2 It was stopped for `loadvm`, from shell, which failed.");
    assert_eq!(final_state(&text), "restore-vm restore-vm");
}
