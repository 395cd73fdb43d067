//! Ends of QEMU that were not seen, because the hub was down.

use serde_json::Value;

use super::super::testing::{final_state, findings, found, story};
use super::oracle;

const JOB: &str = "1 JOB_STATUS_CHANGE {\"id\": \"j0\", \"status\": \"running\"}\n";
const PANIC: &str = "1 GUEST_PANICKED {\"action\": \"run\"}\n";
const HIBERNATED: &str =
    "1 SUSPEND_DISK\n1.001 SHUTDOWN {\"guest\": true, \"reason\": \"guest-shutdown\"}\n1.002 STOP\n";
const DOWN: &str = "5 detached hub stopped\n";
const NO_PROCESS: &str = "9 gone {\"pid\": 7, \"evidence\": \"no-such-process\"}\n";
const REFUSED: &str = "9 gone {\"evidence\": \"connection-refused\"}\n";

#[test]
fn unseen_end_of_qemu_is_reported_once() {
    //  name, story after `0 attached running 7.2.22 kvm#7`, findings, final state
    let cases: [(&str, String, &[&str], &str); 13] = [
        (
            "another process is there",
            format!("{DOWN}9 attached running 7.2.22 kvm#8"),
            &["state-changed-unseen - 1.1,2.0", "why-ended unknown 1.0,1.1,2.0"],
            "running found-running",
        ),
        (
            "another process, in another state",
            format!("{DOWN}9 attached prelaunch 7.2.22 kvm#8"),
            &["state-changed-unseen - 1.1,2.0", "why-ended unknown 1.0,1.1,2.0"],
            "prelaunch found-prelaunch",
        ),
        ("the same process", format!("{DOWN}9 attached running 7.2.22 kvm#7"), &[], "running found-running"),
        (
            "a program that forwards the monitor was started again",
            "5 detached hub stopped\n6 attached running 7.2.22 socat#7\n7 detached hub stopped\n9 attached running 7.2.22 socat#8".to_owned(),
            &[],
            "running found-running",
        ),
        ("its process is gone", format!("{DOWN}{NO_PROCESS}"), &["why-ended unknown 1.0,1.2"], "gone unknown"),
        ("nothing listens", format!("{DOWN}{REFUSED}"), &["why-ended unknown 1.0,1.2"], "gone unknown"),
        (
            "it is noticed twice",
            format!("{DOWN}{REFUSED}{NO_PROCESS}"),
            &["why-ended unknown 1.0,1.2"],
            "gone unknown",
        ),
        (
            "it is noticed, and started again",
            format!("{DOWN}{REFUSED}10 attached running 7.2.22 kvm#8"),
            &["why-ended unknown 1.0,1.2"],
            "running found-running",
        ),
        (
            "its end was seen",
            format!("5 SHUTDOWN {{\"guest\": false, \"reason\": \"host-qmp-quit\"}}\n5.1 detached\n{REFUSED}10 attached running 7.2.22 kvm#8"),
            &["why-ended host-qmp-quit 1.1,1.2"],
            "running found-running",
        ),
        (
            "the record follows when the next epoch is open",
            format!("{DOWN}6 attached running 7.2.22 kvm#7\n{REFUSED}"),
            &[],
            "running found-running",
        ),
        (
            "a job ran, and its process is gone",
            format!("{JOB}{DOWN}{NO_PROCESS}10 attached running 7.2.22 kvm#8"),
            &["why-ended unknown 1.0,1.3", "job interrupted 1.1,1.2,1.3"],
            "running found-running",
        ),
        (
            "a job ran, and another process is there",
            format!("{JOB}{DOWN}9 attached running 7.2.22 kvm#8"),
            &[
                "state-changed-unseen - 1.2,2.0",
                "why-ended unknown 1.0,1.2,2.0",
                "job interrupted 1.1,1.2,2.0",
            ],
            "running found-running",
        ),
        (
            "a job ran, and another process has one of its name",
            format!("{JOB}{DOWN}9 attached running+j0 7.2.22 kvm#8"),
            &[
                "state-changed-unseen - 1.2,2.0",
                "why-ended unknown 1.0,1.2,2.0",
                "job interrupted 1.1,1.2,2.0",
            ],
            "running found-running",
        ),
    ];
    for (name, story, expected, state) in cases {
        let story = format!("0 attached running 7.2.22 kvm#7\n{story}\n99 passes");
        assert_eq!(found(&story), expected, "{name}");
        assert_eq!(final_state(&story), state, "{name}");
    }
}

