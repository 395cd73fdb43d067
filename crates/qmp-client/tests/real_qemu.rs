//! Tests with an installed QEMU. Without one they are skipped and print so; if `CI` is set they fail.

#![allow(clippy::unwrap_used, reason = "a failure is the end of a test")]

mod fake;
mod qemu;

use std::io::Read;
use std::os::fd::OwnedFd;
use std::time::Duration;

use fake::{line_of_item, line_of_step, next_line};
use qemu::{Qemu, START_MAX, reach, unix};
use qmp_client::{
    ConnectConfig, ConnectError, ExecuteError, FollowConfig, FollowEvent, connect, connect_with, follow,
};
use serde_json::{Value, json};

#[tokio::test]
async fn events_precede_the_reply_to_their_command() {
    let directory = tempfile::tempdir().unwrap();
    let Some(_qemu) = Qemu::start(directory.path(), &["-qmp", "unix:qmp,server=on,wait=off"]) else { return };
    let (monitor, mut events) = reach(&unix(directory.path().join("qmp"), false)).await;
    assert_eq!(monitor.greeting().version.map(|version| version.major > 0), Some(true));
    for _ in 0..100 {
        monitor.execute("cont", ()).await.unwrap();
        assert_eq!(events.try_next().map(line_of_item).as_deref(), Some("RESUME"));
        monitor.execute("stop", ()).await.unwrap();
        assert_eq!(events.try_next().map(line_of_item).as_deref(), Some("STOP"));
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
async fn out_of_band_command_is_answered() {
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
async fn passed_descriptors_are_used_by_qemu() {
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
    // Only QEMU holds the writing ends. It closes each one when its set is removed, while the machine runs.
    monitor.execute("cont", ()).await.unwrap();
    for (number, mut read) in pipes.into_iter().enumerate() {
        monitor.execute("remove-fd", json!({"fdset-id": number})).await.unwrap();
        let ended = tokio::task::spawn_blocking(move || read.read(&mut [0]).unwrap()).await.unwrap();
        assert_eq!(ended, 0, "pipe {number}");
    }
}

#[tokio::test]
async fn path_longer_than_socket_address_is_dialled() {
    let directory = tempfile::tempdir().unwrap();
    let deep = directory.path().join("d".repeat(120));
    std::fs::create_dir(&deep).unwrap();
    let Some(_qemu) = Qemu::start(&deep, &["-qmp", "unix:qmp,server=on,wait=off"]) else { return };
    let (monitor, _events) = reach(&unix(deep.join("qmp"), false)).await;
    monitor.execute("query-status", ()).await.unwrap();
}

#[tokio::test]
async fn monitor_in_use_sends_greeting_only_when_free() {
    let directory = tempfile::tempdir().unwrap();
    let Some(_qemu) = Qemu::start(directory.path(), &["-qmp", "unix:qmp,server=on,wait=off"]) else { return };
    let address = unix(directory.path().join("qmp"), false);
    let (monitor, events) = reach(&address).await;
    let mut hurried = ConnectConfig::default();
    hurried.negotiation_timeout = Duration::from_millis(300);
    let error = connect_with(&address, &hurried).await.unwrap_err();
    assert!(matches!(error, ConnectError::NoGreeting { .. }), "{error:?}");
    drop((monitor, events));
    let (monitor, _events) = connect(&address).await.unwrap();
    monitor.execute("query-status", ()).await.unwrap();
}

#[tokio::test]
async fn killed_qemu_ends_stream_and_commands() {
    let directory = tempfile::tempdir().unwrap();
    let Some(mut qemu) = Qemu::start(directory.path(), &["-qmp", "unix:qmp,server=on,wait=off"]) else {
        return;
    };
    let (monitor, mut events) = reach(&unix(directory.path().join("qmp"), false)).await;
    qemu.process.kill().unwrap();
    assert_eq!(next_line(&mut events).await, "ended: the VM closed the connection");
    assert!(matches!(monitor.execute("query-status", ()).await, Err(ExecuteError::Closed { .. })));
}

#[tokio::test]
async fn follower_reports_end_of_qemu_and_its_restart() {
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
        lines.push(line_of_step(follow.next().await));
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
async fn qemu_that_dials_in_is_followed_across_reconnects() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("hub");
    let address = unix(path, true);
    let arguments = ["-chardev", "socket,id=m,path=hub,reconnect=1", "-mon", "chardev=m,mode=control"];
    let Some(_qemu) = Qemu::start(directory.path(), &arguments) else { return };
    for _ in 0..2 {
        // The second follower plays a hub that was restarted.
        let mut follow = follow(address.clone(), FollowConfig::default());
        let commander = follow.commander();
        attached(&mut follow).await;
        let cont = tokio::spawn(async move {
            commander.execute_raw("cont", None).await?;
            commander.execute_raw("stop", None).await
        });
        for expected in ["events RESUME", "reply", "events STOP", "reply"] {
            assert_eq!(line_of_step(follow.next().await), expected);
        }
        cont.await.unwrap().unwrap();
    }
}

/// Drives the follower until an epoch opens; returns the snapshot.
async fn attached(follow: &mut qmp_client::Follow) -> Value {
    let attached = async {
        loop {
            if let FollowEvent::Attached { snapshot, .. } = follow.next().await {
                break serde_json::from_str(snapshot).unwrap();
            }
        }
    };
    tokio::time::timeout(START_MAX, attached).await.expect("QEMU is attached")
}
