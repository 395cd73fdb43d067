//! The state of a VM × the event that ends or resets it: each pair has its cause, by the table of `docs/findings.md`.

use serde_json::Value;

use super::super::testing::{findings, story};
use super::super::why::run_state_names;
use super::oracle;

/// A state by its name in the table, and events that lead there from `running`. Lines without a time follow one
/// another.
pub(super) const STATES: [(&str, &str); 28] = [
    ("`running`", "RESUME"),
    ("`running`, its guest panicked", "GUEST_PANICKED {\"action\": \"run\"}"),
    ("`running`, its guest panicked", "GUEST_CRASHLOADED {\"action\": \"run\"}"),
    ("`paused`", "STOP\nanswers paused"),
    ("`paused`", "STOP\ncommand {\"execute\": \"stop\", \"client\": \"shell\"}"),
    ("stopped, in a state that is not known", "STOP"),
    ("`prelaunch`", "STOP\nanswers paused\nRESET {\"guest\": false, \"reason\": \"host-qmp-system-reset\"}"),
    ("`debug`", "STOP\nanswers debug"),
    ("`finish-migrate`", "STOP\nanswers finish-migrate"),
    ("`save-vm`", "STOP\nanswers save-vm"),
    ("`restore-vm`", "STOP\nanswers restore-vm"),
    ("`colo`", "STOP\nanswers colo"),
    ("`suspended`", "SUSPEND"),
    ("`shutdown`, by the guest", "SHUTDOWN {\"guest\": true, \"reason\": \"guest-shutdown\"}\nSTOP"),
    (
        "`shutdown`, the guest hibernated",
        "SUSPEND_DISK\nSHUTDOWN {\"guest\": true, \"reason\": \"guest-shutdown\"}\nSTOP",
    ),
    ("`shutdown`, by a reset of the guest", "SHUTDOWN {\"guest\": true, \"reason\": \"guest-reset\"}\nSTOP"),
    (
        "`shutdown`, by a panic",
        "GUEST_PANICKED {\"action\": \"poweroff\"}\nSHUTDOWN {\"guest\": true, \"reason\": \"guest-panic\"}\nSTOP",
    ),
    ("`shutdown`, by the window", "SHUTDOWN {\"guest\": false, \"reason\": \"host-ui\"}\nSTOP"),
    ("`shutdown`, it is not known why", "STOP\nanswers shutdown"),
    ("`guest-panicked`", "GUEST_PANICKED {\"action\": \"pause\"}\nSTOP"),
    ("`guest-panicked`", "STOP\nanswers guest-panicked"),
    ("`watchdog`", "WATCHDOG {\"action\": \"pause\"}\nSTOP"),
    ("`watchdog`", "STOP\nanswers watchdog"),
    (
        "`io-error`",
        "BLOCK_IO_ERROR {\"device\": \"d\", \"operation\": \"read\", \"action\": \"stop\", \"reason\": \"x\"}\nSTOP",
    ),
    ("`io-error`", "STOP\nanswers io-error"),
    ("`internal-error`", "STOP\nanswers internal-error"),
    ("`postmigrate`", "STOP\nanswers postmigrate"),
    ("`postmigrate`", "MIGRATION {\"status\": \"active\"}\nSTOP\nMIGRATION {\"status\": \"completed\"}"),
];