#[test]
fn unseen_end_names_the_state_before() {
    let summary = |middle: &str, end: &str| {
        let steps = story(&format!("0 attached running 7.2.22 kvm#7\n{middle}{DOWN}{end}"));
        let found = findings(&steps);
        oracle::judge(&found, &steps).expect("every conclusion has its evidence");
        let ended = found.iter().find(|finding| finding.kind == "why-ended").expect("why it ended");
        let member = |name: &str| ended.data.get(name).and_then(Value::as_str).unwrap_or("-").to_owned();
        let members = ["cause_before", "ended_by", "run_state_before", "ended_after", "ended_before"];
        format!("{}\n  {}\n", ended.summary, members.map(member).join(" "))
    };
    insta::assert_snapshot!([
        summary("", NO_PROCESS),
        summary("", "9 attached running 7.2.22 kvm#8"),
        summary("", "9 gone {\"evidence\": \"host-restarted\"}"),
        summary(PANIC, REFUSED),
        summary(HIBERNATED, REFUSED),
    ].concat(), @"
    QEMU ended while nothing was recorded (4.0 s), and it is not known how: its process 7 does not exist any more.
      - unknown running 2026-01-02T03:04:10.000000Z 2026-01-02T03:04:14.000000Z
    QEMU ended while nothing was recorded (4.0 s), and it is not known how: process 7 was at its monitor, and process 8 is.
      - unknown running 2026-01-02T03:04:10.000000Z 2026-01-02T03:04:14.000000Z
    QEMU ended while nothing was recorded (4.0 s), and it is not known how: its host was started again since.
      - unknown running 2026-01-02T03:04:10.000000Z 2026-01-02T03:04:14.000000Z
    The guest panicked and was left running; QEMU ended while nothing was recorded (4.0 s), and it is not known how: nothing listens at its monitor.
      guest-panic unknown running 2026-01-02T03:04:10.000000Z 2026-01-02T03:04:14.000000Z
    The guest hibernated to its disk (ACPI S4); QEMU ended while nothing was recorded (4.0 s), and it is not known how: nothing listens at its monitor.
      guest-hibernate unknown shutdown 2026-01-02T03:04:10.000000Z 2026-01-02T03:04:14.000000Z
    ");
    let steps = story(&format!("0 attached running 7.2.22 kvm#7\n{DOWN}9 attached running 7.2.22 kvm#8"));
    insta::assert_snapshot!(findings(&steps)[0].summary, @"Unseen between two epochs, this changed: QEMU was process 7 and is process 8.");
}

#[test]
fn late_exit_status_corrects_the_explanation() {
    let attached = "0 attached running 7.2.22 qemu-system-x86#7";
    let quit = r#"1 SHUTDOWN {"guest": false, "reason": "host-qmp-quit"}"#;
    //  name, events, exit status, findings, cause in the end
    let cases: [(&str, &str, &str, &[&str], &str); 4] = [
        (
            "killed",
            "",
            r#"{"pid": 7, "signal": 9}"#,
            &["why-ended gone 1.1", "why-ended killed 1.1,1.2"],
            "gone killed",
        ),
        (
            "crashed",
            "",
            r#"{"pid": 7, "signal": 11}"#,
            &["why-ended gone 1.1", "why-ended crashed 1.1,1.2"],
            "gone crashed",
        ),
        ("another process", "", r#"{"pid": 8, "signal": 9}"#, &["why-ended gone 1.1"], "gone gone"),
        (
            "as announced",
            quit,
            r#"{"pid": 7, "exit_code": 0}"#,
            &["why-ended host-qmp-quit 1.1,1.2"],
            "ended host-qmp-quit",
        ),
    ];
    for (name, events, how, expected, state) in cases {
        let text = format!("{attached}\n{events}\n2 detached\n5 process-ended {how}\n9 passes");
        assert_eq!(found(&text), expected, "{name}");
        assert_eq!(final_state(&text), state, "{name}");
    }
}
