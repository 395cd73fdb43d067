//! Waiting for the end of a VM and for findings of the hub in scripts: `wait --ended`, `wait --finding`, `tail --exit`.

mod support;

use std::path::Path;
use std::time::Duration;

use qmp_testing::{MonitorThread, respond};
use serde_json::Value;
use support::{Process, RunResult, World, directory, event, line_with, other_server, run, start_hub_with};

/// A VM that reports SHUTDOWN at the command `query-shutdown` and continues.
fn fake(home: &Path) -> MonitorThread {
    MonitorThread::start_with(home.join("web1.sock"), |command, request| match command {
        "query-shutdown" => {
            vec![
                event("SHUTDOWN", Some("{\"guest\": true, \"reason\": \"guest-shutdown\"}")),
                "{\"return\": {}}".into(),
            ]
        }
        other => respond(other, request),
    })
}

/// Executes a command; returns the offset before it.
fn since(home: &Path, command: &str) -> String {
    let ran = run(home, &["exec", "web1", command, "--json"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let reply: Value = serde_json::from_str(&ran.stdout).expect("a reply");
    reply["since"].to_string()
}

fn codes(home: &Path, cases: &[(&str, &[&str], i32)]) {
    for (name, arguments, code) in cases {
        let ran = run(home, arguments);
        assert_eq!(ran.code, Some(*code), "{name}: {ran:?}");
    }
}

#[test]
fn tail_exit_ends_at_once_with_4_if_the_vm_is_gone_or_unknown() {
    let home = directory();
    let vm = MonitorThread::start(home.path().join("web1.sock"));
    let never = format!("never=unix:{}", home.path().join("none.sock").display());
    let silent = home.path().join("silent.sock");
    let _silent = other_server(&silent, "");
    let silent = format!("silent=unix:{}", silent.display());
    let _hub = start_hub_with(
        home.path(),
        &vm.address(),
        &["--no-findings", "--attach", &never, "--attach", &silent],
    );
    let gone = run(home.path(), &["tail", "never", "--exit"]);
    assert_eq!(gone.code, Some(4), "{gone:?}");
    assert!(gone.stderr.starts_with("qmp: never is gone: no socket "), "{gone:?}");
    codes(
        home.path(),
        &[
            ("one of several", &["tail", "web1", "never", "--exit"], 4),
            ("unknown to the hub", &["tail", "unknown", "--exit"], 4),
            ("not attached, and not gone", &["tail", "silent", "--exit"], 1),
            ("no socket", &["tail", "/nonexistent/vm.sock", "--exit"], 4),
        ],
    );
    // An attached VM is followed until it ends.
    let mut tail = Process::start(home.path(), &["tail", "web1", "--exit", "--json"]);
    // `tail` shows the events after its connection.
    let is_connected = || {
        since(home.path(), "query-stop");
        let line = tail.stdout.recv_timeout(Duration::from_millis(500));
        line.is_ok_and(|line| line.contains("\"event\":\"STOP\""))
    };
    assert!((0..60).any(|_| is_connected()), "tail shows the STOP");
    since(home.path(), "quit");
    line_with(&tail.stdout, "\"kind\":\"detached\"");
    assert_eq!(tail.end().code(), Some(4));
    codes(home.path(), &[("gone by now", &["tail", "web1", "--exit"], 4)]);
}

#[test]
fn wait_ended_ends_when_qemu_is_gone() {
    let home = directory();
    let vm = fake(home.path());
    let never = format!("never=unix:{}", home.path().join("none.sock").display());
    let _hub = start_hub_with(home.path(), &vm.address(), &["--no-findings", "--attach", &never]);
    let before = since(home.path(), "query-shutdown");
    codes(
        home.path(),
        &[
            ("SHUTDOWN, and still running", &["wait", "web1", "--ended", "--timeout", "300ms"], 3),
            (
                "the same, from the history",
                &["wait", "web1", "--ended", "--since", &before, "--timeout", "300ms"],
                3,
            ),
            ("never started", &["wait", "never", "--ended", "--timeout", "20s"], 0),
            ("unknown to the hub", &["wait", "unknown", "--ended", "--timeout", "20s"], 4),
        ],
    );
    let mut waiting = Process::start(home.path(), &["wait", "web1", "--ended", "--json"]);
    since(home.path(), "quit");
    let line = line_with(&waiting.stdout, "\"kind\":\"detached\"");
    assert!(line.contains("\"reason\":\"peer closed\""), "{line}");
    assert_eq!(waiting.end().code(), Some(0));
    let again = run(home.path(), &["wait", "web1", "--ended", "--timeout", "20s"]);
    assert_eq!(
        (again.code, again.stdout.trim_end()),
        (Some(0), line.as_str()),
        "at once, with the same record"
    );
    let past = run(home.path(), &["wait", "web1", "--ended", "--since", &before, "--timeout", "20s"]);
    assert_eq!((past.code, past.stdout.trim_end()), (Some(0), line.as_str()));
}

#[test]
fn wait_ended_at_a_socket_needs_no_hub() {
    let home = directory();
    let path = home.path().join("vm.sock").to_str().unwrap().to_owned();
    let never = run(home.path(), &["wait", &path, "--ended", "--timeout", "20s"]);
    assert_eq!(never.code, Some(0), "{never:?}");
    assert!(never.stderr.starts_with(&format!("note: no socket {path}: ")), "{never:?}");
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let port = format!("tcp:{port}");
    codes(home.path(), &[("no listener", &["wait", &port, "--ended", "--timeout", "20s"], 0)]);
    let mut machine = Process::start(home.path(), &["emulate", "--listen", &path]);
    machine.wait_for("Ctrl-C ends the machine");
    codes(home.path(), &[("it runs", &["wait", &path, "--ended", "--timeout", "300ms"], 3)]);
    // Whether it attaches before SHUTDOWN is a race, so several rounds are run.
    for round in 0..4 {
        let mut waiting = Process::start(home.path(), &["wait", &path, "--ended", "--timeout", "20s"]);
        assert_eq!(run(home.path(), &["exec", &path, "quit"]).code, Some(0));
        assert_eq!(waiting.end().code(), Some(0), "round {round}");
        assert_eq!(machine.end().code(), Some(0));
        machine = Process::start(home.path(), &["emulate", "--listen", &path]);
        machine.wait_for("Ctrl-C ends the machine");
    }
    assert_eq!(run(home.path(), &["exec", &path, "quit"]).code, Some(0));
    assert_eq!(machine.end().code(), Some(0));
    codes(home.path(), &[("gone, with its socket", &["wait", &path, "--ended", "--timeout", "20s"], 0)]);
    // A killed process leaves the file of its socket.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    codes(home.path(), &[("its socket is left", &["wait", &path, "--ended", "--timeout", "20s"], 0)]);
}

#[test]
fn wait_finding_finds_earlier_and_late_findings() {
    let home = directory();
    let vm = MonitorThread::start(home.path().join("web1.sock"));
    let _hub = start_hub_with(home.path(), &vm.address(), &[]);
    let before = since(home.path(), "query-stop");
    let paused = run(
        home.path(),
        &["wait", "web1", "--finding", "why-paused", "--since", &before, "--timeout", "20s"],
    );
    assert_eq!(paused.code, Some(0), "{paused:?}");
    let record: Value = serde_json::from_str(&paused.stdout).unwrap();
    assert_eq!((&record["kind"], &record["finding"]), (&"finding".into(), &"why-paused".into()));
    let cause = format!("cause={}", record["data"]["cause"].as_str().unwrap());
    codes(
        home.path(),
        &[
            ("its cause", &["wait", "web1", "--finding", "why-*", "--where", &cause, "--since", &before], 0),
            (
                "another cause",
                &[
                    "wait",
                    "web1",
                    "--finding",
                    "why-*",
                    "--where",
                    "cause=none",
                    "--since",
                    &before,
                    "--timeout",
                    "300ms",
                ],
                3,
            ),
            ("another kind", &["wait", "web1", "--finding", "job", "--timeout", "300ms"], 3),
        ],
    );
    // The finding follows the end of the VM.
    let mut waiting = Process::start(home.path(), &["wait", "web1", "--finding", "why-ended", "--json"]);
    since(home.path(), "quit");
    line_with(&waiting.stdout, "\"finding\":\"why-ended\"");
    assert_eq!(waiting.end().code(), Some(0));
    codes(
        home.path(),
        &[
            ("no such finding", &["wait", "web1", "--finding", "job", "--timeout", "20s"], 4),
            ("from the history", &["wait", "web1", "--finding", "why-ended", "--since", &before], 0),
        ],
    );
}

#[test]
fn conflicting_options_are_refused() {
    let world = World::start();
    let cases: [(&[&str], &str); 7] = [
        (&["web1"], "<EVENT"),
        (&["web1", "STOP", "--ended"], "cannot be used with"),
        (&["web1", "STOP", "--finding", "job"], "cannot be used with"),
        (&["web1", "--finding", "job", "--ended"], "cannot be used with"),
        (&["web1", "--ended", "--where", "a=b"], "cannot be used with"),
        (&["web1", "--ended", "--keep-waiting"], "cannot be used with"),
        (&["/run/web1.sock", "--finding", "job"], "--finding needs a journal"),
    ];
    for (arguments, expected) in cases {
        let ran = world.run(&[&["wait"], arguments].concat());
        assert_eq!(ran.code, Some(2), "{ran:?}");
        assert!(ran.stderr.contains(expected), "{expected}: {ran:?}");
    }
    let unknown = world.run(&["wait", "web1", "--finding", "why-endet", "--timeout", "100ms"]);
    assert!(unknown.stderr.contains("did you mean why-ended?"), "{unknown:?}");
}

/// The emulated machine, from the switch to postcopy through the lost connection to the end.
#[test]
fn interrupted_migration_is_reported_at_once() {
    let home = directory();
    let path = home.path().join("web1.sock").to_str().unwrap().to_owned();
    let machine = Process::start(home.path(), &["emulate", "--listen", &path]);
    machine.wait_for("Ctrl-C ends the machine");
    let _hub = start_hub_with(home.path(), &path, &[]);
    let capabilities =
        r#"[{"capability": "events", "state": true}, {"capability": "postcopy-ram", "state": true}]"#;
    let exec = |arguments: &[&str]| -> RunResult {
        let ran = run(home.path(), &[&["exec", "web1"], arguments].concat());
        assert_eq!(ran.code, Some(0), "{arguments:?}: {ran:?}");
        ran
    };
    let start = since(home.path(), "query-status");
    let wait = |arguments: &[&str]| -> Value {
        let ran =
            run(home.path(), &[&["wait", "web1", "--since", &start, "--timeout", "20s"], arguments].concat());
        assert_eq!(ran.code, Some(0), "{arguments:?}: {ran:?}");
        serde_json::from_str(&ran.stdout).unwrap()
    };
    exec(&["migrate-set-capabilities", &format!("capabilities={capabilities}")]);
    exec(&["migrate-set-parameters", "max-bandwidth=4096"]);
    exec(&["migrate", "uri=tcp:192.0.2.1:4444"]);
    wait(&["MIGRATION", "--where", "status=active"]);
    exec(&["migrate-start-postcopy"]);
    wait(&["MIGRATION", "--where", "status=postcopy-active"]);
    exec(&["migrate-pause"]);
    let found = wait(&["--finding", "migration-interrupted"]);
    assert_eq!(
        (&found["data"]["direction"], &found["data"]["status"]),
        (&"outgoing".into(), &"postcopy-paused".into())
    );
    assert!(
        found["summary"].as_str().unwrap().contains("`migrate-recover` with a new `uri` on the destination"),
        "{found}"
    );
    exec(&["migrate", "uri=tcp:192.0.2.1:4445", "resume=true"]);
    wait(&["MIGRATION", "--where", "status=postcopy-recover"]);
    exec(&["x-host-postcopy-done"]);
    let whole = wait(&["--finding", "migration"]);
    assert_eq!(whole["data"]["result"], "completed", "{whole}");
}
