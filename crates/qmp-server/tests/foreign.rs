//! Third-party clients: Python's `qemu.qmp` with `qmp-shell`, and the Rust crate `qapi`.
#![allow(clippy::unwrap_used, reason = "a test or a bench")]

mod support;

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use futures_util::StreamExt as _;
use qapi::{futures::QmpStreamTokio, qmp};
use qmp_server::{Listener, MonitorThread};
use support::{machine, qemu::is_ci};

/// A machine of the release that qemu.qmp and qapi support best, on a socket.
fn serve(path: &Path) -> MonitorThread {
    let mut monitor = machine::monitor((7, 2, 22), "");
    monitor.listen(Listener::unix(path).unwrap()).unwrap();
    monitor.spawn().unwrap()
}

#[test]
fn qapi_connects_executes_and_receives_events() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("monitor");
    let monitor = serve(&path);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let events = runtime.block_on(async {
        let stream = QmpStreamTokio::open_uds(&path).await.unwrap();
        assert_eq!(stream.capabilities.QMP.version.qemu.major, 7);
        let (service, events) = stream.negotiate().await.unwrap().into_parts();
        // `qapi` reads in its own task and passes events on.
        let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
        let reading = tokio::spawn(async move {
            let mut events = std::pin::pin!(events);
            while let Some(event) = events.next().await {
                sender.send(event.unwrap()).unwrap();
            }
        });
        let status = service.execute(qmp::query_status {}).await.unwrap();
        assert_eq!(status.status, qmp::RunState::prelaunch);
        service.execute(qmp::cont {}).await.unwrap();
        service.execute(qmp::system_reset {}).await.unwrap();
        service.execute(qmp::stop {}).await.unwrap();
        let missing = service.execute(qmp::query_balloon {}).await;
        assert!(missing.unwrap_err().to_string().contains("No balloon device has been activated"));
        let mut events = Vec::new();
        for _ in 0..3 {
            events.push(receiver.recv().await.unwrap());
        }
        reading.abort();
        events
    });
    assert!(matches!(
        events[..],
        [qmp::Event::RESUME { .. }, qmp::Event::RESET { .. }, qmp::Event::STOP { .. }]
    ));
    drop(runtime);
    monitor.stop().unwrap();
}

/// Returns the Python with qemu.qmp; prints a notice and returns `None` where it cannot be installed and the test
/// may be skipped.
fn python() -> Option<PathBuf> {
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../scripts/foreign-clients");
    match Command::new(&script).output() {
        Ok(output) if output.status.success() => {
            Some(String::from_utf8(output.stdout).unwrap().trim().into())
        }
        outcome => {
            assert!(!is_ci(), "{} failed: {outcome:?}", script.display());
            eprintln!("skipped: {} failed", script.display());
            None
        }
    }
}

#[test]
fn python_connects_executes_and_receives_events() {
    let Some(python) = python() else { return };
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("monitor");
    let monitor = serve(&path);
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/foreign/client.py");
    let output = Command::new(&python).arg(script).arg(&path).output().unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{printed}\n{}", String::from_utf8_lossy(&output.stderr));
    let expected = "prelaunch\nRESUME\nRESET host-qmp-system-reset\nSTOP\nDeviceNotFound Device 'nope' not found\n\
                    GenericError Parameter 'id' is missing\nnone\ndone\n";
    assert_eq!(printed, expected);
    let patience = std::time::Instant::now() + Duration::from_secs(10);
    while monitor.stats().connections > 0 && std::time::Instant::now() < patience {
        std::thread::yield_now();
    }
    assert_eq!(monitor.stats().connections, 0, "it disconnected");
    monitor.stop().unwrap();
}

#[test]
fn qmp_shell_runs_commands() {
    let Some(python) = python() else { return };
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("monitor");
    let monitor = serve(&path);
    let mut shell = Command::new(python.with_file_name("qmp-shell"))
        .arg(&path)
        .env("HOME", directory.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // An empty line prints the received events.
    let lines = "query-status\ncont\n\ndevice_del id=nope\nstop\n";
    shell.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    let output = shell.wait_with_output().unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    for part in ["Connected to QEMU 7.2.22", r#""status": "prelaunch""#, "RESUME", "Device 'nope' not found"]
    {
        assert!(
            printed.contains(part),
            "{part} is not in: {printed}\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    monitor.stop().unwrap();
}
