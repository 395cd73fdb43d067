//! Migrations of VMs in every state, and snapshots, which have the same events.

use super::super::Correlators;
use super::super::state::VmState;
use super::super::testing::{final_state, findings, found, story, take};

const STOP: &str = "1 STOP\n1.01 command {\"execute\": \"stop\", \"client\": \"shell\"}\n";

fn status(at: &str, status: &str) -> String {
    format!("{at} MIGRATION {{\"status\": \"{status}\"}}\n")
}

#[test]
fn snapshot_is_no_migration() {
    let passes = "5.1 MIGRATION_PASS {\"pass\": 1}\n5.2 MIGRATION_PASS {\"pass\": 2}\n";
    let snapshot = [status("5", "setup"), passes.to_owned(), status("5.3", "completed")].concat();
    let host_stop = "why-paused host-stop 1.1,1.2";
    //  name, story after `0 attached running`, findings, final state
    let cases: [(&str, String, &[&str], &str); 5] = [
        ("stopped through the hub", format!("{STOP}{snapshot}"), &[host_stop], "paused host-stop"),
        (
            "stopped through the hub, and ended",
            format!("{STOP}{snapshot}9 detached\n9.01 process-ended {{\"signal\": 9}}"),
            &[host_stop, "why-ended killed 1.7,1.8"],
            "gone killed",
        ),
        (
            "stopped by another client",
            format!("1 STOP\n1.1 answers paused\n{snapshot}"),
            &["why-paused host-stop 1.1,1.2"],
            "paused host-stop",
        ),
        (
            "running",
            format!("4.9 STOP\n{snapshot}5.4 RESUME\n20 passes"),
            &["why-paused unknown 1.1"],
            "running resume",
        ),
        (
            "a migration follows",
            format!(
                "{STOP}{snapshot}{}{}{}",
                status("6", "setup"),
                status("6.1", "active"),
                status("7", "completed")
            ),
            &[host_stop, "migration completed 1.7,1.8,1.9"],
            "postmigrate migration",
        ),
    ];
    for (name, text, expected, state) in cases {
        let text = format!("0 attached running 7.2.22 kvm\n{text}");
        assert_eq!(found(&text), expected, "{name}");
        assert_eq!(final_state(&text), state, "{name}");
    }
}

