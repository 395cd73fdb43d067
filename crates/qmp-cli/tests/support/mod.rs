//! The program as a child process, and a hub with a scripted monitor as its VM.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part")]

pub mod pty;

use std::ffi::OsString;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;

use qmp_testing::MonitorThread;
use tempfile::TempDir;

/// A directory for one test.
pub fn directory() -> TempDir {
    tempfile::Builder::new().prefix("qmp").tempdir().expect("a directory")
}

/// An event as QEMU writes it.
pub fn event(name: &str, data: Option<&str>) -> String {
    qmp_testing::event(name, data.unwrap_or_default())
}

/// The program, isolated from the configuration of the user who runs the tests.
pub fn qmp<I: IntoIterator<Item = S>, S: AsRef<std::ffi::OsStr>>(home: &Path, arguments: I) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_qmp"));
    for name in [
        "QMP_LOG",
        "QMP_TOKEN",
        "QMP_HUB_CA",
        "QMP_HUB_CERTIFICATE",
        "NO_COLOR",
        "JOURNAL_STREAM",
        "CLICOLOR_FORCE",
        "QMP_PAGER",
        "PAGER",
        "LESS",
    ] {
        command.env_remove(name);
    }
    command
        .env("HOME", home)
        .env("QMP_HUB", hub_address(home))
        .env("QMP_JOURNAL", home.join("journal.db"))
        .env("TZ", "UTC")
        .stdin(Stdio::null());
    let arguments: Vec<OsString> = arguments.into_iter().map(|one| one.as_ref().to_owned()).collect();
    command.args(&arguments);
    if serves_elsewhere(&arguments) {
        command.arg("--http").arg(hub_address(home));
    }
    command
}

/// Whether the arguments start a hub, and neither they nor its configuration give its address.
fn serves_elsewhere(arguments: &[OsString]) -> bool {
    let text: Vec<_> = arguments.iter().map(|one| one.to_string_lossy()).collect();
    let config = text.iter().position(|one| one == "--config").and_then(|at| text.get(at + 1));
    let config = config.filter(|path| Path::new(&***path).is_file());
    let config = config.and_then(|path| std::fs::read_to_string(&**path).ok()).unwrap_or_default();
    let names_http = config.lines().any(|line| line.starts_with("http") || line.starts_with("[[http"));
    text.first().is_some_and(|one| one == "serve") && !text.iter().any(|one| one == "--http") && !names_http
}

pub fn hub_address(home: &Path) -> String {
    format!("unix:{}", home.join("hub.sock").display())
}

/// The result of a run of the program.
#[derive(Debug)]
pub struct RunResult {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// Runs the program until it ends.
pub fn run(home: &Path, arguments: &[&str]) -> RunResult {
    run_result(qmp(home, arguments).output().expect("the program runs"))
}

/// Runs the program with a standard input until it ends.
pub fn run_with_input(home: &Path, arguments: &[&str], input: &str) -> RunResult {
    let mut child = qmp(home, arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program runs");
    child.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("the program reads");
    run_result(child.wait_with_output().expect("the program ends"))
}

pub fn run_result(output: std::process::Output) -> RunResult {
    RunResult {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).expect("text"),
        stderr: String::from_utf8(output.stderr).expect("text"),
    }
}

/// A running program and the lines of its output. Killed on drop.
pub struct Process {
    child: Child,
    pub stdout: Lines,
    pub stderr: Lines,
}

pub type Lines = std::sync::mpsc::Receiver<String>;

impl Process {
    pub fn start(home: &Path, arguments: &[&str]) -> Self {
        Self::start_with(home, arguments, |_| {})
    }

    /// As [`Self::start`], with changes to the command.
    pub fn start_with(home: &Path, arguments: &[&str], more: impl FnOnce(&mut Command)) -> Self {
        let mut command = qmp(home, arguments);
        more(&mut command);
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program runs");
        let stdout = lines(child.stdout.take().expect("a pipe"));
        let stderr = lines(child.stderr.take().expect("a pipe"));
        Self { child, stdout, stderr }
    }

    /// A program that was started otherwise.
    pub fn of(child: Child, stdout: Lines, stderr: Lines) -> Self {
        Self { child, stdout, stderr }
    }

    /// Waits for a line with `part` on the standard error.
    pub fn wait_for(&self, part: &str) -> String {
        line_with(&self.stderr, part)
    }

    /// Interrupts it, as Ctrl-C does, and returns its exit code.
    pub fn interrupt(mut self) -> Option<i32> {
        self.signal("INT");
        self.end().code()
    }

    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status();
        assert!(status.expect("kill runs").success());
    }

    pub fn end(&mut self) -> ExitStatus {
        self.child.wait().expect("the program ends")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn lines(stream: impl Read + Send + 'static) -> Lines {
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

/// Returns the first line with `part` in it; fails the test after 20 s without one.
pub fn line_with(lines: &Lines, part: &str) -> String {
    let mut before = Vec::new();
    loop {
        match lines.recv_timeout(std::time::Duration::from_secs(20)) {
            Ok(line) if line.contains(part) => return line,
            Ok(line) => before.push(line),
            Err(error) => panic!("no line with {part:?} ({error}) after {before:#?}"),
        }
    }
}

/// A hub with one VM, `web1`, which is a fake monitor.
pub struct World {
    pub home: TempDir,
    pub vm: MonitorThread,
    pub hub: Process,
}

impl World {
    pub fn start() -> Self {
        let home = directory();
        let vm = MonitorThread::start(home.path().join("web1.sock"));
        let hub = start_hub(home.path(), &vm.address());
        Self { home, vm, hub }
    }

    pub fn run(&self, arguments: &[&str]) -> RunResult {
        run(self.home.path(), arguments)
    }
}

/// A hub that has attached `web1` and recorded it.
pub fn start_hub(home: &Path, address: &str) -> Process {
    // Most tests count records.
    start_hub_with(home, address, &["--no-findings"])
}

/// The same with more arguments.
pub fn start_hub_with(home: &Path, address: &str, more: &[&str]) -> Process {
    let attach = format!("web1={address}");
    let hub = Process::start(home, &[&["serve", "--attach", &attach], more].concat());
    hub.wait_for("web1: attached");
    // A reply is released after the records before it are committed.
    let ran = run(home, &["exec", "web1", "query-status"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    hub
}

/// A socket whose server does not speak QMP.
pub fn other_server(path: &Path, speak: &'static str) -> Arc<UnixListener> {
    let listener = Arc::new(UnixListener::bind(path).expect("a socket"));
    let accepting = Arc::clone(&listener);
    std::thread::spawn(move || {
        let mut clients = Vec::new();
        for mut client in accepting.incoming().map_while(Result::ok) {
            let _ = client.write_all(speak.as_bytes());
            clients.push(client);
        }
    });
    listener
}

/// Whether a tool is installed; if not, prints a note with the package of Debian, and fails where `CI` is set.
pub fn is_installed(tool: &str, package: &str) -> bool {
    let found = std::process::Command::new(tool)
        .arg("--version")
        .output()
        .is_ok_and(|output| output.status.success());
    if !found {
        assert!(std::env::var_os("CI").is_none(), "{tool} is missing: install Debian's {package}");
        eprintln!("skipped: {tool} is not installed (Debian: {package})");
    }
    found
}
