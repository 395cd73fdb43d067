//! A hub with a low limit of open files.

mod support;

use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};

use qmp_testing::MonitorThread;
use serde_json::Value;
use support::{Process, directory, lines, qmp, run};

/// The limit of open files of the hub, and the VMs that it must follow.
const FILES: usize = 64;
const VMS: usize = 60;

/// VMs that fit beside the reserved files.
const VMS_FITTING: usize = 24;

/// Connections of a client that asks for all events and does not read.
const CONNECTIONS: usize = 200;

/// The same command, with a limit of open files that cannot be raised.
fn limited(command: &Command) -> Command {
    let mut limited = Command::new("prlimit");
    limited.arg(format!("--nofile={FILES}:{FILES}")).arg(command.get_program()).args(command.get_args());
    limited.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => limited.env(name, value),
            None => limited.env_remove(name),
        };
    }
    limited
}

fn statuses(home: &Path) -> Vec<Value> {
    let ran = run(home, &["status", "--json"]);
    assert_eq!(ran.code, Some(0), "the hub answers: {ran:?}");
    ran.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// Starts a hub that may open [`FILES`] files and is to follow [`VMS`] VMs, and waits until those that fit are attached.
fn start_limited(home: &Path, more: &[&str]) -> Process {
    let mut arguments = vec!["serve".to_owned()];
    arguments.extend(more.iter().map(ToString::to_string));
    for number in 0..VMS {
        let vm = MonitorThread::start(home.join(format!("vm{number}.sock")));
        arguments.extend(["--attach".to_owned(), format!("vm{number}={}", vm.address())]);
    }
    let mut child = limited(&qmp(home, &arguments)).spawn().expect("prlimit runs");
    let (stdout, stderr) =
        (lines(child.stdout.take().expect("a pipe")), lines(child.stderr.take().expect("a pipe")));
    let hub = Process::of(child, stdout, stderr);
    hub.wait_for("raise the limit with `ulimit -n` or LimitNOFILE=");
    hub.wait_for("open files for monitors are in use");
    while attached(&statuses(home)) < VMS_FITTING {}
    hub
}

fn attached(vms: &[Value]) -> usize {
    vms.iter().filter(|vm| vm["state"] == "attached").count()
}

#[test]
fn hub_with_few_descriptors_prefers_monitors_to_relays() {
    let home = directory();
    let relays = home.path().join("relays");
    let hub = start_limited(home.path(), &["--relay", relays.to_str().expect("UTF-8")]);
    let vms = statuses(home.path());
    assert_eq!((vms.len(), attached(&vms)), (VMS, VMS_FITTING));
    assert_eq!(std::fs::read_dir(&relays).map_or(0, Iterator::count), 0, "no relay is served");
    assert_eq!(hub.interrupt(), Some(0));
}

#[test]
fn hub_with_few_descriptors_answers_and_reports_vms_that_do_not_fit() {
    let home = directory();
    let hub = start_limited(home.path(), &[]);
    let vms = statuses(home.path());
    assert_eq!((vms.len(), attached(&vms)), (VMS, VMS_FITTING));
    let error = |vm: &Value| vm["error"].as_str().unwrap_or_default().to_owned();
    let left_out = vms.iter().filter(|vm| error(vm).contains("LimitNOFILE=")).count();
    assert!(left_out > 0, "{vms:?}");

    let socket = home.path().join("hub.sock");
    let connections: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            let mut connection = UnixStream::connect(&socket).expect("the queue of the socket has room");
            connection.write_all(b"GET /v1/events HTTP/1.1\r\nhost: localhost\r\n\r\n").expect("sends");
            connection
        })
        .collect();
    assert_eq!(statuses(home.path()).len(), VMS, "HTTP answers");
    drop(connections);
    assert_eq!(hub.interrupt(), Some(0));
}
