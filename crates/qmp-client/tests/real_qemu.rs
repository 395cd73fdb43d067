//! Against the QEMU of this machine. Without one the tests are skipped and say so; where `CI` is set they fail.

#![allow(clippy::unwrap_used, reason = "a failure is the end of a test")]

mod fake;

use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use fake::{tell, tell_followed, told};
use qmp_client::{
    Address, ConnectConfig, ConnectError, ExecuteError, FollowConfig, Followed, connect, connect_with, follow,
};
use serde_json::{Value, json};

/// How long a QEMU may take to start on a machine that is busy.
const START_MAX: Duration = Duration::from_secs(60);

/// A QEMU without a guest, ended with the test.
struct Qemu {
    process: Child,
}

impl Qemu {
    fn start(directory: &Path, arguments: &[&str]) -> Option<Self> {
        let process = Command::new("qemu-system-x86_64")
            .args(["-nodefaults", "-display", "none", "-machine", "none", "-S"])
            .args(arguments)
            .current_dir(directory)
            .stdin(Stdio::null())
            .spawn();
        match process {
            Ok(process) => Some(Self { process }),
            Err(error) if std::env::var_os("CI").is_none() => {
                println!("skipped: cannot start qemu-system-x86_64: {error}");
                None
            }
            Err(error) => panic!("cannot start qemu-system-x86_64: {error}"),
        }
    }
}

