//! The commands through a hub: `serve`, `log`, `tail`, `wait`, `exec`.

mod support;

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;

use qmp_testing::{MonitorThread, wait_for};
use serde_json::Value;
use support::{Process, World, directory, hub_address, line_with, run, start_hub};

fn offset(line: &str, key: &str) -> u64 {
    let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    line[key].as_u64().unwrap_or_else(|| panic!("no {key} in {line}"))
}

#[test]
fn event_of_a_command_is_in_the_log_before_its_reply_is_printed() {
    let world = World::start();
    let stop = world.run(&["exec", "web1", "stop"]);
    assert_eq!(stop.code, Some(0), "{stop:?}");
    assert!(stop.stdout.starts_with("{\"return\":{},\"since\":"), "{stop:?}");
    let (since, until) = (offset(&stop.stdout, "since"), offset(&stop.stdout, "offset"));
    let log = world.run(&["log", "--since", &since.to_string()]);
    let record: Value = serde_json::from_str(log.stdout.lines().next().unwrap()).unwrap();
    assert_eq!(record["event"], "STOP");
    assert!(record["offset"].as_u64().is_some_and(|offset| since < offset && offset <= until), "{log:?}");

    let failed = world.run(&["exec", "web1", "fail"]);
    assert_eq!(failed.code, Some(1), "{failed:?}");
    assert!(failed.stdout.starts_with("{\"error\":{\"class\":\"GenericError\""), "{failed:?}");
    let unknown = world.run(&["exec", "web2", "stop"]);
    assert_eq!(unknown.code, Some(4), "{unknown:?}");
    assert!(unknown.stderr.contains("web1"), "{unknown:?}");
}

#[test]
fn log_is_filtered_and_limited() {
    let world = World::start();
    for command in ["query-stop", "query-cont", "query-stop", "query-cont", "query-stop"] {
        assert_eq!(world.run(&["exec", "web1", command]).code, Some(0));
    }
    let cases: [(&[&str], &[&str]); 9] = [
        (&[], &["attached", "STOP", "RESUME", "STOP", "RESUME", "STOP"]),
        (&["--event", "STOP"], &["STOP", "STOP", "STOP"]),
        (&["-n", "2"], &["RESUME", "STOP"]),
        (&["--event", "RES*", "-n", "1"], &["RESUME"]),
        (&["--kind", "attached"], &["attached"]),
        (&["--vm", "db*"], &[]),
        (&["--after", "4"], &["RESUME", "STOP"]),
        (&["--until", "2001-01-01"], &[]),
        (&["--since", "1h", "--kind", "event", "-n", "1"], &["STOP"]),
    ];
    let journal = world.home.path().join("journal.db");
    for (arguments, expected) in cases {
        let through_hub = world.run(&[&["log"], arguments].concat());
        let of_file = world.run(&[&["log", "--journal", journal.to_str().unwrap()], arguments].concat());
        // QMP_HUB is set in both cases: --journal overrides it.
        for log in [through_hub, of_file] {
            assert_eq!(log.code, Some(0), "{arguments:?} {log:?}");
            let found: Vec<String> = log.stdout.lines().map(what).collect();
            assert_eq!(found, expected, "{arguments:?}");
        }
    }
    let csv = world.run(&["log", "--csv", "-n", "1"]);
    let lines: Vec<&str> = csv.stdout.lines().collect();
    assert!(lines.len() == 2 && lines[0].starts_with("offset,vm,") && lines[1].contains(",STOP,"), "{csv:?}");
}

/// The event, or else the kind.
fn what(line: &str) -> String {
    let record: Value = serde_json::from_str(line).expect("a record");
    record["event"].as_str().or(record["kind"].as_str()).expect("a kind").to_owned()
}

