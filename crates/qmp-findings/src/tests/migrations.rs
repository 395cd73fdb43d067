//! Migrations of VMs in every state, and snapshots, which have the same events.

use super::super::testing::{final_state, findings, found, story};

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
