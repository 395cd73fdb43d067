//! The VMM of the example, as its clients see it.
#![allow(clippy::unwrap_used, reason = "a test or a bench")]

mod support;
#[allow(dead_code, missing_docs, unreachable_pub, reason = "the example has a `main`, and is no library")]
#[path = "../examples/tiny_vmm.rs"]
mod tiny_vmm;

use std::{
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    thread::JoinHandle,
};

use qmp_events::{Release, validate};
use serde_json::Value;
use support::client::Client;

/// The example at two sockets.
struct Vmm {
    directory: tempfile::TempDir,
    thread: JoinHandle<std::io::Result<()>>,
}

impl Vmm {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let options = |name| format!("unix:{},server=on,wait=off", directory.path().join(name).display());
        let sockets = [options("first"), options("second")];
        let thread = std::thread::spawn(move || tiny_vmm::serve(&sockets));
        let vmm = Self { directory, thread };
        while !(vmm.path("first").exists() && vmm.path("second").exists()) {
            std::thread::yield_now();
        }
        vmm
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn client(&self, name: &str) -> Client {
        let mut client = connect(&self.path(name));
        client.negotiate();
        client
    }
}

/// Connects as soon as the socket listens.
fn connect(path: &Path) -> Client {
    loop {
        match UnixStream::connect(path) {
            Ok(stream) => return Client::new(stream),
            Err(_) => std::thread::yield_now(),
        }
    }
}

/// The lines up to and including the reply.
fn until_reply(client: &mut Client) -> Vec<String> {
    let mut lines = Vec::new();
    loop {
        lines.push(client.line().unwrap());
        if !lines[lines.len() - 1].contains(r#""event":"#) {
            return lines;
        }
    }
}

#[test]
fn both_sockets_survive_a_storm_and_a_panic() {
    let vmm = Vmm::start();
    let (mut manager, mut observer) = (vmm.client("first"), vmm.client("second"));
    manager.send(r#"{"execute":"x-storm","arguments":{"count":100}}"#);
    let storm = until_reply(&mut manager);
    assert_eq!(storm.len(), 102, "an RTC_CHANGE, all events of the VMM's own, the reply");
    let panicked = r#"{"error": {"class": "GenericError", "desc": "The command x-panic panicked"}}"#;
    assert!(observer.ask(r#"{"execute":"stop"}"#).contains("RTC_CHANGE"));
    assert_eq!(until_reply(&mut observer).pop().unwrap(), r#"{"return": {}}"#);
    manager.send(r#"{"execute":"x-panic"}"#);
    let mut all = storm;
    all.extend(until_reply(&mut manager));
    assert_eq!(all.last().unwrap(), panicked);
    let status = observer.ask(r#"{"execute":"query-status"}"#);
    assert!(status.contains("paused"), "{status}");
    manager.send(r#"{"execute":"quit"}"#);
    all.extend(manager.rest());
    let position = |part: &str| all.iter().position(|line| line.contains(part)).unwrap();
    assert!(position("STOP") < position("panicked") && position("panicked") < position("SHUTDOWN"));
    // At the end if less than a second has passed since the first one.
    let last = all.iter().filter(|line| line.contains(r#""offset": 99"#)).count();
    assert_eq!(last, 1, "the held event is sent: {all:?}");
    all.extend(observer.rest());
    for line in all {
        let message: Value = serde_json::from_str(&line).unwrap();
        if let Some(event) = message["event"].as_str() {
            let data = message.get("data").map(Value::to_string);
            assert_eq!(validate(event, data.as_deref(), Release::new(11, 1)), [], "{line}");
        }
    }
    vmm.thread.join().unwrap().unwrap();
}

#[test]
fn second_manager_waits_and_observers_do_not() {
    let vmm = Vmm::start();
    let manager = vmm.client("first");
    let _observers = [vmm.client("second"), vmm.client("second")];
    let mut waiting = connect(&vmm.path("first"));
    assert_eq!(waiting.lines_now().len(), 0);
    drop(manager);
    waiting.negotiate();
    waiting.send(r#"{"execute":"quit"}"#);
    assert!(waiting.rest().len() >= 2);
    vmm.thread.join().unwrap().unwrap();
}