#[test]
fn wait_since_an_offset_finds_earlier_events() {
    let world = World::start();
    let stop = world.run(&["exec", "web1", "stop"]);
    let since = offset(&stop.stdout, "since").to_string();
    assert_eq!(world.run(&["exec", "web1", "cont"]).code, Some(0));

    let found = world.run(&["wait", "web1", "STOP", "--since", &since, "--timeout", "20s"]);
    assert_eq!(found.code, Some(0), "{found:?}");
    assert_eq!(what(&found.stdout), "STOP");
    let without = world.run(&["wait", "web1", "STOP", "--timeout", "300ms"]);
    assert_eq!(without.code, Some(3), "earlier events count only with --since: {without:?}");
    let beyond = world.run(&["wait", "web1", "STOP", "--since", "99999"]);
    assert_eq!(beyond.code, Some(2), "{beyond:?}");
}

#[test]
fn wait_ends_with_the_event_or_the_end_of_the_vm() {
    let world = World::start();
    let waiting = Process::start(world.home.path(), &["wait", "web1", "NO_SUCH", "--where", "a=b"]);
    waiting.wait_for("no QEMU");
    let quit = world.run(&["exec", "web1", "quit"]);
    assert_eq!(quit.code, Some(0), "{quit:?}");
    let mut waiting = waiting;
    assert_eq!(waiting.end().code(), Some(4));

    // SHUTDOWN was reported, and then the VM ended: the event counts.
    let since = offset(&quit.stdout, "since").to_string();
    let shutdown = world.run(&["wait", "web1", "SHUTDOWN", "--since", &since]);
    assert_eq!(shutdown.code, Some(0), "{shutdown:?}");
    world.hub.wait_for("web1: detached");
    let gone = world.run(&["wait", "web1", "SHUTDOWN"]);
    assert_eq!(gone.code, Some(4), "{gone:?}");
    let exec = world.run(&["exec", "web1", "stop"]);
    assert_eq!(exec.code, Some(4), "{exec:?}");
}

/// Waits until the hub has `readers` readers of records: then the commands are connected.
fn until_read_by(readers: usize, home: &Path) {
    let wanted = format!("\nqmp_http_readers {readers}\n");
    wait_for(&format!("{readers} readers"), || {
        let mut hub = UnixStream::connect(home.join("hub.sock")).expect("the hub serves");
        hub.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            .expect("the hub reads");
        let mut answer = String::new();
        hub.read_to_string(&mut answer).expect("the hub answers");
        answer.contains(&wanted).then_some(())
    });
}

#[test]
fn tail_and_wait_survive_a_restart_of_the_hub() {
    let mut world = World::start();
    let tail = Process::start(world.home.path(), &["tail", "web*"]);
    let waiting = Process::start(world.home.path(), &["wait", "web1", "STOP", "--timeout", "60s"]);
    until_read_by(2, world.home.path());
    assert_eq!(world.run(&["exec", "web1", "query-cont"]).code, Some(0));
    assert_eq!(what(&line_with(&tail.stdout, "")), "RESUME");

    world.hub.signal("TERM");
    assert_eq!(world.hub.end().code(), Some(0), "a hub stops cleanly");
    tail.wait_for("retrying");
    world.hub = start_hub(world.home.path(), &world.vm.address());
    assert_eq!(world.run(&["exec", "web1", "query-stop"]).code, Some(0));
    // No record is repeated or missing.
    let mut before = 0;
    let mut next = || loop {
        let line = line_with(&tail.stdout, "");
        let offset = offset(&line, "offset");
        assert!(offset > before, "{line}");
        before = offset;
        if what(&line) != "RESUME" {
            break what(&line);
        }
    };
    assert_eq!([next(), next(), next()], ["detached", "attached", "STOP"]);
    line_with(&waiting.stdout, "STOP");
    assert_eq!(tail.interrupt(), Some(0));
}

