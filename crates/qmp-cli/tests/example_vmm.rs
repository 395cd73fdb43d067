//! The example VMM of `qmp-server`: `qmp-shell`, the crate `qapi` and `qmp check` at its two sockets at the same time.
#![allow(clippy::unwrap_used, reason = "a failure is the end of a test")]

mod support;
#[allow(dead_code, missing_docs, unreachable_pub, reason = "the example has a `main`, and is no library")]
#[path = "../../qmp-server/examples/tiny_vmm.rs"]
mod tiny_vmm;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use futures_util::StreamExt as _;
use qapi::futures::{QapiService, QmpStreamTokio};
use qapi::qmp;
use support::{Lines, Process, directory, line_with, lines, run, run_with_input};
use tokio::io::WriteHalf;
use tokio::net::UnixStream;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// A running `qmp-shell`.
struct Shell {
    child: Child,
    output: Lines,
}

impl Shell {
    fn start(python: &Path, home: &Path, socket: &Path) -> Self {
        let mut child = Command::new(python.with_file_name("qmp-shell"))
            .arg(socket)
            .env("HOME", home)
            .env("PYTHONUNBUFFERED", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = lines(child.stdout.take().unwrap());
        line_with(&output, "Connected to QEMU 11.1.3");
        Self { child, output }
    }

    /// Types a line; an empty one prints the events. Waits for `part` in the output.
    fn ask(&mut self, line: &str, part: &str) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{line}").unwrap();
        line_with(&self.output, part);
    }

    /// Closes its input.
    fn leave(mut self) {
        drop(self.child.stdin.take());
        assert!(self.child.wait().unwrap().success());
    }
}

/// A client made with `qapi`. It reads in a task of its own.
struct Qapi {
    service: QapiService<QmpStreamTokio<WriteHalf<UnixStream>>>,
    events: UnboundedReceiver<qmp::Event>,
}

impl Qapi {
    async fn connect(socket: &Path) -> Self {
        let stream = QmpStreamTokio::open_uds(socket).await.unwrap();
        let (service, events) = stream.negotiate().await.unwrap().into_parts();
        let (sender, receiver) = unbounded_channel();
        tokio::spawn(async move {
            let mut events = std::pin::pin!(events);
            while let Some(event) = events.next().await {
                let _ = sender.send(event.unwrap());
            }
        });
        Self { service, events: receiver }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn foreign_clients_at_both_sockets_find_no_fault() {
    let Some(python) = python() else { return };
    let home = directory();
    let home = home.path();
    let [first, second] = ["first", "second"].map(|name| home.join(name));
    let options = [&first, &second].map(|path| format!("unix:{},server=on,wait=off", path.display()));
    let vmm = std::thread::spawn(move || tiny_vmm::serve(&options));
    let capture = Process::start(home, &["tail", second.to_str().unwrap(), "--json", "--exit"]);
    let mut captured = vec![line_with(&capture.stdout, "\"attached\"")];

    let mut shell = Shell::start(&python, home, &first);
    let mut qapi = Qapi::connect(&second).await;
    check_schema(home, &second);
    shell.ask("query-status", "running");
    qapi.service.execute(qmp::stop {}).await.unwrap();
    assert!(matches!(qapi.events.recv().await, Some(qmp::Event::STOP { .. })));
    shell.ask("x-panic", "The command x-panic panicked");
    shell.ask("cont", "return");
    assert!(matches!(qapi.events.recv().await, Some(qmp::Event::RESUME { .. })));
    let status = qapi.service.execute(qmp::query_status {}).await.unwrap();
    assert_eq!(status.status, qmp::RunState::running);
    // qapi closes the connection on an event that it does not know, such as the VMM's own.
    drop(qapi);
    shell.ask("x-storm count=50", "return");
    shell.ask("", "__org.example_LEVEL");
    shell.leave();

    check_schema(home, &first);
    let mut qapi = Qapi::connect(&first).await;
    let mut shell = Shell::start(&python, home, &second);
    shell.ask("stop", "return");
    while !matches!(qapi.events.recv().await.unwrap(), qmp::Event::STOP { .. }) {}
    shell.ask("query-status", "paused");
    qapi.service.execute(qmp::quit {}).await.unwrap();
    shell.leave();
    vmm.join().unwrap().unwrap();

    captured.extend(capture.stdout.iter());
    let checked = run_with_input(home, &["check", "-"], &captured.join("\n"));
    assert_eq!(checked.code, Some(0), "{checked:?}");
    // STOP, RESUME, STOP, SHUTDOWN, 50 of the VMM's own, the first and the last RTC_CHANGE of the storm.
    assert_eq!(checked.stderr, "56 events checked: no violation\n");
}

/// `qmp check` finds no violation in the schema of the monitor.
fn check_schema(home: &Path, socket: &Path) {
    let checked = run(home, &["check", socket.to_str().unwrap()]);
    assert_eq!((checked.code, &*checked.stdout), (Some(0), ""), "{checked:?}");
}

/// Returns the Python with qemu.qmp; prints a note and returns `None` where it cannot be installed and the test may be
/// skipped.
fn python() -> Option<PathBuf> {
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../scripts/foreign-clients");
    let output = Command::new(&script).output();
    if let Ok(output) = &output
        && output.status.success()
    {
        return Some(String::from_utf8_lossy(&output.stdout).trim().into());
    }
    assert!(std::env::var_os("CI").is_none(), "{} failed: {output:?}", script.display());
    eprintln!("skipped: {} failed", script.display());
    None
}
