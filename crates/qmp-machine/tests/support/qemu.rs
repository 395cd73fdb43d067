//! A real QEMU whose processor halts in a firmware of three bytes, so that no event occurs without a cause.

use std::{
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// A QEMU with one monitor. Dropping it kills the process.
pub struct Qemu {
    process: Child,
    directory: tempfile::TempDir,
}

impl Qemu {
    pub fn start(program: &str, options: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let firmware = directory.path().join("firmware");
        std::fs::write(&firmware, firmware_that_halts()).unwrap();
        let monitor = directory.path().join("monitor");
        let process = Command::new(program)
            .args(["-nodefaults", "-display", "none", "-machine", "pc", "-bios"])
            .arg(&firmware)
            .arg("-qmp")
            .arg(format!("unix:{},server=on,wait=off", monitor.display()))
            .args(options)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { process, directory }
    }

    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Sends SIGTERM to the process.
    pub fn terminate(&self) {
        let status = Command::new("kill").arg(self.process.id().to_string()).status().unwrap();
        assert!(status.success());
    }

    /// Connects; retries until the socket exists.
    pub fn connect(&self) -> UnixStream {
        let monitor: PathBuf = self.directory.path().join("monitor");
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            match UnixStream::connect(&monitor) {
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

/// 64 KiB whose reset vector is `hlt`, and a jump back to it.
fn firmware_that_halts() -> Vec<u8> {
    let mut firmware = vec![0xF4; 64 << 10];
    firmware[0xFFF0..0xFFF3].copy_from_slice(&[0xF4, 0xEB, 0xFD]);
    firmware
}

/// Returns the QEMUs to compare with, each with its release. In CI at least one is required.
pub fn programs() -> Vec<(String, (u32, u32, u32))> {
    let first = std::env::var("QMP_QEMU").unwrap_or_else(|_| "qemu-system-x86_64".into());
    let second = std::env::var("QMP_QEMU_NEWEST").unwrap_or_else(|_| "qemu-11".into());
    let found: Vec<_> = [first, second]
        .into_iter()
        .filter_map(|program| {
            let version = version(&program);
            if version.is_none() {
                eprintln!("skipped: {program} cannot be run");
            }
            Some((program, version?))
        })
        .collect();
    let is_ci = std::env::var_os("CI").is_some();
    assert!(!is_ci || !found.is_empty(), "no QEMU to compare with: install one, or name it in QMP_QEMU");
    found
}

fn version(program: &str) -> Option<(u32, u32, u32)> {
    let output = Command::new(program).arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let mut numbers =
        text.split_once("version ")?.1.split([' ', '.', '(']).map(|number| number.trim().parse().ok());
    Some((numbers.next()??, numbers.next()??, numbers.next()??))
}