impl Drop for Qemu {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn unix(path: PathBuf, listen: bool) -> Address {
    Address::Unix { path, listen }
}

/// Connects as soon as the QEMU listens.
async fn reach(address: &Address) -> (qmp_client::Monitor, qmp_client::Events) {
    let reached = async {
        loop {
            match connect(address).await {
                Ok(connected) => break connected,
                Err(ConnectError::NoSuchSocket { .. } | ConnectError::Refused { .. }) => {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                Err(error) => panic!("{error}"),
            }
        }
    };
    tokio::time::timeout(START_MAX, reached).await.expect("QEMU listens")
}

#[tokio::test]
async fn events_stand_before_the_reply_that_they_precede() {
    let directory = tempfile::tempdir().unwrap();
    let Some(_qemu) = Qemu::start(directory.path(), &["-qmp", "unix:qmp,server=on,wait=off"]) else { return };
    let (monitor, mut events) = reach(&unix(directory.path().join("qmp"), false)).await;
    assert_eq!(monitor.greeting().version.map(|version| version.major > 0), Some(true));
    for _ in 0..100 {
        monitor.execute("cont", ()).await.unwrap();
        assert_eq!(events.try_next().map(tell).as_deref(), Some("RESUME"));
        monitor.execute("stop", ()).await.unwrap();
        assert_eq!(events.try_next().map(tell).as_deref(), Some("STOP"));
        assert!(events.try_next().is_none());
    }
    let status: Value = monitor.execute_as("query-status", ()).await.unwrap();
    assert_eq!(status["status"], "paused");
    let error = monitor.execute("device_del", json!({"id": "nope"})).await.unwrap_err();
    assert!(
        matches!(&error, ExecuteError::Refused(refused) if &*refused.class == "DeviceNotFound"),
        "{error:?}"
    );
    let schema = monitor.execute("query-qmp-schema", ()).await.unwrap();
    assert!(schema.get().len() > 100_000);
}

#[tokio::test]
async fn out_of_band_commands_are_answered() {
    let directory = tempfile::tempdir().unwrap();
    let Some(_qemu) = Qemu::start(directory.path(), &["-qmp", "unix:qmp,server=on,wait=off"]) else { return };
    let (monitor, _events) = reach(&unix(directory.path().join("qmp"), false)).await;
    assert!(monitor.out_of_band());
    let yankable = monitor.execute_raw("query-yank", None).await.unwrap();
    assert_eq!(*monitor.commander().execute_raw_out_of_band("query-yank", None).await.unwrap(), *yankable);
    let error = monitor.commander().execute_raw_out_of_band("stop", None).await.unwrap_err();
    assert_eq!(error.to_string(), "GenericError: The command stop does not support OOB");
}

#[tokio::test]
async fn descriptors_are_passed() {
    let directory = tempfile::tempdir().unwrap();
    let Some(_qemu) = Qemu::start(directory.path(), &["-qmp", "unix:qmp,server=on,wait=off"]) else { return };
    let (monitor, _events) = reach(&unix(directory.path().join("qmp"), false)).await;
    let calls: Vec<_> = (0..8)
        .map(|number| {
            let commander = monitor.commander().clone();
            let (read, write) = std::io::pipe().unwrap();
            let arguments = json!({"fdset-id": number, "opaque": format!("pipe {number}")}).to_string();
            let call = tokio::spawn(async move {
                commander
                    .execute_with_descriptors("add-fd", Some(&arguments), vec![OwnedFd::from(write)])
                    .await
            });
            (read, call)
        })
        .collect();
    let mut pipes = Vec::new();
    for (read, call) in calls {
        call.await.unwrap().unwrap();
        pipes.push(read);
    }
    let sets: Vec<Value> = monitor.execute_as("query-fdsets", ()).await.unwrap();
    assert_eq!(sets.len(), 8);
    let named = std::fs::File::open("/dev/null").unwrap();
    let arguments = json!({"fdname": "null"}).to_string();
    monitor
        .commander()
        .execute_with_descriptors("getfd", Some(&arguments), vec![named.into()])
        .await
        .unwrap();
    monitor.execute("closefd", json!({"fdname": "null"})).await.unwrap();
    // Each pipe ends when its own set is removed: QEMU had the writing end, and this side none. QEMU closes them while
    // the machine runs.
    monitor.execute("cont", ()).await.unwrap();
    for (number, mut read) in pipes.into_iter().enumerate() {
        monitor.execute("remove-fd", json!({"fdset-id": number})).await.unwrap();
        let ended = tokio::task::spawn_blocking(move || read.read(&mut [0]).unwrap()).await.unwrap();
        assert_eq!(ended, 0, "pipe {number}");
    }
}

#[tokio::test]
async fn a_long_path_is_reached() {
    let directory = tempfile::tempdir().unwrap();
    let deep = directory.path().join("d".repeat(120));
    std::fs::create_dir(&deep).unwrap();
    let Some(_qemu) = Qemu::start(&deep, &["-qmp", "unix:qmp,server=on,wait=off"]) else { return };
    let (monitor, _events) = reach(&unix(deep.join("qmp"), false)).await;
    monitor.execute("query-status", ()).await.unwrap();
}

#[tokio::test]
async fn a_taken_monitor_gives_no_greeting_until_it_is_free() {
    let directory = tempfile::tempdir().unwrap();
    let Some(_qemu) = Qemu::start(directory.path(), &["-qmp", "unix:qmp,server=on,wait=off"]) else { return };
    let address = unix(directory.path().join("qmp"), false);
    let (monitor, events) = reach(&address).await;
    let hurried =
        ConnectConfig { negotiation_timeout: Duration::from_millis(300), ..ConnectConfig::default() };
    let error = connect_with(&address, &hurried).await.unwrap_err();
    assert!(matches!(error, ConnectError::NoGreeting { .. }), "{error:?}");
    drop((monitor, events));
    let (monitor, _events) = connect(&address).await.unwrap();
    monitor.execute("query-status", ()).await.unwrap();
}

#[tokio::test]
async fn a_killed_qemu_ends_stream_and_commands() {
    let directory = tempfile::tempdir().unwrap();
    let Some(mut qemu) = Qemu::start(directory.path(), &["-qmp", "unix:qmp,server=on,wait=off"]) else {
        return;
    };
    let (monitor, mut events) = reach(&unix(directory.path().join("qmp"), false)).await;
    qemu.process.kill().unwrap();
    assert_eq!(told(&mut events).await, "ended: the VM closed the connection");
    assert!(matches!(monitor.execute("query-status", ()).await, Err(ExecuteError::Gone { .. })));
}

#[tokio::test]
async fn a_followed_vm_shows_its_end_and_its_next_start() {
    let directory = tempfile::tempdir().unwrap();
    let arguments = ["-qmp", "unix:qmp,server=on,wait=off", "-name", "vm1"];
    let Some(qemu) = Qemu::start(directory.path(), &arguments) else { return };
    let mut follow = follow(unix(directory.path().join("qmp"), false), FollowConfig::default());
    let commander = follow.commander();
    let snapshot = attached(&mut follow).await;
    assert_eq!(snapshot["query-name"]["name"], "vm1");
    assert_eq!(snapshot["query-status"]["status"], "prelaunch");
    for query in ["greeting", "query-uuid", "query-version", "query-jobs", "query-migrate"] {
        assert!(!snapshot[query].is_null(), "{query}: {snapshot}");
    }
    assert!(snapshot["errors"].is_null(), "{snapshot}");

    let quit = tokio::spawn(async move { commander.execute_raw("quit", None).await });
    let mut lines = Vec::new();
    loop {
        lines.push(tell_followed(follow.next().await));
        if lines.last().is_some_and(|line| line.starts_with("detached")) {
            break;
        }
    }
    assert_eq!(lines, ["events SHUTDOWN", "reply", "detached PeerClosed: the VM closed the connection"]);
    assert_eq!(&*quit.await.unwrap().unwrap(), "{}");

    drop(qemu);
    let Some(_qemu) = Qemu::start(directory.path(), &arguments) else { return };
    attached(&mut follow).await;
}

#[tokio::test]
async fn a_qemu_that_dials_in_is_followed_through_reconnects() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("hub");
    let address = unix(path, true);
    let arguments = ["-chardev", "socket,id=m,path=hub,reconnect=1", "-mon", "chardev=m,mode=control"];
    let Some(_qemu) = Qemu::start(directory.path(), &arguments) else { return };
    for _ in 0..2 {
        // The second one stands for a hub that was started again.
        let mut follow = follow(address.clone(), FollowConfig::default());
        let commander = follow.commander();
        attached(&mut follow).await;
        let cont = tokio::spawn(async move {
            commander.execute_raw("cont", None).await?;
            commander.execute_raw("stop", None).await
        });
        for expected in ["events RESUME", "reply", "events STOP", "reply"] {
            assert_eq!(tell_followed(follow.next().await), expected);
        }
        cont.await.unwrap().unwrap();
    }
}

/// Goes on until an epoch opens; gives its snapshot.
async fn attached(follow: &mut qmp_client::Follow) -> Value {
    let attached = async {
        loop {
            if let Followed::Attached { snapshot, .. } = follow.next().await {
                break serde_json::from_str(snapshot).unwrap();
            }
        }
    };
    tokio::time::timeout(START_MAX, attached).await.expect("QEMU is attached")
}
