//! Sequels that are received, that are missing, and that are not required.

use super::super::testing::found;

/// The missing sequels in an epoch that begins with a running VM.
fn missing(story: &str) -> Vec<String> {
    let found = found(&format!("0 attached running\n{story}"));
    found.into_iter().filter(|finding| finding.starts_with("sequel-missing")).collect()
}

#[test]
fn announced_sequel_that_is_missing_is_reported() {
    let reset = "RESET {\"guest\": true, \"reason\": \"guest-reset\"}";
    let shutdown = "SHUTDOWN {\"guest\": true, \"reason\": \"guest-reset\"}";
    let guest_off = "SHUTDOWN {\"guest\": true, \"reason\": \"guest-shutdown\"}";
    let io_error = "BLOCK_IO_ERROR {\"device\": \"d\", \"operation\": \"write\", \"action\": \"stop\", \"reason\": \"x\"}";
    let dog = |action: &str| format!("WATCHDOG {{\"action\": \"{action}\"}}");
    let job = |status: &str| format!("JOB_STATUS_CHANGE {{\"id\": \"j\", \"status\": \"{status}\"}}");
    let cases: [(&str, String, usize); 19] = [
        ("watchdog reset, reset", format!("1 {}\n1.1 {reset}\n20 passes", dog("reset")), 0),
        ("watchdog reset, nothing", format!("1 {}\n20 passes", dog("reset")), 1),
        ("watchdog reset, nothing, not yet late", format!("1 {}\n10.9 passes", dog("reset")), 0),
        // `-no-reboot`, which the hub cannot know.
        (
            "watchdog reset, shutdown",
            format!("1 {}\n1.1 {shutdown}\n1.2 detached\n500 passes", dog("reset")),
            0,
        ),
        (
            "watchdog reset by the host's reset",
            format!(
                "1 {}\n1.1 RESET {{\"guest\": false, \"reason\": \"host-qmp-system-reset\"}}\n20 passes",
                dog("reset")
            ),
            1,
        ),
        ("held back until after its reset", format!("1 {reset}\n1.9@0.999 {}\n20 passes", dog("reset")), 0),
        ("watchdog shutdown, nothing", format!("1 {}\n20 passes", dog("shutdown")), 1),
        ("watchdog shutdown, button", format!("1 {}\n1.1 POWERDOWN\n20 passes", dog("shutdown")), 0),
        ("watchdog none", format!("1 {}\n20 passes", dog("none")), 0),
        ("watchdog poweroff, and it stays", format!("1 {}\n130 passes", dog("poweroff")), 1),
        ("guest off, and neither stop nor end", format!("1 {guest_off}\n130 passes"), 1),
        ("guest off, stop (-no-shutdown)", format!("1 {guest_off}\n1.1 STOP\n130 passes"), 0),
        ("guest off, end", format!("1 {guest_off}\n100 detached"), 0),
        ("the epoch ends first", format!("1 {}\n5 detached hub stopped\n130 passes", dog("reset")), 0),
        ("I/O error, stop", format!("1 {io_error}\n1.001 STOP\n20 passes"), 0),
        ("I/O error, no stop", format!("1 {io_error}\n20 passes"), 1),
        (
            "two I/O errors, one stop",
            format!("1 {io_error}\n1.001 {io_error}\n1.002 STOP\n1.003 {io_error}\n20 passes"),
            0,
        ),
        (
            "a job's end, of another job",
            format!(
                "1 {}\n2 JOB_STATUS_CHANGE {{\"id\": \"k\", \"status\": \"concluded\"}}\n90 passes",
                job("aborting")
            ),
            1,
        ),
        ("a job's end", format!("1 {}\n50 {}\n90 passes", job("aborting"), job("concluded")), 0),
    ];
    for (name, story, expected) in cases {
        assert_eq!(missing(&story).len(), expected, "{name}: {:?}", missing(&story));
    }
}

#[test]
fn summary_names_the_missing_sequels() {
    let steps = super::super::testing::story(
        "0 attached running\n1 WATCHDOG {\"action\": \"reset\"}\n2 GUEST_PANICKED {\"action\": \"pause\"}\n2.5 JOB_STATUS_CHANGE {\"id\": \"j\", \"status\": \"aborting\"}\n3 SHUTDOWN {\"guest\": false, \"reason\": \"host-signal\"}\n500 passes",
    );
    let found = super::super::testing::findings(&steps);
    let summaries: Vec<&str> = found
        .iter()
        .filter(|finding| finding.kind == "sequel-missing")
        .map(|finding| finding.summary.as_str())
        .collect();
    insta::assert_snapshot!(summaries.join("\n"), @"
    WATCHDOG announced SHUTDOWN guest-reset or RESET guest-reset, which did not come within 10 s.
    GUEST_PANICKED announced STOP, which did not come within 10 s.
    JOB_STATUS_CHANGE of j announced JOB_STATUS_CHANGE concluded, which did not come within 60 s.
    SHUTDOWN announced the end of QEMU, which did not come within 2 min.
    ");
}
