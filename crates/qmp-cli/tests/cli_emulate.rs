//! `emulate`, `replay` and `serve --demo`, without QEMU.

#![allow(clippy::unwrap_used, reason = "a failure is the end of a test")]

mod support;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;
use serde_json::value::RawValue;
use support::{Process, directory, line_with, qmp, run, run_with_input};

/// An emulated machine at `HOME/NAME.sock`, ready for connections.
fn emulate(home: &Path, name: &str, more: &[&str]) -> (Process, String) {
    let path = home.join(format!("{name}.sock")).to_str().unwrap().to_owned();
    let running = Process::start(home, &[&["emulate", "--listen", &path, "--name", name], more].concat());
    running.wait_for("Ctrl-C ends the machine");
    (running, path)
}

#[test]
fn emulated_machine_takes_commands_and_reports_events() {
    let home = directory();
    let (mut machine, path) = emulate(home.path(), "web1", &["--release", "7.2.22"]);
    let tail = Process::start(home.path(), &["tail", &path, "--exit"]);
    let attached = line_with(&tail.stdout, "\"kind\":\"attached\"");
    assert!(attached.contains("\"name\": \"web1\"") && attached.contains("\"minor\": 2"), "{attached}");
    let status = run(home.path(), &["exec", &path, "query-status"]);
    assert_eq!(status.code, Some(0), "{status:?}");
    assert!(status.stdout.contains("running"), "{status:?}");
    let stopped = run(home.path(), &["exec", &path, "stop"]);
    assert_eq!((stopped.code, stopped.stdout.as_str()), (Some(0), "{\"return\":{}}\n"));
    line_with(&tail.stdout, "\"event\":\"STOP\"");
    assert_eq!(run(home.path(), &["exec", &path, "cont"]).code, Some(0));
    assert_eq!(run(home.path(), &["exec", &path, "x-guest-panic"]).code, Some(0));
    for event in ["RESUME", "GUEST_PANICKED", "SHUTDOWN"] {
        line_with(&tail.stdout, &format!("\"event\":\"{event}\""));
    }
    let mut tail = tail;
    assert_eq!(tail.end().code(), Some(4), "the machine has exited, like QEMU");
    assert_eq!(machine.end().code(), Some(0));
    assert!(!Path::new(&path).exists(), "its socket is removed");
}

#[test]
fn emulated_machine_ends_like_qemu() {
    let home = directory();
    let (mut machine, path) = emulate(home.path(), "a", &["-S", "--no-shutdown", "--no-reboot"]);
    let status = run(home.path(), &["exec", &path, "query-status"]);
    assert!(status.stdout.contains("prelaunch"), "{status:?}");
    assert_eq!(run(home.path(), &["exec", &path, "cont"]).code, Some(0));
    assert_eq!(run(home.path(), &["exec", &path, "x-guest-reset"]).code, Some(0));
    let status = run(home.path(), &["exec", &path, "query-status"]);
    assert!(status.stdout.contains("shutdown"), "no reboot, and no exit: {status:?}");
    assert_eq!(run(home.path(), &["exec", &path, "quit"]).code, Some(0));
    assert_eq!(machine.end().code(), Some(0));

    let (mut failing, path) = emulate(home.path(), "b", &[]);
    assert_eq!(run(home.path(), &["exec", &path, "set-action", "panic=exit-failure"]).code, Some(0));
    assert_eq!(run(home.path(), &["exec", &path, "x-guest-panic"]).code, Some(0));
    assert_eq!(failing.end().code(), Some(1));
    failing.wait_for("the machine exited with status 1");

    let (interrupted, path) = emulate(home.path(), "c", &[]);
    assert_eq!(interrupted.interrupt(), Some(0));
    assert!(!Path::new(&path).exists(), "its socket is removed");
}

#[test]
fn script_from_a_file_is_played() {
    let home = directory();
    let script = home.path().join("own.toml");
    std::fs::write(&script, "[[step]]\nevery = '1s'\nsequence = [{ execute = 'stop' }, { execute = 'cont' }]\n[[step]]\nat = '1s'\nexecute = 'system_wakeup'\n").unwrap();
    let (machine, path) =
        emulate(home.path(), "a", &["--script", script.to_str().unwrap(), "--speed", "20", "--seed", "5"]);
    machine.wait_for("line 4: system_wakeup: GenericError: Unable to wake up");
    let seen = run(home.path(), &["wait", &path, "STOP", "--timeout", "20s"]);
    assert_eq!(seen.code, Some(0), "{seen:?}");
    assert_eq!(machine.interrupt(), Some(0));
}

