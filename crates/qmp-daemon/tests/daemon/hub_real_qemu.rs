//! The hub with a real QEMU. Skipped without QEMU, unless `CI` is set.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::support::client::{execute, get_json, get_lines};
use crate::support::{Watcher, config};
use qmp_daemon::Daemon;
use qmp_wire::{Body, Record};
use serde_json::{Value, json};

/// A QEMU that is killed at the end of the test.
struct Qemu(Child);

impl Qemu {
    /// Starts a paused QEMU with its monitor at `vm1.sock` in `home`.
    fn start(home: &Path) -> Self {
        let monitor = format!("unix:{},server=on,wait=off", home.join("vm1.sock").display());
        let mut command = Command::new(crate::support::qemu::PROGRAM);
        command.args(["-nodefaults", "-display", "none", "-accel", "tcg", "-S", "-qmp", &monitor]);
        Self(command.stdin(Stdio::null()).spawn().expect("QEMU starts"))
    }

    fn ended(mut self) -> bool {
        self.0.wait().expect("ends").success()
    }
}

impl Drop for Qemu {
    fn drop(&mut self) {
        // The process has ended unless the test failed.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The events between a command and its reply, by the offsets in the response.
async fn events_of(home: &Path, command: &str) -> Vec<String> {
    let (status, answer) = execute(home, "vm1", &json!({"execute": command}).to_string()).await;
    assert_eq!((status, &answer["return"]), (200, &json!({})), "{command}: {answer}");
    let mut lines = get_lines(home, &format!("/v1/records?kind=event&after={}", answer["since"])).await;
    let mut events = Vec::new();
    while let Some(line) = lines.next().await {
        let record: Value = serde_json::from_str(&line).expect("JSON");
        if record["offset"].as_u64() <= answer["offset"].as_u64() {
            events.push(record["event"].as_str().expect("a name").to_owned());
        }
    }
    events
}

/// A record of the VM in short; `None` for the record of a command.
fn summary(record: &Record<'_>, epoch: u32) -> Option<String> {
    let text = crate::support::short(record);
    let what = text.strip_prefix(&format!("vm1 {epoch}.")).unwrap_or(&text);
    let what = what.split_once(' ').map_or(what, |(_, what)| what);
    (record.body.kind() != "finding").then(|| what.to_owned())
}

#[tokio::test]
async fn commands_and_their_events_keep_their_order_across_a_restart_of_the_vm() {
    if crate::support::qemu::is_missing() {
        return;
    }
    let home = tempfile::tempdir().expect("a directory");
    let hub = Daemon::start(config(home.path(), &["vm1"])).await.expect("starts");
    let mut journal = Watcher::new(&hub);
    for epoch in 1..=2 {
        let qemu = Qemu::start(home.path());
        let record = loop {
            let record = journal.next().await;
            if record.body.kind() != "finding" {
                break record;
            }
        };
        let Body::Attached { snapshot } = &record.body else { panic!("attached: {record:?}") };
        let snapshot: Value = serde_json::from_str(snapshot).expect("JSON");
        assert_eq!(snapshot["query-status"]["status"], "prelaunch", "{snapshot}");
        assert_eq!((record.epoch.0, record.seq.0), (epoch, 0));

        // Since QEMU 6.0 the event of each of these commands comes before the reply.
        assert_eq!(events_of(home.path(), "cont").await, ["RESUME"]);
        assert_eq!(events_of(home.path(), "stop").await, ["STOP"]);
        assert_eq!(events_of(home.path(), "system_reset").await, ["RESET"]);
        let (status, answer) = execute(home.path(), "vm1", r#"{"execute": "no-such"}"#).await;
        assert_eq!((status, &answer["error"]["class"]), (200, &json!("CommandNotFound")));
        assert_eq!(events_of(home.path(), "quit").await, ["SHUTDOWN"]);
        assert!(qemu.ended());

        let mut seen = Vec::new();
        while seen.last().is_none_or(|last: &String| !last.starts_with("detached")) {
            // Without sequence numbers: the records of the commands come some time after their events.
            seen.extend(summary(&journal.next().await, epoch));
        }
        let reset = r#"RESET {"guest": false, "reason": "host-qmp-system-reset"}"#;
        let quit = r#"SHUTDOWN {"guest": false, "reason": "host-qmp-quit"}"#;
        assert_eq!(seen, ["RESUME", "STOP", reset, quit, "detached PeerClosed"]);
        let (_, vms) = get_json(home.path(), "/v1/vms").await;
        assert_eq!((&vms[0]["state"], &vms[0]["epoch"]), (&json!("detached"), &json!(epoch)));
    }
    hub.stop().await.expect("stops");
}