#[test]
fn log_follow_prints_new_records() {
    let world = World::start();
    assert_eq!(world.run(&["exec", "web1", "query-stop"]).code, Some(0));
    let journal = world.home.path().join("journal.db");
    let through_hub = Process::start(world.home.path(), &["log", "--follow", "-n", "1"]);
    let of_file = Process::start(
        world.home.path(),
        &["log", "-f", "--event", "STOP", "--journal", journal.to_str().unwrap()],
    );
    for log in [&through_hub, &of_file] {
        assert_eq!(what(&line_with(&log.stdout, "")), "STOP");
    }
    assert_eq!(world.run(&["exec", "web1", "query-stop"]).code, Some(0));
    for log in [through_hub, of_file] {
        assert_eq!(what(&line_with(&log.stdout, "")), "STOP");
        assert_eq!(log.interrupt(), Some(0));
    }
}

#[test]
fn missing_hub_or_journal_is_reported_with_hints() {
    let home = directory();
    let nothing = run(home.path(), &["log", "--hub", "unix:/no/such/hub"]);
    assert_eq!(nothing.code, Some(1), "{nothing:?}");
    assert!(nothing.stderr.contains("hint: start one: qmp serve"), "{nothing:?}");
    let tail = run(home.path(), &["tail"]);
    assert_eq!(tail.code, Some(1), "{tail:?}");

    let missing = run(home.path(), &["log", "--journal", "/no/such/journal.db"]);
    assert_eq!(missing.code, Some(1), "{missing:?}");
    let other = home.path().join("other.db");
    std::fs::write(&other, "this is a letter, and no journal at all").unwrap();
    let text = other.to_str().unwrap();
    let vm = format!("vm={}/vm.sock", home.path().display());
    for arguments in [&["log", "--journal", text] as &[&str], &["serve", "--attach", &vm, "--journal", text]]
    {
        let ran = run(home.path(), arguments);
        assert_eq!(ran.code, Some(2), "{arguments:?} {ran:?}");
        assert!(ran.stderr.contains("no journal"), "{arguments:?} {ran:?}");
    }
    assert_eq!(std::fs::read_to_string(&other).unwrap(), "this is a letter, and no journal at all");
}

#[test]
fn startup_text_has_addresses_and_next_commands() {
    let home = directory();
    let vm = MonitorThread::start(home.path().join("web1.sock"));
    let hub = Process::start(home.path(), &["serve", "--attach", &format!("web1={}", vm.address())]);
    for part in
        ["qmp hub", "journal.db", &hub_address(home.path()), "web1", "qmp tail", "Ctrl-C", "web1: attached"]
    {
        hub.wait_for(part);
    }
    assert_eq!(hub.interrupt(), Some(0));
}

#[test]
fn log_names_vm_that_journal_does_not_have() {
    let world = World::start();
    let journal = world.home.path().join("journal.db");
    let file = ["--journal", journal.to_str().unwrap()];
    //  --vm and more             the note
    let cases: [(&[&str], &str); 4] = [
        (&["--vm", "web2"], "note: the journal has no VM web2; did you mean web1?\n"),
        (&["--vm", "nosuch"], "note: the journal has no VM nosuch\n"),
        (&["--vm", "nosuch*"], ""),
        (&["--vm", "web1", "--event", "RESET"], ""),
    ];
    for (arguments, expected) in cases {
        let through_hub = world.run(&[&["log"], arguments].concat());
        let of_file = world.run(&[&["log"], arguments, &file].concat());
        for log in [through_hub, of_file] {
            assert_eq!((log.code, &*log.stdout, &*log.stderr), (Some(0), "", expected), "{arguments:?}");
        }
    }
}

#[test]
fn log_notes_that_it_reads_the_file_without_a_hub() {
    let world = World::start();
    let World { home, hub, .. } = world;
    assert_eq!(hub.interrupt(), Some(0));
    let log = run(home.path(), &["log", "--kind", "attached"]);
    assert_eq!((log.code, log.stdout.lines().count()), (Some(0), 1), "{log:?}");
    assert!(log.stderr.starts_with("note: no hub answers at "), "{log:?}");
    assert!(log.stderr.ends_with("journal.db, and nothing is certain after its last record\n"), "{log:?}");
    let named = run(home.path(), &["log", "--journal", home.path().join("journal.db").to_str().unwrap()]);
    assert_eq!((named.code, &*named.stderr), (Some(0), ""), "{named:?}");
    let early = run(home.path(), &["why", "web1", "--at", "2h"]);
    assert_eq!(early.code, Some(1), "{early:?}");
    assert!(early.stderr.contains("that early: its records in the journal begin 20"), "{early:?}");
}