/// Events that end or reset a VM, with the cause that they are by themselves (`ended_by`), and whether the guest does
/// it.
pub(super) const ENDINGS: [(&str, &str, bool); 19] = [
    ("host-qmp-quit", "SHUTDOWN {\"guest\": false, \"reason\": \"host-qmp-quit\"}\ndetached", false),
    (
        "host-qmp-quit",
        "SHUTDOWN {\"guest\": false, \"reason\": \"host-qmp-quit\"}\ncommand {\"execute\": \"quit\", \"client\": \"shell\"}\ndetached",
        false,
    ),
    (
        "host-signal",
        "SHUTDOWN {\"guest\": false, \"reason\": \"host-signal\"}\ndetached\nprocess-ended {\"exit_code\": 0}",
        false,
    ),
    ("host-ui", "SHUTDOWN {\"guest\": false, \"reason\": \"host-ui\"}\ndetached", false),
    ("host-error", "SHUTDOWN {\"guest\": false, \"reason\": \"host-error\"}\ndetached", false),
    (
        "host-qmp-system-reset",
        "SHUTDOWN {\"guest\": false, \"reason\": \"host-qmp-system-reset\"}\ndetached",
        false,
    ),
    (
        "memory-failure",
        "MEMORY_FAILURE {\"recipient\": \"hypervisor\", \"action\": \"fatal\"}\ndetached",
        false,
    ),
    ("gone", "detached", false),
    ("killed", "detached\nprocess-ended {\"signal\": 9}", false),
    ("crashed", "detached\nprocess-ended {\"signal\": 11}", false),
    ("exited", "detached\nprocess-ended {\"exit_code\": 1}", false),
    ("guest-shutdown", "SHUTDOWN {\"guest\": true, \"reason\": \"guest-shutdown\"}\ndetached", true),
    (
        "guest-hibernate",
        "SUSPEND_DISK\nSHUTDOWN {\"guest\": true, \"reason\": \"guest-shutdown\"}\ndetached",
        true,
    ),
    ("guest-reset", "SHUTDOWN {\"guest\": true, \"reason\": \"guest-reset\"}\ndetached", true),
    ("guest-panic", "SHUTDOWN {\"guest\": true, \"reason\": \"guest-panic\"}\ndetached", true),
    ("watchdog", "WATCHDOG {\"action\": \"poweroff\"}\ndetached", true),
    ("guest-reset", "RESET {\"guest\": true, \"reason\": \"guest-reset\"}", true),
    (
        "watchdog",
        "WATCHDOG {\"action\": \"reset\"}\nRESET {\"guest\": true, \"reason\": \"guest-reset\"}",
        true,
    ),
    ("host-qmp-system-reset", "RESET {\"guest\": false, \"reason\": \"host-qmp-system-reset\"}", false),
];

/// The cell for an end that is its own cause.
const ITSELF: &str = "that";

/// The rows of the table: state, cause if the guest ends or resets it, cause otherwise.
fn table() -> Vec<[&'static str; 3]> {
    let page = include_str!("../../../../docs/findings.md");
    let begin = page.find("| state before |").expect("the table of states and endings");
    let rows = page[begin..].lines().skip(2).take_while(|line| line.starts_with('|'));
    rows.map(|row| {
        let mut cells = row.trim_matches('|').split(" | ").map(|cell| cell.trim());
        [(); 3].map(|()| cells.next().expect("three cells"))
    })
    .collect()
}

/// `lines` from `at` on, a millisecond apart.
fn timed(at: u64, lines: &str) -> String {
    (0..).zip(lines.lines()).map(|(index, line)| format!("{at}.{index:03} {line}\n")).collect()
}

#[test]
fn state_and_ending_have_their_cause() {
    let table = table();
    for (state, begin) in STATES {
        let row =
            table.iter().find(|row| row[0] == state).unwrap_or_else(|| panic!("{state} is not in the table"));
        for (ended_by, end, by_guest) in ENDINGS {
            let text =
                format!("0 attached running 7.2.22 kvm\n{}{}999 passes", timed(100, begin), timed(200, end));
            let steps = story(&text);
            let found = findings(&steps);
            let kind = if end.contains("detached") { "why-ended" } else { "why-reset" };
            let last = found.iter().rev().find(|finding| finding.kind == kind).expect("a finding");
            let cell = row[if by_guest { 1 } else { 2 }];
            let cause = if cell == ITSELF { ended_by } else { cell.trim_matches('`') };
            let members = ["cause", "ended_by"].map(|member| last.data.get(member).and_then(Value::as_str));
            assert_eq!(members, [Some(cause), Some(ended_by)], "{text}{}", last.summary);
            let name = state.split('`').nth(1);
            let before = last.data.get("run_state_before").and_then(Value::as_str);
            assert_eq!(before, name, "{text}");
            oracle::judge(&found, &steps).expect("every conclusion has its evidence");
        }
    }
}

