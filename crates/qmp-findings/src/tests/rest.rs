//! Schema drift, clock steps, and changes between two epochs.

use super::super::testing::{findings, found, story};

#[test]
fn difference_from_catalogue_is_reported_once_an_epoch() {
    let cases: [(&str, &str, &[&str]); 6] = [
        (
            "unknown event, twice",
            "1 NEVER_HEARD {\"a\": 1}\n2 NEVER_HEARD {\"a\": 2}",
            &["schema-drift NEVER_HEARD 1.1"],
        ),
        (
            "again in the next epoch",
            "1 NEVER_HEARD\n2 detached hub stopped\n3 attached running\n4 NEVER_HEARD",
            &["schema-drift NEVER_HEARD 1.1", "schema-drift NEVER_HEARD 2.1"],
        ),
        ("unknown member", "1 STOP {\"x\": 1}", &["schema-drift STOP 1.1"]),
        (
            "of a later release",
            "1 VFIO_MIGRATION {\"device-id\": \"\", \"qom-path\": \"/\", \"device-state\": \"stop\"}",
            &["schema-drift VFIO_MIGRATION 1.1"],
        ),
        ("a vendor's", "1 __com.example_THING {\"a\": 1}", &[]),
        ("as it should be", "1 POWERDOWN", &[]),
    ];
    for (name, text, expected) in cases {
        let mut found = found(&format!("0 attached running\n{text}"));
        found.retain(|finding| finding.starts_with("schema-drift"));
        assert_eq!(found, expected, "{name}");
    }
    let steps = story("0 attached running 99.0.0\n1 NEVER_HEARD");
    insta::assert_snapshot!(findings(&steps)[0].summary, @"NEVER_HEARD is not as the catalogue has it for QEMU 99.0.0: unknown event; the catalogue ends at QEMU 11.1.");
}

#[test]
fn clock_that_was_set_is_reported() {
    let cases: [(&str, &str, &[&str]); 8] = [
        ("steady", "100@100 POWERDOWN\n200@200 POWERDOWN", &[]),
        ("another zone", "100@7300 POWERDOWN\n200@7400 POWERDOWN", &[]),
        ("read late", "100@100 POWERDOWN\n200@150 POWERDOWN\n201@201 POWERDOWN", &[]),
        ("held back", "100@100 POWERDOWN\n100.9@99 RTC_CHANGE {\"offset\": 1, \"qom-path\": \"/rtc\"}", &[]),
        ("this host back", "100@100 POWERDOWN\n50@100.5 POWERDOWN", &["clock-step - 1.1,1.2"]),
        ("both back", "100@100 POWERDOWN\n50@50 POWERDOWN", &["clock-step - 1.1,1.2"]),
        (
            "the VM's host back",
            "100@100 POWERDOWN\n101@51 POWERDOWN\n102@52 POWERDOWN",
            &["clock-step - 1.1,1.2"],
        ),
        (
            "the VM's host ahead",
            "100@100 POWERDOWN\n101@151 POWERDOWN\n102@152 POWERDOWN",
            &["clock-step - 1.1,1.2"],
        ),
    ];
    for (name, text, expected) in cases {
        let mut found = found(&format!("0 attached running\n{text}"));
        found.retain(|finding| finding.starts_with("clock-"));
        assert_eq!(found, expected, "{name}");
    }
    let summary = |text: &str| findings(&story(&format!("0 attached running\n{text}")))[0].summary.clone();
    insta::assert_snapshot!(summary("100@100 POWERDOWN\n50@50 POWERDOWN"), @"This host's clock went back by 50 s, and the clock of the VM's host went back by 50 s.");
    insta::assert_snapshot!(summary("100@100 POWERDOWN\n101@151 POWERDOWN"), @"The clock of the VM's host went ahead by 50 s.");
}

#[test]
fn deadlines_hold_when_the_clock_goes_back() {
    // The deadline is 10 s after the event, whatever the clock shows.
    let text = "3600 attached running\n3601 WATCHDOG {\"action\": \"reset\"}\n2 POWERDOWN\n";
    let missing = |end: &str| {
        found(&format!("{text}{end} passes")).iter().filter(|found| found.starts_with("sequel")).count()
    };
    assert_eq!((missing("11"), missing("13")), (0, 1));
}

#[test]
fn change_between_two_epochs_is_reported() {
    let cases: [(&str, &str, &[&str]); 14] = [
        ("stopped, in an unknown state", "1 STOP\n2 detached hub stopped\n3 attached internal-error", &[]),
        (
            "stopped, in a state that the VM had named",
            "1 STOP\n1.1 answers paused\n2 detached hub stopped\n3 attached internal-error",
            &["state-changed-unseen - 1.3,2.0"],
        ),
        (
            "in a state that passes",
            "1 STOP\n1.1 answers finish-migrate\n2 detached hub stopped\n3 attached postmigrate",
            &[],
        ),
        ("its monitor was removed", "1 detached\n3 attached running", &[]),
        (
            "its monitor was removed, and it was stopped",
            "1 detached\n3 attached paused",
            &["state-changed-unseen - 1.1,2.0"],
        ),
        ("crashed and started", "1 detached\n1.1 process-ended {\"signal\": 11}\n3 attached prelaunch", &[]),
        ("reset, with an unknown run state", "1 RESET\n2 detached hub stopped\n3 attached running", &[]),
        ("nothing", "1 detached hub stopped\n2 attached running", &[]),
        ("paused", "1 detached hub stopped\n2 attached paused", &["state-changed-unseen - 1.1,2.0"]),
        ("paused before", "1 STOP\n2 detached hub stopped\n3 attached paused", &[]),
        (
            "resumed",
            "1 STOP\n2 detached hub stopped\n3 attached running",
            &["state-changed-unseen - 1.2,2.0"],
        ),
        ("killed and started", "1 detached\n3 attached prelaunch", &["state-changed-unseen - 1.1,2.0"]),
        (
            "quit and started",
            "1 SHUTDOWN {\"guest\": false, \"reason\": \"host-qmp-quit\"}\n2 detached\n3 attached prelaunch",
            &[],
        ),
        (
            "another QEMU",
            "1 detached hub stopped\n3 attached running 8.2.0",
            &["state-changed-unseen - 1.1,2.0"],
        ),
    ];
    for (name, text, expected) in cases {
        let mut found = found(&format!("0 attached running\n{text}"));
        found.retain(|finding| finding.starts_with("state-"));
        assert_eq!(found, expected, "{name}");
    }
    let steps = story("0 attached running\n1 detached hub stopped\n2 attached paused 8.2.0");
    insta::assert_snapshot!(findings(&steps)[0].summary, @"Unseen between two epochs, this changed: the run state was running and is paused; the version of QEMU was 7.2.22 and is 8.2.0.");
}
