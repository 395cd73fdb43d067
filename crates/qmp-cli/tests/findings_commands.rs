//! `status`, `why`, and findings in `log`.

mod support;

use std::path::Path;

use qmp_testing::{MonitorThread, wait_for};
use serde_json::Value;
use support::{Process, RunResult, directory, run, start_hub_with};

/// A hub with a VM that was stopped, resumed, and ended by `quit`, and the finding about its end.
fn ended(home: &Path) -> Process {
    let vm = MonitorThread::start(home.join("web1.sock"));
    let hub = start_hub_with(home, &vm.address(), &[]);
    for command in ["stop", "cont", "quit"] {
        assert_eq!(run(home, &["exec", "web1", command]).code, Some(0), "{command}");
    }
    let waited = run(home, &["log", "--kind", "detached", "-n", "1", "--json"]);
    assert_eq!(waited.code, Some(0), "{waited:?}");
    until(home, &["log", "--kind", "finding", "--where", "finding=why-ended"]);
    hub
}

/// Runs the command until it prints something.
fn until(home: &Path, arguments: &[&str]) -> RunResult {
    wait_for(&format!("output of {arguments:?}"), || {
        Some(run(home, arguments)).filter(|ran| !ran.stdout.is_empty())
    })
}

fn json(ran: &RunResult) -> Value {
    serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
}

#[test]
fn why_gives_the_same_answer_from_hub_and_file() {
    let home = directory();
    let hub = ended(home.path());
    let journal = home.path().join("journal.db");
    let through_hub = run(home.path(), &["why", "web1"]);
    let of_file = run(home.path(), &["why", "web1", "--journal", journal.to_str().expect("a path")]);
    assert_eq!(through_hub.code, Some(0), "{through_hub:?}");
    assert_eq!(through_hub.stdout, of_file.stdout);
    let answer = json(&through_hub);
    assert_eq!((&answer["run_state"], &answer["why"]["cause"]), (&"ended".into(), &"host-qmp-quit".into()));
    // The client of the command: the program that ran `qmp exec`.
    let client =
        answer["why"]["details"]["client"].as_str().or(answer["why"]["client"].as_str()).expect("a client");
    let uid = rustix::process::getuid().as_raw();
    let socket = home.path().join("hub.sock");
    assert!(client.starts_with(&format!("uid {uid} pid ")), "{client}");
    assert!(client.ends_with(&format!(" (qmp) at {}", socket.display())), "{client}");
    assert!(answer["why"]["summary"].as_str().is_some_and(|summary| summary.contains(client)), "{answer}");
    let mut events: Vec<&str> = answer["evidence"]
        .as_array()
        .expect("evidence")
        .iter()
        .map(|record| record["event"].as_str().or(record["kind"].as_str()).expect("a record"))
        .collect();
    // The record of the command is written with its reply, which may be after the monitor closed.
    events.sort_unstable();
    assert_eq!(events, ["SHUTDOWN", "detached", "finding"]);

    // The same without the hub; and the answer for an earlier time.
    assert_eq!(hub.interrupt(), Some(0));
    assert_eq!(run(home.path(), &["why", "web1"]).stdout, of_file.stdout);
    let log = run(home.path(), &["log", "--event", "RESUME"]);
    let resumed = json(&log)["received"].as_str().expect("a time").to_owned();
    let then = json(&run(home.path(), &["why", "web1", "--at", &resumed]));
    assert_eq!((&then["run_state"], &then["why"]["cause"]), (&"running".into(), &"resume".into()), "{then}");
    let first = json(&run(home.path(), &["why", "web1", "--epoch", "1"]));
    assert_eq!(first["why"]["cause"], "host-qmp-quit");
}

#[test]
fn status_shows_the_state_of_vms() {
    let home = directory();
    let _hub = ended(home.path());
    let all = json(&run(home.path(), &["status"]));
    let one = json(&run(home.path(), &["status", "web1"]));
    for vm in [&all, &one] {
        assert_eq!(
            (&vm["vm"], &vm["run_state"], &vm["epoch"]),
            (&"web1".into(), &"ended".into(), &1.into()),
            "{vm}"
        );
        assert_eq!(vm["why"]["cause"], "host-qmp-quit", "{vm}");
    }
    assert_eq!(one["last_events"].as_array().map(Vec::len), Some(3), "{one}");
}

#[test]
fn invalid_arguments_of_why_and_status_are_reported() {
    let home = directory();
    let _hub = ended(home.path());
    let cases: [(&[&str], i32, &str); 7] = [
        (&["why", "web2"], 4, "the journal has no record of web2"),
        (&["why", "web*"], 2, "web* is a pattern"),
        (&["why", "web1", "--epoch", "7"], 1, "web1 has no epoch 7"),
        (&["why", "web1", "--at", "2001-01-01"], 1, "nothing is known of web1 that early"),
        (&["why", "web1", "--at", "41"], 2, "expected a time, found an offset"),
        (&["why", "web1", "--at", "1h", "--epoch", "1"], 2, "cannot be used with"),
        (&["status", "web2"], 4, "no VM \"web2\" here"),
    ];
    for (arguments, code, expected) in cases {
        let ran = run(home.path(), arguments);
        assert_eq!(ran.code, Some(code), "{arguments:?} {ran:?}");
        assert!(ran.stderr.contains(expected), "{arguments:?} {ran:?}");
    }
}

/// A run state that only an answer names is reported, and is not a change of the VM when the hub restarts.
#[test]
fn internal_error_from_an_answer_is_not_an_unseen_change() {
    let home = directory();
    let address = home.path().join("web1.sock").display().to_string();
    let vm = Process::start(home.path(), &["emulate", "--listen", &address]);
    vm.wait_for("Ctrl-C ends the machine");
    let hub = start_hub_with(home.path(), &address, &[]);
    assert_eq!(run(home.path(), &["exec", &address, "x-guest-internal-error"]).code, Some(0));
    let found = until(home.path(), &["log", "--kind", "finding", "--where", "finding=why-paused", "--json"]);
    let found = json(&found);
    let data = ["cause", "by", "run_state"].map(|member| found["data"][member].clone());
    assert_eq!(data, ["internal-error", "qemu", "internal-error"].map(Value::from), "{found}");
    let status = json(&run(home.path(), &["status", "web1"]));
    assert_eq!(
        (&status["run_state"], &status["why"]["by"]),
        (&"internal-error".into(), &"qemu".into()),
        "{status}"
    );

    assert_eq!(hub.interrupt(), Some(0));
    let hub = start_hub_with(home.path(), &address, &[]);
    until(home.path(), &["log", "--kind", "attached", "--where", "query-status.status=internal-error"]);
    assert_eq!(hub.interrupt(), Some(0), "all findings are recorded");
    let unseen = run(home.path(), &["log", "--where", "finding=state-changed-unseen"]);
    assert_eq!(unseen.stdout, "", "the VM did not change");
}
