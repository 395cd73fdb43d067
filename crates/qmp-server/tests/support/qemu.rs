//! A real QEMU.

use std::{
    os::unix::net::UnixStream,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// A QEMU without a machine, stopped, with one monitor. Dropping it kills the process.
#[derive(Debug)]
pub struct Qemu {
    process: Child,
    socket: PathBuf,
    _directory: tempfile::TempDir,
}

impl Qemu {
    /// Starts `program`; returns `None` if there is no such program.
    pub fn start(program: &str, arguments: &[&str]) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("monitor");
        let process = Command::new(program)
            .args(["-nodefaults", "-display", "none", "-S", "-machine", "none", "-qmp"])
            .arg(format!("unix:{},server=on,wait=off", socket.display()))
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        Some(Self { process, socket, _directory: directory })
    }

    /// Connects; retries until the socket exists.
    pub fn connect(&self) -> UnixStream {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            match UnixStream::connect(&self.socket) {
                Ok(stream) => return stream,
                Err(error) => assert!(Instant::now() < deadline, "{error}"),
            }
            std::thread::yield_now();
        }
    }
}

impl Drop for Qemu {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Returns whether a skipped test must fail: in CI.
pub fn is_ci() -> bool {
    std::env::var_os("CI").is_some()
}

/// Returns the QEMU to compare with; prints a notice and returns `None` where there is none and the test may be
/// skipped.
pub fn program() -> Option<String> {
    let program = std::env::var("QMP_QEMU").unwrap_or_else(|_| "qemu-system-x86_64".into());
    if Command::new(&program).arg("--version").output().is_ok_and(|output| output.status.success()) {
        return Some(program);
    }
    assert!(!is_ci(), "{program} cannot be run: install it, or name another one in QMP_QEMU");
    eprintln!("skipped: {program} cannot be run");
    None
}
