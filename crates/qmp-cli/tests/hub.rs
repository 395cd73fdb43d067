//! The commands through a hub: `serve`, `log`, `tail`, `wait`, `exec`.

mod support;

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;
use support::{FakeQmp, Running, World, directory, hub_address, run, start_hub, wait_for};

fn offset(line: &str, key: &str) -> u64 {
    let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    line[key].as_u64().unwrap_or_else(|| panic!("no {key} in {line}"))
}

#[test]
fn what_is_executed_is_in_the_log_before_the_reply_is_printed() {
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
fn the_log_is_filtered_and_cut() {
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
        // QMP_HUB is set in both cases: a file that is named goes before it.
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
fn wait_misses_nothing_that_came_before_it() {
    let world = World::start();
    let stop = world.run(&["exec", "web1", "stop"]);
    let since = offset(&stop.stdout, "since").to_string();
    assert_eq!(world.run(&["exec", "web1", "cont"]).code, Some(0));

    let found = world.run(&["wait", "web1", "STOP", "--since", &since, "--timeout", "20s"]);
    assert_eq!(found.code, Some(0), "{found:?}");
    assert_eq!(what(&found.stdout), "STOP");
    let without = world.run(&["wait", "web1", "STOP", "--timeout", "300ms"]);
    assert_eq!(without.code, Some(3), "what came before does not count unless it is asked for: {without:?}");
    let beyond = world.run(&["wait", "web1", "STOP", "--since", "99999"]);
    assert_eq!(beyond.code, Some(2), "{beyond:?}");
}

#[test]
fn wait_sees_what_comes_and_that_the_vm_is_gone() {
    let world = World::start();
    let waiting = Running::start(world.home.path(), &["wait", "web1", "NO_SUCH", "--where", "a=b"]);
    waiting.wait_for("no QEMU");
    let quit = world.run(&["exec", "web1", "quit"]);
    assert_eq!(quit.code, Some(0), "{quit:?}");
    let mut waiting = waiting;
    assert_eq!(waiting.end().code(), Some(4));

    // SHUTDOWN came, and then the VM went: what was asked for counts more.
    let since = offset(&quit.stdout, "since").to_string();
    let shutdown = world.run(&["wait", "web1", "SHUTDOWN", "--since", &since]);
    assert_eq!(shutdown.code, Some(0), "{shutdown:?}");
    world.hub.wait_for("web1: detached");
    let gone = world.run(&["wait", "web1", "SHUTDOWN"]);
    assert_eq!(gone.code, Some(4), "{gone:?}");
    let exec = world.run(&["exec", "web1", "stop"]);
    assert_eq!(exec.code, Some(4), "{exec:?}");
}

/// Waits until the hub says that so many clients read records: then a command that was started listens.
fn until_read_by(readers: usize, home: &Path) {
    let wanted = format!("\nqmp_http_readers {readers}\n");
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let mut hub = UnixStream::connect(home.join("hub.sock")).expect("the hub serves");
        hub.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            .expect("it reads");
        let mut answer = String::new();
        hub.read_to_string(&mut answer).expect("it answers");
        if answer.contains(&wanted) {
            return;
        }
        assert!(Instant::now() < deadline, "never read by {readers}: {answer}");
        std::thread::yield_now();
    }
}

#[test]
fn tail_and_wait_outlive_the_hub() {
    let mut world = World::start();
    let tail = Running::start(world.home.path(), &["tail", "web*"]);
    let waiting = Running::start(world.home.path(), &["wait", "web1", "STOP", "--timeout", "60s"]);
    until_read_by(2, world.home.path());
    assert_eq!(world.run(&["exec", "web1", "query-cont"]).code, Some(0));
    assert_eq!(what(&wait_for(&tail.stdout, "")), "RESUME");

    world.hub.signal("TERM");
    assert_eq!(world.hub.end().code(), Some(0), "a hub stops cleanly");
    tail.wait_for("asking again");
    world.hub = start_hub(world.home.path(), &world.vm.address());
    assert_eq!(world.run(&["exec", "web1", "query-stop"]).code, Some(0));
    // Nothing twice, and nothing left out.
    let mut before = 0;
    let mut next = || loop {
        let line = wait_for(&tail.stdout, "");
        let offset = offset(&line, "offset");
        assert!(offset > before, "{line}");
        before = offset;
        if what(&line) != "RESUME" {
            break what(&line);
        }
    };
    assert_eq!([next(), next(), next()], ["detached", "attached", "STOP"]);
    wait_for(&waiting.stdout, "STOP");
    assert_eq!(tail.interrupt(), Some(0));
}

#[test]
fn the_log_is_followed() {
    let world = World::start();
    assert_eq!(world.run(&["exec", "web1", "query-stop"]).code, Some(0));
    let journal = world.home.path().join("journal.db");
    let through_hub = Running::start(world.home.path(), &["log", "--follow", "-n", "1"]);
    let of_file = Running::start(
        world.home.path(),
        &["log", "-f", "--event", "STOP", "--journal", journal.to_str().unwrap()],
    );
    for log in [&through_hub, &of_file] {
        assert_eq!(what(&wait_for(&log.stdout, "")), "STOP");
    }
    assert_eq!(world.run(&["exec", "web1", "query-stop"]).code, Some(0));
    for log in [through_hub, of_file] {
        assert_eq!(what(&wait_for(&log.stdout, "")), "STOP");
        assert_eq!(log.interrupt(), Some(0));
    }
}

#[test]
fn without_a_hub_the_journal_is_read_and_without_that_one_is_told_what_to_do() {
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
fn a_hub_says_where_it_is_and_what_is_next() {
    let home = directory();
    let vm = FakeQmp::start(home.path().join("web1.sock"));
    let hub = Running::start(home.path(), &["serve", "--attach", &format!("web1={}", vm.address())]);
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
fn file_that_is_read_because_no_hub_answers_is_noted() {
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
    assert!(early.stderr.contains("that early: its first epoch in the journal began 20"), "{early:?}");
}

#[test]
fn a_configuration_with_mistakes_names_them_all() {
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

/// The words of the note about a journal that takes nothing.
const STALLED_NOTE: &str = "note: the hub's journal has taken nothing since 2";

/// Keeps the journal's writer from committing until it is dropped.
struct Stalled(std::process::Child);

impl Stalled {
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

impl Drop for Stalled {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn stalled_journal_is_noted_by_every_command_that_reads() {
    let world = World::start();
    let stalled = Stalled::journal(world.home.path());
    let stop = world.run(&["exec", "web1", "stop"]);
    assert_eq!(stop.code, Some(0), "{stop:?}");
    assert!(stop.stdout.contains("\"journaled\":false"), "{stop:?}");
    // By then the stall is known, or soon.
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
    let tail = Running::start(world.home.path(), &["tail", "web1"]);
    tail.wait_for(STALLED_NOTE);
    drop(stalled);
    while world.run(&["status"]).stderr.contains(STALLED_NOTE) {}
}

#[test]
fn exec_gives_up_after_its_timeout_with_3() {
    let world = World::start();
    let monitor = support::FakeQmp::start(world.home.path().join("straight.sock"));
    for target in ["web1", &monitor.address()] {
        let ran = world.run(&["exec", target, "hang", "--timeout", "200ms"]);
        assert_eq!(ran.code, Some(3), "{target}: {ran:?}");
        assert!(ran.stderr.contains("no reply"), "{target}: {ran:?}");
    }
    let ran = world.run(&["exec", "web1", "query-status", "--timeout", "0"]);
    assert_eq!(ran.code, Some(0), "0 waits for ever: {ran:?}");
}
