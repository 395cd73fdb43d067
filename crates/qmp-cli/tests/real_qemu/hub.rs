//! The program `qmp` with a separate hub, journal and socket.

use std::{
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::mpsc::{Receiver, channel},
};

use serde_json::Value;
use tempfile::TempDir;

use qmp_testing::{PATIENCE, wait_for};

/// The journal and the hub's socket of one test.
pub(crate) struct HubHome {
    journal: PathBuf,
    socket: PathBuf,
}

impl HubHome {
    pub(crate) fn new(folder: &TempDir) -> Self {
        Self { journal: folder.path().join("journal.db"), socket: folder.path().join("hub.sock") }
    }

    /// As [`new`](Self::new), with the journal at another path.
    pub(crate) fn with_journal(folder: &TempDir, journal: &std::path::Path) -> Self {
        Self { journal: journal.to_owned(), ..Self::new(folder) }
    }

    pub(crate) fn journal(&self) -> &std::path::Path {
        &self.journal
    }

    /// The program, with the paths of hub and journal in its environment.
    pub(crate) fn qmp(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_qmp"));
        let hub = format!("unix:{}", self.socket.display());
        command.args(arguments).env("QMP_JOURNAL", &self.journal).stdin(Stdio::null());
        if arguments.first() == Some(&"serve") {
            command.args(["--http", &hub]);
        }
        command.env("QMP_HUB", hub);
        command
    }

    /// Runs the program until it ends.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.qmp(arguments).output().expect("qmp runs")
    }

    /// Runs the program and reads its JSON Lines.
    pub(crate) fn json(&self, arguments: &[&str]) -> Vec<Value> {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        lines_of(&output).iter().map(|line| serde_json::from_str(line).expect(line)).collect()
    }

    /// The names of the events in the journal, in its order; other records by their kind, in lower case.
    pub(crate) fn titles(&self) -> Vec<String> {
        self.json(&["log", "--json"]).iter().map(title).collect()
    }

    /// As [`titles`](Self::titles); none without a journal.
    pub(crate) fn titles_if_any(&self) -> Vec<String> {
        if self.journal.exists() { self.titles() } else { Vec::new() }
    }

    /// The title of the last record.
    pub(crate) fn last_title(&self) -> Option<String> {
        self.json(&["log", "--json", "-n", "1"]).first().map(title)
    }

    /// Starts `qmp serve` and waits until it is attached.
    pub(crate) fn serve(&self, attach: &[(&str, &str)]) -> Hub {
        let mut command = self.qmp(&["serve", "--no-findings"]);
        for (name, address) in attach {
            command.args(["--attach", &format!("{name}={address}")]);
        }
        let hub = Hub { child: command.stderr(Stdio::null()).spawn().expect("qmp serve starts") };
        for (name, _) in attach {
            self.wait_until_attached(name);
        }
        hub
    }

    /// Starts `qmp serve` with the VMs of a file.
    pub(crate) fn serve_configured(&self, file: &Path) -> Hub {
        let mut command = self.qmp(&["serve", "--config", file.to_str().expect("UTF-8")]);
        Hub { child: command.stderr(Stdio::null()).spawn().expect("qmp serve starts") }
    }

    /// As [`serve`](Self::serve), with one VM, and with the hub's standard error.
    pub(crate) fn serve_with_log(&self, name: &str, address: &str) -> (Hub, LogLines) {
        let mut command = self.qmp(&["serve", "--no-findings", "--attach", &format!("{name}={address}")]);
        let mut child = command.stderr(Stdio::piped()).spawn().expect("qmp serve starts");
        let log = LogLines(lines(child.stderr.take().expect("a pipe")));
        let hub = Hub { child };
        self.wait_until_attached(name);
        (hub, log)
    }

    fn wait_until_attached(&self, name: &str) {
        wait_for("the hub to attach", || {
            self.run(&["exec", name, "query-status"]).status.success().then_some(())
        });
    }

    /// Starts a command that keeps printing lines, such as `qmp tail`.
    pub(crate) fn listen(&self, arguments: &[&str]) -> Listener {
        let mut child = self.qmp(arguments).stdout(Stdio::piped()).spawn().expect("qmp starts");
        let lines = lines(child.stdout.take().expect("a pipe"));
        Listener { child, lines }
    }
}

/// Reads the lines of a stream on a thread.
fn lines(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    lines
}

/// The lines of a hub's standard error.
pub(crate) struct LogLines(Receiver<String>);

impl LogLines {
    /// The next line, if one is available.
    pub(crate) fn try_next(&self) -> Option<String> {
        self.0.try_recv().ok()
    }
}

/// The lines of the program's output.
pub(crate) fn lines_of(output: &Output) -> Vec<String> {
    String::from_utf8(output.stdout.clone()).expect("UTF-8").lines().map(str::to_owned).collect()
}

/// The event's name, or the record's kind.
pub(crate) fn title(record: &Value) -> String {
    record["event"].as_str().or(record["kind"].as_str()).expect("a record").to_owned()
}

/// A running `qmp serve`; killed on drop.
pub(crate) struct Hub {
    child: Child,
}

impl Hub {
    /// Stops it as `systemctl stop` does, and checks its exit code.
    pub(crate) fn stop(mut self) {
        let terminated = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        assert!(terminated.is_ok_and(|status| status.success()));
        let status =
            wait_for("the end of the hub", || self.child.try_wait().expect("the hub can be waited for"));
        assert_eq!(status.code(), Some(0));
    }

    /// Kills it (`kill -9`).
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("the hub can be killed");
        self.child.wait().expect("the hub can be waited for");
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A command whose lines are read while it runs; killed on drop.
pub(crate) struct Listener {
    child: Child,
    lines: Receiver<String>,
}

impl Listener {
    /// The next line.
    pub(crate) fn next(&self) -> String {
        self.lines.recv_timeout(PATIENCE).expect("one more line")
    }

    /// The next line, if one is available.
    pub(crate) fn try_next(&self) -> Option<String> {
        self.lines.try_recv().ok()
    }

    /// Ends the command and returns the remaining whole lines of its output.
    pub(crate) fn rest(mut self) -> Vec<String> {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.lines.iter().collect()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