#[test]
fn tail_survives_a_faulty_monitor() {
    let home = directory();
    let (machine, path) = emulate(home.path(), "web1", &["--script", "bad-monitor", "--speed", "20"]);
    let tail = Process::start(home.path(), &["tail", &path]);
    // A fault ends the epoch, with its reason, and not the program.
    for part in ["\"kind\":\"event\"", "\"kind\":\"detached\"", "\"kind\":\"attached\"", "\"event\":\"STOP\""]
    {
        line_with(&tail.stdout, part);
    }
    assert_eq!(tail.interrupt(), Some(0));
    assert_eq!(machine.interrupt(), Some(0));
}

#[test]
fn wrong_usage_is_reported() {
    let home = directory();
    let file = home.path().join("bad.toml");
    std::fs::write(&file, "speeed = 2\n[[step]]\nguest = 'panik'\n").unwrap();
    let bad = file.to_str().unwrap();
    let recording = home.path().join("two.jsonl");
    let record = |vm: &str| {
        format!(
            "{{\"vm\":\"{vm}\",\"epoch\":1,\"seq\":1,\"received\":\"2026-01-02T03:04:05.000000Z\",\"kind\":\"event\",\"event\":\"STOP\"}}\n"
        )
    };
    std::fs::write(&recording, record("a") + &record("b")).unwrap();
    let two = recording.to_str().unwrap();
    let empty = home.path().join("empty");
    std::fs::write(&empty, "").unwrap();
    let empty = empty.to_str().unwrap();
    let cases: [(&[&str], i32, &str); 18] = [
        (&["emulate"], 2, "--listen"),
        (&["emulate", "--listen", "nowhere"], 2, "./nowhere"),
        (&["emulate", "--listen", "fd:3"], 2, "unix:PATH"),
        (&["emulate", "--listen", "/no/such/directory/a.sock"], 1, "cannot listen at"),
        (&["emulate", "--listen", "/x/a", "--script", "panick"], 2, "did you mean panic?"),
        (&["emulate", "--listen", "/x/a", "--script", "./missing"], 2, "cannot read the script ./missing"),
        (
            &["emulate", "--listen", "/x/a", "--script", bad],
            2,
            "bad.toml:1: unknown key \"speeed\"; did you mean \"speed\"?",
        ),
        (
            &["emulate", "--listen", "/x/a", "--script", bad],
            2,
            "bad.toml:3: unknown action of the guest \"panik\"",
        ),
        (&["emulate", "--listen", "/x/a", "--release", "7.3"], 2, "release 7.3 does not exist"),
        (&["emulate", "--listen", "/x/a", "--speed", "0"], 2, "greater than 0"),
        (&["emulate", "--print-script", "nope"], 2, "--list-scripts"),
        (&["replay", "--listen", "/x/a"], 2, "<FILE"),
        (&["replay", "/no/such/file", "--listen", "/x/a"], 2, "cannot read /no/such/file"),
        (&["replay", empty, "--listen", "/x/a"], 2, "it contains no recording"),
        (&["replay", two, "--listen", "/x/a"], 2, "it contains several VMs, a, b"),
        (&["replay", two, "--vm", "c", "--listen", "/x/a"], 2, "it contains no records of c"),
        (&["serve", "--demo=0"], 2, "1 to 100"),
        (&["serve"], 2, "qmp serve --demo"),
    ];
    for (arguments, code, message) in cases {
        let ran = run(home.path(), arguments);
        assert_eq!(ran.code, Some(code), "{arguments:?} {ran:?}");
        assert!(ran.stderr.contains(message), "{arguments:?} {ran:?}");
        assert_eq!(ran.stdout, "", "{arguments:?}");
    }
}

#[test]
fn built_in_scripts_are_listed_and_printed() {
    let home = directory();
    let list = run(home.path(), &["emulate", "--list-scripts"]);
    assert_eq!(list.code, Some(0), "{list:?}");
    assert!(list.stdout.lines().count() >= 8, "{list:?}");
    for line in list.stdout.lines() {
        let (name, summary) = line.split_once("  ").unwrap();
        assert!(!summary.trim().is_empty(), "{line}");
        let printed = run(home.path(), &["emulate", "--print-script", name]);
        assert!(printed.stdout.contains("[[step]]"), "{printed:?}");
    }
}

