//! Rules: on states of VMs, and what their commands get.

use std::fs;
use std::path::Path;

use qmp_testing::wait_for;
use serde_json::Value;

use crate::machine::{exec, hub, json, lines, machine};
use crate::support::pty::OnTerminal;
use crate::support::{directory, qmp};

/// Waits until so many records were delivered. A delivery right before a kill of the hub is repeated.
fn delivered(path: &Path, count: usize) -> Vec<Value> {
    wait_for(&format!("{count} records in {}", path.display()), || {
        let mut records = lines(path, count);
        records.dedup_by(|later, earlier| later["offset"] == earlier["offset"]);
        (records.len() >= count).then_some(records)
    })
}

#[test]
fn rule_on_a_state_fires_once_and_once_more_when_it_is_over() {
    let home = directory();
    let (_machine, address) = machine(home.path(), "web1");
    let log = home.path().join("alerts.jsonl");
    let rule = format!(
        "[[rule]]\nname = 'stopped'\nstate = ['paused', 'io-error']\nfor = '1s'\nfile = '{}'\n",
        log.display()
    );
    let killed = hub(home.path(), &address, &rule);
    exec(home.path(), "stop");
    let alert = &lines(&log, 1)[0];
    assert_eq!((&alert["finding"], &alert["data"]["state"]), (&"alert".into(), &"paused".into()), "{alert}");
    let raised = || shown(home.path(), &["status"]).lines().filter(|line| line.starts_with("alert ")).count();
    let listed = shown(home.path(), &["status", "web1"]);
    let line = listed.lines().find(|line| line.starts_with("alert web1: paused since "));
    assert!(line.is_some_and(|line| line.ends_with("(rule stopped)")), "{listed}");

    // A killed hub, and one that is stopped, do not raise it again.
    killed.signal("KILL");
    drop(killed);
    assert_eq!(hub(home.path(), &address, &rule).interrupt(), Some(0));
    let _hub = hub(home.path(), &address, &rule);
    wait_for("the alert in the list", || (raised() == 1).then_some(()));
    exec(home.path(), "cont");
    let found = delivered(&log, 2);
    assert_eq!(raised(), 0);
    assert_eq!(json(home.path(), &["log", "--where", "finding=alert"]).len(), 1, "one record");
    assert_eq!(found[1]["finding"], "resolved");
    assert_eq!(found[1]["data"]["since"], alert["data"]["since"]);
    assert_eq!(found[1]["data"]["run_state"], "running");
    // A short stop raises none: what follows it is the end of the next one.
    exec(home.path(), "stop");
    exec(home.path(), "cont");
    exec(home.path(), "stop");
    assert_eq!(delivered(&log, 3)[2]["finding"], "alert");
    assert_eq!(json(home.path(), &["log", "--where", "finding=alert"]).len(), 2);
}

/// What a command prints on a terminal.
fn shown(home: &Path, arguments: &[&str]) -> String {
    let mut command = qmp(home, arguments);
    OnTerminal::start(command.env("NO_COLOR", "1"), 120).end().1
}

#[test]
fn command_gets_a_summary_of_each_kind_of_record() {
    let home = directory();
    let (_machine, address) = machine(home.path(), "web1");
    let (log, script) = (home.path().join("summaries"), home.path().join("mail"));
    fs::write(&script, format!("#!/bin/sh\necho \"$QMP_KIND: $QMP_SUMMARY\" >> {}\n", log.display()))
        .expect("writes");
    fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("sets");
    let rule = format!("[[rule]]\nname = 'mail'\nrun = ['{}']\n", script.display());
    let _hub = hub(home.path(), &address, &rule);
    exec(home.path(), "stop");
    exec(home.path(), "quit");
    for expected in
        ["attached: attached", "event: STOP", "finding: stop by ", "detached: detached: peer closed"]
    {
        wait_for(expected, || {
            let text = fs::read_to_string(&log).unwrap_or_default();
            text.lines().any(|line| line.starts_with(expected)).then_some(())
        });
    }
}

#[test]
fn rule_that_fails_is_behind_by_the_records_that_it_selects() {
    let home = directory();
    let (_machine, address) = machine(home.path(), "web1");
    // Exit code 75 asks for another attempt.
    let rule = "[[rule]]\nname = 'page'\nevent = 'STOP'\nrun = ['/bin/sh', '-c', 'exit 75']\n";
    let _hub = hub(home.path(), &address, rule);
    for command in ["stop", "cont", "stop", "cont", "stop"] {
        exec(home.path(), command);
    }
    wait_for("three records behind", || {
        let mut status = qmp(home.path(), ["status"]);
        let (_, shown) = OnTerminal::start(status.env("NO_COLOR", "1"), 40).end();
        shown.contains("rule page: retrying").then_some(())?;
        shown.replace('\n', " ").contains("3 records behind").then_some(())
    });
}