#[test]
fn state_at_begin_of_epoch_is_the_cause_like_a_later_one() {
    let table = table();
    for state in run_state_names() {
        let name = format!("`{state}`");
        let row = table.iter().find(|row| row[0] == name || row[0] == format!("{name}, it is not known why"));
        let row = row.unwrap_or_else(|| panic!("{state} is not in the table"));
        for (ended_by, end, by_guest) in ENDINGS {
            let text = format!("0 attached {state} 7.2.22 kvm\n{}999 passes", timed(200, end));
            let found = findings(&story(&text));
            let last =
                found.iter().rev().find(|finding| finding.kind.starts_with("why-")).expect("a finding");
            let cell = row[if by_guest { 1 } else { 2 }];
            let cause = if cell == ITSELF { ended_by } else { cell.trim_matches('`') };
            assert_eq!(last.data["cause"], cause, "{text}{}", last.summary);
            assert_eq!(last.data["run_state_before"], state, "{text}");
            assert!(
                cell == ITSELF
                    || by_guest
                    || last.causes.contains(&Default::default())
                    || last.causes[0].1.0 == 0
            );
        }
    }
}

#[test]
fn table_has_no_row_without_a_story() {
    for row in table() {
        let has_story = STATES.iter().any(|(state, _)| *state == row[0]);
        let is_found = run_state_names().any(|state| row[0] == format!("`{state}`"));
        assert!(has_story || is_found, "{}", row[0]);
    }
}

#[test]
fn summary_names_the_state_and_the_end() {
    let state = |begin: &str| format!("0 attached running 7.2.22 kvm\n{}", timed(100, begin));
    let shutdown = state("SHUTDOWN {\"guest\": true, \"reason\": \"guest-shutdown\"}\nSTOP");
    let panicked = state("GUEST_PANICKED {\"action\": \"pause\"}\nSTOP");
    let stories = [
        (shutdown.clone(), 2),
        (shutdown.clone(), 7),
        (shutdown, 8),
        (panicked.clone(), 1),
        (panicked, 18),
        (state("GUEST_CRASHLOADED {\"action\": \"run\"}"), 16),
        (state("SUSPEND"), 9),
        (state("STOP\nanswers postmigrate"), 0),
        (state("STOP\nanswers internal-error"), 10),
        ("0 attached guest-panicked\n".to_owned(), 2),
    ];
    let summary = |(begin, end): (String, usize)| {
        let text = format!("{begin}{}999 passes", timed(103, ENDINGS[end].1));
        findings(&story(&text)).last().expect("a finding").summary.clone() + "\n"
    };
    insta::assert_snapshot!(stories.map(summary).concat(), @"
    The guest shut itself down; QEMU, which had stayed with the VM stopped, was ended by a signal (SIGTERM, SIGINT or SIGHUP) 2.9 s later.
    The guest shut itself down; the monitor of QEMU, which had stayed with the VM stopped, closed, and no event said why, 2.9 s later.
    The guest shut itself down; QEMU, which had stayed with the VM stopped, was killed by SIGKILL 2.9 s later.
    The guest panicked; QEMU, which had stayed with the VM stopped, was ended by `quit`, from shell, 2.9 s later.
    The guest panicked; it was reset by `system_reset` 2.9 s later.
    The guest panicked and started its crash kernel; the guest rebooted 3.0 s later.
    The guest went to sleep with its memory powered (ACPI S3); QEMU crashed, by SIGSEGV, 3.0 s later.
    It was migrated away, as QEMU answered; QEMU, which had stayed, was ended by `quit` 3.0 s later.
    An error in QEMU or KVM stopped it, as QEMU answered; QEMU, which had stayed with the VM stopped, exited with status 1, and no event said why, 3.0 s later.
    Its guest had panicked before this epoch began; QEMU, which had stayed with the VM stopped, was ended by a signal (SIGTERM, SIGINT or SIGHUP).
    ");
}