/// The events of records, each as the raw JSON of its name, time and data.
fn events(lines: &str) -> Vec<[Option<String>; 3]> {
    #[derive(serde::Deserialize)]
    struct Line<'a> {
        #[serde(borrow)]
        event: Option<&'a RawValue>,
        timestamp: Option<&'a RawValue>,
        data: Option<&'a RawValue>,
    }
    let text = |value: Option<&RawValue>| value.map(|value| value.get().to_owned());
    let lines = lines.lines().map(|line| serde_json::from_str::<Line<'_>>(line).expect("a record"));
    lines
        .filter(|line| line.event.is_some())
        .map(|line| [text(line.event), text(line.timestamp), text(line.data)])
        .collect()
}

/// The records of a hub attached to `path`, once there are `count` events.
fn recorded(path: &str, count: usize) -> String {
    let home = directory();
    let hub = Process::start(home.path(), &["serve", "--attach", &format!("a={path}")]);
    hub.wait_for("Next, in another terminal");
    let follow = Process::start(home.path(), &["log", "--follow", "--vm", "a"]);
    let mut lines = String::new();
    while events(&lines).len() < count {
        lines += &line_with(&follow.stdout, "");
        lines += "\n";
    }
    assert_eq!(hub.interrupt(), Some(0));
    lines
}

#[test]
fn replay_has_the_same_events_for_check_and_a_hub() {
    let home = directory();
    let script = "--script=reboot-loop";
    let (machine, path) = emulate(home.path(), "a", &[script, "--speed", "40", "--seed", "3"]);
    let original = recorded(&path, 20);
    assert_eq!(machine.interrupt(), Some(0));
    // An unusual event is replayed, too.
    let odd = r#"{"vm":"a","epoch":9,"seq":1,"received":"2026-01-02T03:04:05.000000Z","kind":"event","event":"__org.x_ODD","data":{ "a" :[1,  2.50], "é": "\u00e9"}}"#;
    let original = format!("{original}{odd}\n");
    let file = home.path().join("recording.jsonl");
    std::fs::write(&file, &original).unwrap();
    let checked = run(home.path(), &["check", file.to_str().unwrap()]);
    let expected = events(&original);

    // From a file of records, from the standard input, and from a journal.
    let again = home.path().join("again.sock").to_str().unwrap().to_owned();
    let replay = |arguments: &[&str]| {
        let replay = Process::start(home.path(), &[&["replay"], arguments, &["--listen", &again]].concat());
        replay.wait_for("waiting for a client");
        let found = recorded(&again, expected.len());
        assert_eq!(events(&found), expected, "{arguments:?}");
        drop(replay);
        found
    };
    let found = replay(&[file.to_str().unwrap(), "--speed", "0"]);
    let copy = home.path().join("copy.jsonl");
    std::fs::write(&copy, &found).unwrap();
    let checked_again = run(home.path(), &["check", copy.to_str().unwrap()]);
    assert_eq!((checked.code, checked.stderr), (checked_again.code, checked_again.stderr));

    // The same events as a capture.
    let capture: String = expected
        .iter()
        .map(|[name, time, data]| {
            let member = |name: &str, text: &Option<String>| {
                text.as_ref().map(|text| format!(", \"{name}\":  {text}"))
            };
            let (time, data) = (member("timestamp", time), member("data", data));
            format!(
                "{{\"event\": {}{}{}}}\r\n",
                name.as_deref().unwrap(),
                time.unwrap_or_default(),
                data.unwrap_or_default()
            )
        })
        .collect();
    std::fs::write(&copy, capture).unwrap();
    replay(&[copy.to_str().unwrap(), "--speed", "0", "--release", "7.2"]);
}

