//! VMs that left the hub: discovered VMs leave it when their socket is removed, and the journal keeps their records.

mod support;

use std::path::Path;

use qmp_testing::{MonitorThread, respond};
use serde_json::Value;
use support::{Process, RunResult, World, directory, event, line_with, run};
use tempfile::TempDir;

/// A hub that discovers `vms/*.sock`, with a VM there that unlinks its socket when it quits, as QEMU does.
struct DiscoveryHub {
    home: TempDir,
    hub: Process,
}

impl DiscoveryHub {
    fn start() -> Self {
        let home = directory();
        let vms = home.path().join("vms");
        std::fs::create_dir(&vms).expect("a directory");
        let vm = vms.join("r1.sock");
        start_vm(&vm);
        let hub = start_hub(home.path());
        hub.wait_for("r1: attached");
        Self { home, hub }
    }

    fn run(&self, arguments: &[&str]) -> RunResult {
        run(self.home.path(), arguments)
    }

    /// Ends the VM, waits until the hub has removed it, and returns the offset before the command.
    fn quit(&self) -> String {
        let ran = self.run(&["exec", "r1", "quit"]);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        self.hub.wait_for("r1: removed");
        let reply: Value = serde_json::from_str(&ran.stdout).expect("a reply");
        reply["since"].to_string()
    }
}

fn start_vm(path: &Path) {
    let socket = path.to_owned();
    MonitorThread::start_with(path.to_owned(), move |command, request| {
        if command == "quit" {
            std::fs::remove_file(&socket).expect("the socket exists");
        }
        match command {
            "query-panic" => {
                vec![event("GUEST_PANICKED", Some(r#"{"action": "pause"}"#)), "{\"return\": {}}".into()]
            }
            other => respond(other, request),
        }
    });
}

fn start_hub(home: &Path) -> Process {
    Process::start(home, &["serve", "--discover", home.join("vms/*.sock").to_str().expect("text")])
}

#[test]
fn wait_finds_records_of_vm_that_left_hub() {
    let world = DiscoveryHub::start();
    let before = world.run(&["exec", "r1", "query-panic"]);
    assert_eq!(before.code, Some(0), "{before:?}");
    let mut waiting = Process::start(world.home.path(), &["wait", "r1", "--finding", "why-ended", "--json"]);
    let since = world.quit();
    // The end is in the journal already, or recorded during the wait.
    line_with(&waiting.stdout, "\"finding\":\"why-ended\"");
    assert_eq!(waiting.end().code(), Some(0), "the wait began before the VM left");
    let cases: [(&str, &[&str], i32); 6] = [
        ("finding after an offset", &["--finding", "why-ended", "--since", &since], 0),
        ("event after an offset", &["SHUTDOWN", "--since", &since], 0),
        ("event after a time", &["GUEST_PANICKED", "--since", "10min"], 0),
        ("the end", &["--ended"], 0),
        ("an event that was not reported", &["RESET", "--since", "10min"], 4),
        ("a finding that was not reported", &["--finding", "job", "--since", &since], 4),
    ];
    for (name, arguments, code) in cases {
        let ran = world.run(&[&["wait", "r1", "--timeout", "20s"], arguments].concat());
        assert_eq!(ran.code, Some(code), "{name}: {ran:?}");
    }
}

#[test]
fn wait_for_event_ends_with_4_when_vm_leaves_hub() {
    let world = DiscoveryHub::start();
    let waiting = Process::start(world.home.path(), &["wait", "r1", "RESET", "--since", "10min"]);
    world.quit();
    let error = waiting.wait_for("qmp: ");
    assert!(error.contains("no RESET was reported"), "{error}");
    let mut waiting = waiting;
    assert_eq!(waiting.end().code(), Some(4));
}

#[test]
fn commands_name_journal_for_vm_that_left_hub() {
    let world = DiscoveryHub::start();
    world.quit();
    let cases: [&[&str]; 5] = [
        &["status", "r1"],
        &["exec", "r1", "query-status"],
        &["tail", "r1"],
        &["tail", "r1", "--exit"],
        &["wait", "r1", "RESET"],
    ];
    for arguments in cases {
        let ran = world.run(arguments);
        assert_eq!(ran.code, Some(4), "{arguments:?}: {ran:?}");
        assert!(ran.stderr.starts_with("qmp: r1 left the hub"), "{arguments:?}: {ran:?}");
        assert!(ran.stderr.contains("in the journal: last seen 20"), "{arguments:?}: {ran:?}");
        assert!(ran.stderr.contains("hint: qmp why r1 says how it ended"), "{arguments:?}: {ran:?}");
        let unknown: Vec<&str> =
            arguments.iter().map(|argument| if *argument == "r1" { "r7" } else { *argument }).collect();
        let unknown = world.run(&unknown);
        assert_eq!(unknown.code, Some(4), "{unknown:?}");
        assert!(!unknown.stderr.contains("journal"), "{unknown:?}");
    }
    let why = world.run(&["why", "r1"]);
    assert_eq!(why.code, Some(0), "{why:?}");
}

#[test]
fn wait_retries_without_hub_until_timeout() {
    let world = World::start();
    let home = world.home.path();
    assert_eq!(world.run(&["exec", "web1", "query-stop"]).code, Some(0));
    let World { hub, vm, home: directory } = &world;
    hub.signal("INT");
    hub.wait_for("stopped");
    while directory.path().join("hub.sock").exists() {
        std::thread::yield_now();
    }
    let refused = run(home, &["wait", "web1", "STOP", "--since", "0"]);
    assert_eq!(refused.code, Some(1), "without --timeout it fails at once: {refused:?}");
    let late = run(home, &["wait", "web1", "STOP", "--since", "0", "--timeout", "300ms"]);
    assert_eq!(late.code, Some(3), "{late:?}");
    let mut waiting = Process::start(home, &["wait", "web1", "STOP", "--since", "0", "--timeout", "60s"]);
    let note = waiting.wait_for("retrying");
    assert!(note.starts_with("note: no hub answers at "), "{note}");
    let _hub = support::start_hub(home, &vm.address());
    line_with(&waiting.stdout, "\"event\":\"STOP\"");
    assert_eq!(waiting.end().code(), Some(0));
}
