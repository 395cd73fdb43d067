//! The program of `examples/finish_jobs.rs`, against monitors that fail in several ways and against an installed QEMU.

#![allow(clippy::unwrap_used, reason = "a failure is the end of a test")]

#[allow(dead_code, missing_docs, unreachable_pub, reason = "the example has a `main`, and is no library")]
#[path = "../examples/finish_jobs.rs"]
mod finish_jobs;
mod qemu;

use std::num::NonZeroU32;
use std::time::Duration;

use finish_jobs::finish_jobs;
use qemu::{Qemu, START_MAX, reach, unix};
use qmp_client::FollowConfig;
use qmp_testing::{MonitorSocket, Peer};
use serde_json::json;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// A follower that retries at once.
fn hurried() -> FollowConfig {
    let mut config = FollowConfig::default();
    config.retry.first = Duration::from_millis(1);
    config.retry.max = Some(Duration::from_millis(1));
    config
}

/// Negotiates, and replies to the snapshot's queries and to the program's first two.
async fn attach(peer: &mut Peer, jobs: &str) {
    peer.negotiate().await;
    peer.reply_with_state().await;
    peer.answer("query-status", r#"{"status": "running", "running": true}"#).await;
    peer.answer("query-jobs", jobs).await;
}

fn job(status: &str) -> String {
    json!([{"id": "job0", "type": "mirror", "status": status, "current-progress": 1, "total-progress": 2}])
        .to_string()
}

#[tokio::test]
async fn program_survives_failing_monitors_and_finishes_the_job() {
    let fake = MonitorSocket::listen();
    let mut config = hurried();
    config.retry.attempts_max = NonZeroU32::new(6);
    let path = fake.path().display().to_string();
    let (sender, mut lines) = unbounded_channel();
    let program = finish_jobs(fake.address(), config, |line| sender.send(line).unwrap());
    let server = async {
        fake.accept().await.say("login:").await;
        let mut peer = fake.accept().await;
        attach(&mut peer, &job("running")).await;
        peer.hear().await;
        peer.write(b"{\"return\": ").await;
        drop(peer);
        let mut peer = fake.accept().await;
        attach(&mut peer, &job("ready")).await;
        peer.answer("query-jobs", &job("ready")).await;
        peer.say(r#"{"event": "OF_TOMORROW"}"#).await;
        peer.answer("job-complete", "{}").await;
        for status in ["ready", "pending"] {
            peer.answer("query-jobs", &job(status)).await;
            let event = json!({"event": "JOB_STATUS_CHANGE", "data": {"id": "job0", "status": status}});
            peer.say(&event.to_string()).await;
        }
        peer.answer("job-finalize", "{}").await;
        peer.answer("query-jobs", &job("concluded")).await;
        peer.answer("job-dismiss", "{}").await;
        let mut reported = until(&mut lines, "job0: succeeded").await;
        drop(peer);
        drop(fake);
        reported.push("job0: succeeded".to_owned());
        reported
    };
    let ((), mut reported) = tokio::join!(program, server);
    while let Ok(line) = lines.try_recv() {
        reported.push(line);
    }
    let no_socket = "no socket PATH: is the VM running? its -qmp option names the path";
    let reported: Vec<String> = reported
        .iter()
        .map(|line| line.split("; retries in").next().unwrap().replace(&path, "PATH"))
        .collect();
    assert_eq!(
        reported,
        [
            "unix:PATH is not a QMP server: it begins with \"login:\\r\\n\"; a human monitor (-monitor) or a console is not a -qmp socket",
            "attached: running",
            "detached: the VM closed the connection in the middle of a message, after 10 bytes of it",
            "job0: no reply: the VM closed the connection in the middle of a message, after 10 bytes of it",
            "attached: running",
            "job0: succeeded",
            "detached: the VM closed the connection",
            no_socket,
            no_socket,
            no_socket,
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn program_survives_a_monitor_that_does_not_reply() {
    let fake = MonitorSocket::listen();
    let (sender, mut lines) = unbounded_channel();
    let program = finish_jobs(fake.address(), hurried(), |line| sender.send(line).unwrap());
    let server = async {
        let mut peer = fake.accept().await;
        attach(&mut peer, &job("running")).await;
        peer.hear().await;
        until(&mut lines, "job0: no reply within 30s; the command may still take effect").await;
        peer.say(r#"{"event": "JOB_STATUS_CHANGE", "data": {"id": "job0", "status": "concluded"}}"#).await;
        peer.answer("query-jobs", &job("concluded")).await;
        peer.answer("job-dismiss", "{}").await;
        until(&mut lines, "job0: succeeded").await;
        peer.say(r#"{"event": "JOB_STATUS_CHANGE", "data": {"id": "job0", "status": "created"}}"#).await;
        peer.answer("query-jobs", "[]").await;
        let line = "job0: not listed any more: it ended before the first query, or the VM was restarted";
        until(&mut lines, line).await;
    };
    tokio::select! {
        () = program => unreachable!("it follows for ever"),
        () = server => {}
    }
}

/// Waits until the program reports `line`; returns what it reports before.
async fn until(lines: &mut UnboundedReceiver<String>, line: &str) -> Vec<String> {
    let found = async {
        let mut before = Vec::new();
        loop {
            match lines.recv().await.unwrap() {
                found if found == line => break before,
                other => before.push(other),
            }
        }
    };
    tokio::time::timeout(START_MAX, found).await.unwrap_or_else(|_| panic!("no {line:?}"))
}

#[tokio::test]
async fn program_finishes_jobs_of_qemu_across_its_restart() {
    let directory = tempfile::tempdir().unwrap();
    let (sender, mut lines) = unbounded_channel();
    let address = unix(directory.path().join("watched"), false);
    let program = tokio::spawn(finish_jobs(address, hurried(), move |line| sender.send(line).unwrap()));
    let arguments = [
        "-qmp",
        "unix:watched,server=on,wait=off",
        "-qmp",
        "unix:qmp,server=on,wait=off",
        "-blockdev",
        "driver=null-co,node-name=source,size=65536",
        "-blockdev",
        "driver=null-co,node-name=target,size=65536",
    ];
    for _ in 0..2 {
        let Some(_qemu) = Qemu::start(directory.path(), &arguments) else { return };
        let (monitor, _events) = reach(&unix(directory.path().join("qmp"), false)).await;
        until(&mut lines, "attached: prelaunch").await;
        let mirror = json!({
            "job-id": "mirror0", "device": "source", "target": "target", "sync": "full", "auto-finalize": false,
            "auto-dismiss": false
        });
        monitor.execute("blockdev-mirror", mirror).await.unwrap();
        assert_eq!(until(&mut lines, "mirror0: succeeded").await, [""; 0]);
        let image = json!({"driver": "file", "filename": "no/such/directory/image", "size": 65536});
        monitor.execute("blockdev-create", json!({"job-id": "create0", "options": image})).await.unwrap();
        let failed = lines.recv().await.unwrap();
        assert!(failed.starts_with("create0: failed: "), "{failed}");
        monitor.execute("quit", ()).await.unwrap();
        until(&mut lines, "the VM shuts down: host-qmp-quit").await;
        until(&mut lines, "detached: the VM closed the connection").await;
    }
    program.abort();
}
