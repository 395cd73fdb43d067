//! `qmp check` on captures and monitors, and `qmp events`.

mod support;

use std::io::Write as _;
use std::process::Stdio;

use qmp_testing::{GREETING, MonitorThread, respond};
use serde_json::Value;
use support::{Process, RunResult, directory, event, line_with, run, run_with_input};

fn check(capture: &str, arguments: &[&str]) -> RunResult {
    let home = directory();
    run_with_input(home.path(), &[&["check", "-"], arguments].concat(), capture)
}

#[test]
fn valid_capture_passes() {
    let shutdown = event("SHUTDOWN", Some("{\"guest\": false, \"reason\": \"host-qmp-quit\"}"));
    let capture =
        format!("{GREETING}\r\n\r\n{{\"return\": {{}}}}\r\n{}\r\n{shutdown}\r\n", event("STOP", None));
    let ran = check(&capture, &[]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), ""), "{ran:?}");
    assert_eq!(ran.stderr, "2 events checked: no violation\n");
}

#[test]
fn each_violation_is_a_line() {
    let capture = format!(
        "{GREETING}\n{}\n{}\n{}\n",
        event("SHUTDOWN", Some("{\"guest\": 1}")),
        event("STOP", None),
        event("NO_SUCH_EVENT", None),
    );
    let ran = check(&capture, &[]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(lines.len(), 3, "{ran:?}");
    assert!(lines.iter().any(|line| line.starts_with("line 2: SHUTDOWN guest: ")), "{ran:?}");
    assert!(lines.iter().any(|line| line.starts_with("line 2: SHUTDOWN reason: ")), "{ran:?}");
    assert!(lines.contains(&"line 4: NO_SUCH_EVENT: unknown event"), "{ran:?}");
    assert_eq!(ran.stderr, "3 events checked: 3 violations\n");

    let json = check(&capture, &["--json"]);
    let unknown: Value = serde_json::from_str(json.stdout.lines().last().unwrap()).unwrap();
    assert_eq!(unknown["event"], "NO_SUCH_EVENT");
    assert_eq!(unknown["path"], "");
    assert_eq!(unknown["problem"], "unknown event");
    assert_eq!(unknown["release"], "7.2.22");
}

#[test]
fn capture_without_greeting_needs_a_release() {
    let reset = event("RESET", None);
    let missing = check(&reset, &[]);
    assert_eq!(missing.code, Some(2), "{missing:?}");
    assert!(missing.stderr.contains("--release"), "{missing:?}");
    // RESET has data since 2.10.
    assert_eq!(check(&reset, &["--release", "2.9"]).code, Some(0));
    assert_eq!(check(&reset, &["--release", "2.10"]).code, Some(1));
    // The greeting overrides the option.
    assert_eq!(check(&format!("{GREETING}\n{reset}"), &["--release", "2.9"]).code, Some(1));
}

#[test]
fn truncated_capture_is_reported_with_its_position() {
    let good = format!("{GREETING}\n");
    let ran = check(&format!("{good}{{\"event\": \"STOP\""), &[]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let end = good.len() + "{\"event\": \"STOP\"".len();
    assert!(ran.stderr.contains(&format!("at byte {end} (line 2)")), "{ran:?}");
    assert!(ran.stderr.contains(&format!("begins at byte {}", good.len())), "{ran:?}");
}

/// The capture is a pipe, so that the program still runs when its memory is read.
#[test]
fn memory_does_not_grow_with_the_capture() {
    let home = directory();
    let mut child = support::qmp(home.path(), ["check", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut pipe = child.stdin.take().unwrap();
    writeln!(pipe, "{GREETING}").unwrap();
    let events = (event("STOP", None) + "\r\n").repeat(1_000);
    let mut held_kib = |rounds: usize| {
        (0..rounds).for_each(|_| pipe.write_all(events.as_bytes()).unwrap());
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<usize>().unwrap()
    };
    let (few, many) = (held_kib(5), held_kib(100));
    assert!(
        many < few + events.len() * 25 / 1024,
        "{few} KiB, and {many} KiB after {} bytes",
        100 * events.len()
    );
    drop(pipe);
    let ran = child.wait_with_output().unwrap();
    let summary = String::from_utf8_lossy(&ran.stderr);
    assert!(summary.starts_with("105000 events checked: no violation"), "{summary}");
}

#[test]
fn records_of_a_journal_can_be_checked() {
    let snapshot = format!("{{\"address\": \"unix:/x\", \"greeting\": {GREETING}}}");
    let world = support::World::start();
    assert_eq!(world.run(&["exec", "web1", "say", "data={\"id\": \"a\"}"]).code, Some(0));
    let log = world.run(&["log", "--json"]);
    assert!(log.stdout.contains("VSERPORT_CHANGE"), "{log:?} {snapshot}");
    let ran = run_with_input(world.home.path(), &["check", "-"], &log.stdout);
    assert_eq!(ran.code, Some(1), "`open` is missing: {ran:?}");
    assert!(ran.stdout.contains("web1: VSERPORT_CHANGE open: "), "{ran:?}");
}

/// The example of the help: the output of `qmp tail`, from a monitor with which the program negotiated.
#[test]
fn records_of_tail_at_a_monitor_can_be_checked() {
    let home = directory();
    let help = run(home.path(), &["check", "--help"]);
    assert!(
        help.stdout.contains("qmp tail /run/web1.sock --json | tee web1.jsonl; qmp check web1.jsonl"),
        "{help:?}"
    );
    let vm = MonitorThread::start_with(home.path().join("web1.sock"), |command, request| match command {
        // An event without a command, as soon as the client has negotiated.
        "query-status" => [vec![event("STOP", None)], respond(command, request)].concat(),
        _ => respond(command, request),
    });
    let tail = Process::start(home.path(), &["tail", vm.path.to_str().unwrap(), "--json"]);
    let lines =
        [line_with(&tail.stdout, "\"kind\":\"attached\""), line_with(&tail.stdout, "\"event\":\"STOP\"")];
    assert_eq!(tail.interrupt(), Some(0));
    let ran = check(&format!("{}\n", lines.join("\n")), &[]);
    assert_eq!((ran.code, &*ran.stderr), (Some(0), "1 event checked: no violation\n"), "{ran:?}");
}

#[test]
fn live_monitor_is_compared_in_both_directions() {
    let home = directory();
    let release = "7.2".parse().unwrap();
    let sound = qmp_events::introspection::schema_json(release);
    let with_extra = sound.replacen("\"STOP\"", "\"STOPPED\"", 1);
    for (name, schema, code, parts) in
        [("sound", sound, 0, vec![]), ("renamed", with_extra, 1, vec!["STOP: missing", "STOPPED: not known"])]
    {
        let reply = format!("{{\"return\": {schema}}}");
        let vm =
            MonitorThread::start_with(home.path().join(format!("{name}.sock")), move |command, request| {
                if command == "query-qmp-schema" { vec![reply.clone()] } else { respond(command, request) }
            });
        let ran = run(home.path(), &["check", vm.path.to_str().unwrap()]);
        assert_eq!(ran.code, Some(code), "{name}: {ran:?}");
        for part in parts {
            assert!(ran.stdout.contains(part), "{part}: {ran:?}");
        }
    }
}

#[test]
fn events_are_listed_as_text_and_json() {
    let home = directory();
    let list: Vec<Value> = serde_json::from_str(&run(home.path(), &["events", "--json"]).stdout).unwrap();
    assert_eq!(list.len(), qmp_events::catalogue().len());
    for event in &list {
        for key in [
            "name",
            "module",
            "since",
            "removed",
            "deprecated",
            "unstable",
            "members",
            "throttle",
            "sequels",
            "example",
        ] {
            assert!(event.get(key).is_some(), "{key} of {event}");
        }
    }
    let old: Vec<Value> =
        serde_json::from_str(&run(home.path(), &["events", "--json", "--release", "0.12"]).stdout).unwrap();
    let names: Vec<&str> = old.iter().filter_map(|event| event["name"].as_str()).collect();
    assert_eq!(names, ["DEBUG", "POWERDOWN", "RESET", "SHUTDOWN", "STOP"]);
    let one: Value = serde_json::from_str(&run(home.path(), &["events", "STOP", "--json"]).stdout).unwrap();
    assert_eq!(one["name"], "STOP");
    let page = run(home.path(), &["events", "WATCHDOG"]);
    assert!(page.stdout.contains("What changed when"), "{page:?}");
}