#[test]
fn vm_of_a_journal_is_replayed_to_the_end() {
    let home = directory();
    let (machine, path) = emulate(home.path(), "web1", &["--script=reboot-loop", "--speed", "40"]);
    let hub = Process::start(home.path(), &["serve", "--attach", &format!("web1={path}")]);
    hub.wait_for("web1: attached");
    let waited = run(home.path(), &["wait", "web1", "RESET", "--timeout", "20s"]);
    assert_eq!(waited.code, Some(0), "{waited:?}");
    assert_eq!(hub.interrupt(), Some(0));
    drop(machine);
    let log = run(home.path(), &["log", "--vm", "web1"]);
    let journal = home.path().join("journal.db");
    let journal = journal.to_str().unwrap();
    let again = home.path().join("again.sock").to_str().unwrap().to_owned();
    let arguments = ["replay", "--journal", journal, "--vm", "web1", "--listen", &again, "--speed", "0"];
    let mut replay = Process::start(home.path(), &arguments);
    replay.wait_for("waiting for a client");
    let tail = run(home.path(), &["tail", &again, "--exit"]);
    assert_eq!(tail.code, Some(4), "{tail:?}");
    assert_eq!(events(&tail.stdout), events(&log.stdout));
    assert_eq!(replay.end().code(), Some(0), "the replay ends");

    let unknown = run(home.path(), &["replay", "--journal", journal, "--vm", "b", "--listen", &again]);
    assert_eq!(unknown.code, Some(2), "{unknown:?}");
    assert!(unknown.stderr.contains("it has web1"), "{unknown:?}");
    let piped = run_with_input(home.path(), &["replay", "-", "--listen", "/no/such/dir/a"], &log.stdout);
    assert_eq!(piped.code, Some(1), "the recording is read, the address does not exist: {piped:?}");
}

#[test]
fn demo_shows_events_at_once_and_takes_commands() {
    let home = directory();
    let begin = Instant::now();
    let demo = Process::start(home.path(), &["serve", "--demo"]);
    let page = demo.wait_for("http://127.0.0.1:");
    let journal = demo.wait_for("journal");
    let journal = Path::new(journal.split_whitespace().nth(1).unwrap()).to_owned();
    assert!(journal.exists(), "{journal:?}");
    for part in ["web1", "qmp tail", "x-guest-panic", "Ctrl-C"] {
        demo.wait_for(part);
    }
    line_with(&demo.stdout, "\"kind\":\"event\"");
    // The aim is one second; a machine that runs many tests at once needs more.
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());

    let port = page.split(['/', ' ']).find(|part| part.starts_with("127.0.0.1:")).unwrap();
    let mut page = TcpStream::connect(port).unwrap();
    page.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut document = String::new();
    page.read_to_string(&mut document).unwrap();
    assert!(document.starts_with("HTTP/1.1 200 OK") && document.contains("/assets/app-"), "{document}");

    let tail = Process::start(home.path(), &["tail", "web1"]);
    let stopped = run(home.path(), &["exec", "web1", "x-guest-reset"]);
    assert_eq!(stopped.code, Some(0), "{stopped:?}");
    line_with(&tail.stdout, "\"vm\":\"web1\"");
    let vms = run(home.path(), &["log", "--kind", "attached"]);
    for vm in ["web1", "db1", "build1"] {
        assert!(vms.stdout.contains(&format!("\"vm\":\"{vm}\"")), "{vms:?}");
    }
    assert_eq!(demo.interrupt(), Some(0));
    assert!(!journal.exists(), "the temporary journal is removed");
    assert!(!home.path().join("journal.db").exists(), "the journal of the environment is not used");
}

#[test]
fn demo_beside_a_hub_uses_another_socket() {
    let home = directory();
    let first = Process::start(home.path(), &["serve", "--demo=1"]);
    line_with(&first.stdout, "\"kind\":\"attached\"");
    let named = home.path().join("kept.db");
    let second = Process::start(home.path(), &["serve", "--demo=2", "--journal", named.to_str().unwrap()]);
    let hint = second.wait_for("qmp tail --hub");
    let hub = hint.split_whitespace().nth(3).unwrap().to_owned();
    line_with(&second.stdout, "\"vm\":\"db1\"");
    let asked = run(home.path(), &["exec", "--hub", &hub, "db1", "query-name"]);
    assert_eq!(asked.code, Some(0), "{asked:?}");
    let answer: Value = serde_json::from_str(&asked.stdout).unwrap();
    assert_eq!(answer["return"]["name"], "db1");
    assert_eq!(second.interrupt(), Some(0));
    assert_eq!(first.interrupt(), Some(0));
    assert!(named.exists(), "a given journal is kept");
}

#[test]
fn help_of_commands_has_examples() {
    let home = directory();
    for command in ["emulate", "replay", "serve"] {
        let help = qmp(home.path(), [command, "--help"]).output().unwrap();
        let text = String::from_utf8(help.stdout).unwrap();
        assert!(help.status.success() && text.contains("Examples:"), "{command}: {text}");
    }
}
