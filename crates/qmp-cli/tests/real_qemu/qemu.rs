//! A QEMU for one test, and a raw client that uses no library of this project.

use std::{
    io::{BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use qmp_testing::{PATIENCE, wait_for};
use tempfile::TempDir;

/// A running QEMU with one QMP socket for each given name; killed on drop.
pub(crate) struct Qemu {
    child: Child,
    folder: PathBuf,
}

impl Qemu {
    /// Starts a machine without disk or display; prints a note and returns `None` if QEMU is not installed.
    pub(crate) fn start(folder: &TempDir, monitors: &[&str], more: &[&str]) -> Option<Self> {
        if !installed() {
            assert!(std::env::var_os("CI").is_none(), "CI must have qemu-system-x86_64");
            eprintln!("skipped: qemu-system-x86_64 is not installed");
            return None;
        }
        let mut command = Command::new("qemu-system-x86_64");
        command.args(["-nodefaults", "-display", "none", "-accel", "tcg"]).args(more).stdin(Stdio::null());
        for name in monitors {
            let path = folder.path().join(name);
            command.arg("-qmp").arg(format!("unix:{},server=on,wait=off", path.display()));
        }
        let child = command.spawn().expect("qemu-system-x86_64 starts");
        let qemu = Self { child, folder: folder.path().to_owned() };
        for name in monitors {
            wait_for("the monitor's socket", || qemu.socket(name).exists().then_some(()));
        }
        Some(qemu)
    }

    /// The socket of the monitor of that name.
    pub(crate) fn socket(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The monitor's address in the program's notation.
    pub(crate) fn address(&self, name: &str) -> String {
        format!("unix:{}", self.socket(name).display())
    }

    /// Kills QEMU.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("QEMU can be killed");
        self.child.wait().expect("QEMU can be waited for");
    }

    /// Whether QEMU has ended by itself.
    pub(crate) fn has_exited(&mut self) -> bool {
        self.child.try_wait().expect("QEMU can be waited for").is_some()
    }

    /// Waits until QEMU has ended by itself.
    pub(crate) fn wait_for_exit(&mut self) {
        wait_for("the end of QEMU", || self.child.try_wait().expect("QEMU can be waited for"));
    }
}

impl Drop for Qemu {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn installed() -> bool {
    Command::new("qemu-system-x86_64")
        .arg("--version")
        .stdout(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// A connection in command mode that reads lines and writes bytes, nothing else.
pub(crate) struct RawMonitor {
    reader: BufReader<UnixStream>,
    /// The first line that the server sent.
    pub(crate) greeting: String,
}

impl RawMonitor {
    /// Connects and negotiates.
    pub(crate) fn connect(socket: &Path) -> Self {
        let stream = wait_for("a connection to QEMU", || UnixStream::connect(socket).ok());
        stream.set_read_timeout(Some(PATIENCE)).expect("a read timeout can be set");
        let mut monitor = Self { reader: BufReader::new(stream), greeting: String::new() };
        monitor.greeting = monitor.next_line().expect("a greeting");
        monitor.send(r#"{"execute": "qmp_capabilities"}"#);
        assert_eq!(monitor.next_line().as_deref(), Some(r#"{"return": {}}"#));
        monitor
    }

    /// Writes one command.
    pub(crate) fn send(&mut self, command: &str) {
        self.reader.get_mut().write_all(command.as_bytes()).expect("QEMU reads");
    }

    /// The next line without its line end; `None` at the end of the stream.
    pub(crate) fn next_line(&mut self) -> Option<String> {
        let mut line = String::new();
        match self.reader.read_line(&mut line) {
            Ok(0) => None,
            Ok(_) => Some(line.trim_end().to_owned()),
            // QEMU that exits with unread input resets the connection.
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => None,
            Err(error) => panic!("reading from QEMU: {error}"),
        }
    }

    /// Sends a command and reads up to its reply, which it returns.
    pub(crate) fn execute(&mut self, command: &str) -> String {
        self.send(command);
        loop {
            let line = self.next_line().expect("a reply");
            if line.starts_with(r#"{"return""#) || line.starts_with(r#"{"error""#) {
                return line;
            }
        }
    }
}
