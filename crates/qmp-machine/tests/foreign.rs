//! Third-party clients drive the machine through a session: start, pause, resume, hot-unplug, a mirror job to
//! completion, reset, shutdown.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::{
    io::Write,
    path::PathBuf,
    process::{Command, Stdio},
};

use futures_util::StreamExt as _;
use qapi::{futures::QmpStreamTokio, qmp};
use qmp_machine::{Action, Machine, MachineClock, MachineConfig, RunningMachine};
use qmp_server::Listener;

/// The session as a client sees it, one message per line.
const SESSION: &str = "\
running
paused
STOP 
RESUME 
DEVICE_DELETED /machine/peripheral/net0/virtio-backend
DEVICE_DELETED /machine/peripheral/net0
JOB_STATUS_CHANGE created
JOB_STATUS_CHANGE running
JOB_STATUS_CHANGE ready
BLOCK_JOB_READY 
JOB_STATUS_CHANGE waiting
JOB_STATUS_CHANGE pending
BLOCK_JOB_COMPLETED 
JOB_STATUS_CHANGE concluded
JOB_STATUS_CHANGE null
RESET host-qmp-system-reset
POWERDOWN 
SHUTDOWN guest-shutdown
done
";

/// A machine on a socket, on the clock of the host, with a disk whose mirror job takes a tenth of a second.
struct ServedMachine {
    running: RunningMachine,
    directory: tempfile::TempDir,
}

impl ServedMachine {
    fn start() -> Self {
        let disk = |name: &str| Action::new("blockdev-add").with("driver", "null-co").with("node-name", name);
        let mut config = MachineConfig::default()
            .with_release(qmp_events::Release::stable(7, 2, 22))
            .with_clock(MachineClock::Host);
        config.devices[0] = disk("disk0-node").with("size", 100 << 20);
        let running = Machine::start(config).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let served = Self { running, directory };
        served.running.listen(Listener::unix(served.path()).unwrap()).unwrap();
        served
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("monitor")
    }
}

#[test]
fn qapi_client_runs_a_session() {
    let served = ServedMachine::start();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let stream = QmpStreamTokio::open_uds(served.path()).await.unwrap();
        let (service, events) = stream.negotiate().await.unwrap().into_parts();
        let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
        tokio::spawn(async move {
            let mut events = std::pin::pin!(events);
            while let Some(Ok(event)) = events.next().await {
                sender.send(event).unwrap();
            }
        });
        assert_eq!(service.execute(qmp::query_status {}).await.unwrap().status, qmp::RunState::running);
        service.execute(qmp::stop {}).await.unwrap();
        service.execute(qmp::cont {}).await.unwrap();
        service.execute(qmp::device_del { id: "net0".into() }).await.unwrap();
        let mut received = Vec::new();
        while received.len() < 4 {
            received.push(receiver.recv().await.unwrap());
        }
        assert!(matches!(
            received[..],
            [
                qmp::Event::STOP { .. },
                qmp::Event::RESUME { .. },
                qmp::Event::DEVICE_DELETED { .. },
                qmp::Event::DEVICE_DELETED { .. }
            ]
        ));
        let copy = serde_json::json!({"driver": "null-co", "node-name": "copy"});
        let copy: qmp::BlockdevOptions = serde_json::from_value(copy).unwrap();
        service.execute(qmp::blockdev_add(copy)).await.unwrap();
        service.execute(mirror("disk0-node", "copy")).await.unwrap();
        until(&mut receiver, |event| matches!(event, qmp::Event::BLOCK_JOB_READY { .. })).await;
        service.execute(qmp::block_job_complete { device: "m".into() }).await.unwrap();
        until(&mut receiver, |event| matches!(event, qmp::Event::BLOCK_JOB_COMPLETED { .. })).await;
        service.execute(qmp::system_reset {}).await.unwrap();
        until(&mut receiver, |event| matches!(event, qmp::Event::RESET { .. })).await;
        service.execute(qmp::system_powerdown {}).await.unwrap();
        assert!(matches!(receiver.recv().await.unwrap(), qmp::Event::POWERDOWN { .. }));
        assert!(matches!(receiver.recv().await.unwrap(), qmp::Event::SHUTDOWN { .. }));
    });
    drop(runtime);
    assert_eq!(served.running.wait().unwrap(), 0);
}

/// Receives events up to the wanted one.
async fn until(
    receiver: &mut tokio::sync::mpsc::UnboundedReceiver<qmp::Event>,
    is_wanted: impl Fn(&qmp::Event) -> bool,
) {
    while !is_wanted(&receiver.recv().await.expect("the event comes before the end")) {}
}

/// A job `m` that copies all of a node.
fn mirror(device: &str, target: &str) -> qmp::blockdev_mirror {
    let job = serde_json::json!({"job-id": "m", "device": device, "target": target, "sync": "full"});
    serde_json::from_value(job).expect("qapi knows these arguments")
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
            let is_ci = std::env::var_os("CI").is_some();
            assert!(!is_ci, "{} failed: {outcome:?}", script.display());
            eprintln!("skipped: {} failed", script.display());
            None
        }
    }
}

#[test]
fn python_client_runs_a_session() {
    let Some(python) = python() else { return };
    let served = ServedMachine::start();
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/foreign/life.py");
    let output = Command::new(&python).arg(script).arg(served.path()).output().unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{printed}\n{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(printed, SESSION);
    assert_eq!(served.running.wait().unwrap(), 0);
}

#[test]
fn qmp_shell_runs_a_session() {
    let Some(python) = python() else { return };
    let served = ServedMachine::start();
    let mut shell = Command::new(python.with_file_name("qmp-shell"))
        .arg(served.path())
        .env("HOME", served.directory.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = "stop\ncont\ndevice_del id=tablet0\nblockdev-add driver=null-co node-name=a size=1048576\n\
                 blockdev-add driver=null-co node-name=b size=1048576\nblockdev-mirror job-id=m device=a target=b sync=full\n\
                 block-job-complete device=m\nsystem_reset\nquery-jobs\n\nquit\n";
    shell.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    let output = shell.wait_with_output().unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    for part in [
        "Connected to QEMU 7.2.22",
        "STOP",
        "RESUME",
        "DEVICE_DELETED",
        "BLOCK_JOB_READY",
        "BLOCK_JOB_COMPLETED",
        "RESET",
    ] {
        assert!(
            printed.contains(part),
            "{part} is not in: {printed}\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    assert_eq!(served.running.wait().unwrap(), 0);
}