#[test]
fn all_faults_of_a_configuration_are_reported() {
    let home = directory();
    let file = home.path().join("hub.toml");
    std::fs::write(&file, "jurnal = 'x'\n[[vm]]\nname = 'a'\nadress = '/run/a.sock'\n").unwrap();
    let ran = run(home.path(), &["serve", "--config", file.to_str().unwrap()]);
    assert_eq!(ran.code, Some(2), "{ran:?}");
    for part in ["hub.toml:1: unknown key \"jurnal\"", "hub.toml:4: unknown key \"adress\""] {
        assert!(ran.stderr.contains(part), "{ran:?}");
    }
    assert!(ran.stderr.lines().all(|line| line.starts_with("qmp: ")), "{ran:?}");
}

/// The beginning of the note about a stalled journal.
const STALLED_NOTE: &str = "note: the hub's journal cannot be written since 2";

/// Prevents the journal's writer from committing until it is dropped.
struct JournalLock(std::process::Child);

impl JournalLock {
    fn journal(home: &Path) -> Self {
        let mut sqlite = std::process::Command::new("sqlite3")
            .arg(home.join("journal.db"))
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .expect("sqlite3 is installed");
        let input = sqlite.stdin.as_mut().expect("a pipe");
        input.write_all(b".timeout 10000\nBEGIN IMMEDIATE; SELECT 'locked';\n").expect("writes");
        let mut locked = [0; 7];
        sqlite.stdout.as_mut().expect("a pipe").read_exact(&mut locked).expect("is locked");
        assert_eq!(&locked, b"locked\n");
        Self(sqlite)
    }
}

impl Drop for JournalLock {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn stalled_journal_is_noted_by_each_command() {
    let world = World::start();
    let stalled = JournalLock::journal(world.home.path());
    let stop = world.run(&["exec", "web1", "stop"]);
    assert_eq!(stop.code, Some(0), "{stop:?}");
    assert!(stop.stdout.contains("\"journaled\":false"), "{stop:?}");
    // The stall is detected by then, or soon.
    while !world.run(&["status"]).stderr.contains(STALLED_NOTE) {}
    let commands: [&[&str]; 6] = [
        &["status"],
        &["status", "web1"],
        &["log"],
        &["why", "web1"],
        &["wait", "web1", "RESET", "--timeout", "200ms"],
        &["exec", "web1", "query-status"],
    ];
    for arguments in commands {
        let ran = world.run(arguments);
        assert_eq!(ran.stderr.matches(STALLED_NOTE).count(), 1, "{arguments:?} {ran:?}");
    }
    assert!(world.run(&["status", "web1"]).stdout.contains("\"as_of\":\"2"));
    let tail = Process::start(world.home.path(), &["tail", "web1"]);
    tail.wait_for(STALLED_NOTE);
    drop(stalled);
    while world.run(&["status"]).stderr.contains(STALLED_NOTE) {}
}

#[test]
fn exec_ends_with_3_after_its_timeout() {
    let world = World::start();
    let monitor = MonitorThread::start(world.home.path().join("straight.sock"));
    for target in ["web1", &monitor.address()] {
        let ran = world.run(&["exec", target, "hang", "--timeout", "200ms"]);
        assert_eq!(ran.code, Some(3), "{target}: {ran:?}");
        assert!(ran.stderr.contains("no reply"), "{target}: {ran:?}");
    }
    let ran = world.run(&["exec", "web1", "query-status", "--timeout", "0"]);
    assert_eq!(ran.code, Some(0), "0 waits for ever: {ran:?}");
}