#[test]
fn failure_after_setup_of_stopped_vm_has_no_direction() {
    let failed = [status("5", "setup"), status("5.1", "failed")].concat();
    let report = |text: String| {
        let found = findings(&story(&text));
        let finding = found.iter().find(|finding| finding.kind == "migration").expect("a finding");
        format!("{}: {}", finding.data["direction"], finding.summary)
    };
    insta::assert_snapshot!(report(format!("0 attached running\n{failed}")), @r#""outgoing": The migration away failed after 100 ms."#);
    insta::assert_snapshot!(report(format!("0 attached running\n{STOP}{failed}")), @"null: A migration away or a snapshot failed after 100 ms.");
}

#[test]
fn wakeup_of_stopped_vm_does_not_make_it_run() {
    let active = [status("4", "setup"), status("4.1", "active")].concat();
    //  name, story after `0 attached running`, final state
    let cases = [
        (
            "migrated",
            "1 SUSPEND\n5 STOP\n5.001 WAKEUP\n5.1 query 2 POSTMIGRATE".to_owned(),
            "postmigrate migration",
        ),
        (
            "paused before the switchover",
            "1 SUSPEND\n5 STOP\n5.001 WAKEUP\n5.1 query 2 FINISH".to_owned(),
            "finish-migrate migration",
        ),
        (
            "migrated, with the capability",
            format!("1 SUSPEND\n{active}5 STOP\n5.001 WAKEUP\n{}", status("5.1", "completed")),
            "postmigrate migration",
        ),
        ("no answer", "1 SUSPEND\n5 STOP\n5.001 WAKEUP\n20 passes".to_owned(), "paused unknown"),
        ("not stopped", "1 SUSPEND\n5 WAKEUP\n20 passes".to_owned(), "running wakeup"),
        (
            "stopped afterwards",
            "1 SUSPEND\n5 WAKEUP\n5.1 STOP\n5.2 answers paused".to_owned(),
            "paused host-stop",
        ),
    ];
    let answer =
        |status: &str| format!("{{\"execute\": \"query-status\", \"return\": {{\"status\": \"{status}\"}}}}");
    for (name, text, expected) in cases {
        let text =
            text.replace("POSTMIGRATE", &answer("postmigrate")).replace("FINISH", &answer("finish-migrate"));
        assert_eq!(final_state(&format!("0 attached running\n{text}")), expected, "{name}");
    }
}

/// The state at the end of a story.
fn state(text: &str) -> VmState {
    let mut correlators = Correlators::new();
    for step in story(text) {
        take(&mut correlators, &step, &mut Vec::new());
    }
    correlators.state("vm1").expect("the VM is tracked")
}

#[test]
fn migration_to_here_without_the_capability_ends_when_the_vm_arrived() {
    let setup = status("1", "setup");
    let paused = "query 0 {\"execute\": \"query-status\", \"return\": {\"status\": \"paused\"}}";
    for arrived in ["2 RESUME".to_owned(), format!("40 {paused}")] {
        let text = format!("0 attached inmigrate\n{setup}{arrived}\n");
        assert_eq!(state(&text).migration, None, "{text}");
        let found = found(&format!("{text}60 STOP\n60.1 answers paused\n80 detached hub stopped"));
        assert!(found.iter().all(|finding| !finding.starts_with("migration")), "{found:?}");
        assert!(found.iter().all(|finding| !finding.starts_with("why-paused migration")), "{found:?}");
        let away = [status("70", "setup"), status("71", "active")].concat();
        assert_eq!(
            state(&format!("{text}{away}")).migration.and_then(|it| it.ty).as_deref(),
            Some("outgoing")
        );
    }
    let text = format!("0 attached inmigrate\n{setup}{}2 RESUME\n", status("1.5", "active"));
    let completed = found(&format!("{text}{}", status("2.1", "completed")));
    assert_eq!(completed, ["migration completed 1.1,1.2,1.4"]);
}

#[test]
fn migration_of_paused_vm_says_what_is_known() {
    let away = [status("5", "setup"), status("5.1", "active"), status("5.3", "completed")].concat();
    let summary = |text: &str| state(text).why.expect("an explanation").summary;
    insta::assert_snapshot!(summary(&format!("0 attached running\n{STOP}{away}")), @"It was migrated away while it was stopped, and only QEMU remains here.");
    let running = away.replace("5.3", "5.2 STOP\n5.3");
    insta::assert_snapshot!(summary(&format!("0 attached running\n{running}")), @"It was migrated away, and only QEMU remains here.");
}

#[test]
fn vm_that_arrives_paused_was_not_stopped() {
    let arrival = [status("5", "active"), status("6", "completed")].concat();
    let probe = "query 0 {\"execute\": \"query-status\", \"return\": {\"status\": \"paused\"}}";
    let show = |text: &str| {
        let state = state(&format!("0 attached inmigrate\n{text}"));
        let why = state.why.expect("an explanation");
        let since = state.run_since.expect("a moment");
        format!("{since} {} {} {:?}\n{}\n", why.cause, why.by, why.causes, why.summary)
    };
    let seen = show(&format!("{arrival}7.1 passes\n7.2 answers paused"));
    insta::assert_snapshot!([seen, show(&format!("40 {probe}"))].concat(), @"
    2026-01-02T03:04:11.000000Z incoming-migration host [(Epoch(1), Seq(0)), (Epoch(1), Seq(2)), (Epoch(1), Seq(3))]
    It was migrated to here, and is paused.
    2026-01-02T03:04:45.000000Z incoming-migration unknown [(Epoch(1), Seq(0)), (Epoch(1), Seq(1))]
    It was migrated to here, and is paused.
    ");
}

#[test]
fn failed_migration_to_here_is_the_cause_of_the_end() {
    let failed = [status("5", "active"), status("6", "failed")].concat();
    let ended = |text: &str| {
        let found = findings(&story(text));
        let ended = found.last().expect("a finding");
        let member = |member: &str| ended.data[member].as_str().unwrap_or_default().to_owned();
        let (cause, ended_by, by) = (member("cause"), member("ended_by"), member("by"));
        format!("{cause} {ended_by} {by} {:?} {}\n", ended.causes, ended.summary)
    };
    let exited = "6.003 detached\n6.01 process-ended {\"exit_code\": 1}";
    let stories = [
        format!("0 attached inmigrate 7.2.22 kvm\n{failed}{exited}"),
        format!("0 attached inmigrate 7.2.22 kvm\n{failed}6.003 detached\n99 passes"),
        format!("0 attached inmigrate 7.2.22 kvm\n{}{exited}", status("1", "setup")),
        format!("0 attached running 7.2.22 kvm\n{failed}{exited}"),
    ];
    insta::assert_snapshot!(stories.map(|text| ended(&text)).concat(), @"
    incoming-migration exited unknown [(Epoch(1), Seq(2)), (Epoch(1), Seq(3)), (Epoch(1), Seq(4))] The migration to here failed; QEMU exited with status 1, 3 ms later.
    incoming-migration gone unknown [(Epoch(1), Seq(2)), (Epoch(1), Seq(3))] The migration to here failed; the monitor of QEMU closed, 3 ms later.
    exited exited qemu [(Epoch(1), Seq(2)), (Epoch(1), Seq(3))] QEMU exited with status 1, and no event said why.
    exited exited qemu [(Epoch(1), Seq(3)), (Epoch(1), Seq(4))] QEMU exited with status 1, and no event said why.
    ");
}
