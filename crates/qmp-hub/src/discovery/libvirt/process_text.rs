//! The process of a domain, by the file that libvirt writes beside its socket.
//!
//! The daemon names the domain, and with `unix:PATH` another user may own the directory of the socket. So the file is read on
//! another thread, one at a time, and only if it is a regular file of few bytes.

use std::path::{Path, PathBuf};
use std::time::Duration;

use qmp_client::PeerProcess;
use qmp_host::process::{ProcessStat, boot_id};
use qmp_host::{blocking, open_regular, read_text};
use serde::Serialize;
use tokio::task::JoinHandle;

/// Bytes of a file with a process number, at most: a number and a line end.
const PID_FILE_MAX_BYTES: u64 = 32;

/// How long the follower of a daemon waits for a file: a file system that hangs must not stop it.
const PID_FILE_TIMEOUT: Duration = Duration::from_millis(200);

/// The process of a domain, as snapshots name it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct ProcessText {
    pid: u32,
    name: String,
    start_ticks: u64,
    boot_id: Option<&'static str>,
}

/// Reads the processes of domains.
#[derive(Debug, Default)]
pub(super) struct ProcessReader {
    /// A read that has not ended in time. Until it ends, no other one begins.
    overdue: Option<JoinHandle<Option<ProcessText>>>,
}

impl ProcessReader {
    /// Reads the process of a domain. A daemon of another host has none.
    pub(super) async fn read(&mut self, socket: &Path, domain: &str) -> Option<ProcessText> {
        if self.overdue.as_ref().is_some_and(|read| !read.is_finished()) {
            return None;
        }
        let paths = paths(socket, domain)?;
        let mut read = tokio::spawn(blocking(move || ProcessText::read(&paths)));
        match tokio::time::timeout(PID_FILE_TIMEOUT, &mut read).await {
            Ok(process) => process.ok().flatten(),
            Err(_) => {
                self.overdue = Some(read);
                None
            }
        }
    }
}

impl ProcessText {
    fn read(paths: &[PathBuf]) -> Option<Self> {
        let text = |path: &PathBuf| read_text(open_regular(path).ok()?, PID_FILE_MAX_BYTES).ok();
        let pid = paths.iter().find_map(text)?;
        let stat = ProcessStat::read(pid.trim().parse().ok()?)?;
        Some(Self { pid: stat.pid, name: stat.name, start_ticks: stat.start_ticks, boot_id: boot_id() })
    }

    /// Whether the process is stopped, or waits for the kernel as for a disk.
    pub(super) fn is_stuck(&self) -> bool {
        let stat = ProcessStat::read(self.pid).filter(|stat| stat.start_ticks == self.start_ticks);
        stat.is_some_and(|stat| matches!(stat.state, 'T' | 't' | 'D'))
    }

    /// Opens a descriptor of the process, by which its end is noticed.
    pub(super) fn open(&self) -> Option<PeerProcess> {
        PeerProcess::of_process(self.pid, self.start_ticks)
    }
}

/// The files that libvirt writes; `None` for a name that is no name of a file.
fn paths(socket: &Path, domain: &str) -> Option<[PathBuf; 2]> {
    let directory = socket.parent()?.join("qemu");
    let file = format!("{domain}.pid");
    let is_name = !domain.contains(['/', '\0']);
    is_name.then(|| [directory.join(&file), directory.join("run").join(&file)])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `mkfifo`, without a dependency.
    fn fifo(path: &Path) {
        let made = std::process::Command::new("mkfifo").arg(path).status().expect("mkfifo");
        assert!(made.success());
    }

    #[tokio::test]
    async fn only_small_regular_files_of_libvirts_directory_are_read() {
        let home = tempfile::tempdir().expect("a directory");
        let (socket, own) = (home.path().join("libvirt-sock"), std::process::id());
        std::fs::create_dir_all(home.path().join("qemu/run")).expect("made");
        let file = |name: &str| home.path().join(name);
        std::fs::write(file("qemu/vm.pid"), format!("{own}\n")).expect("written");
        std::fs::write(file("qemu/run/modular.pid"), format!("{own}")).expect("written");
        std::fs::write(file("secret.pid"), format!("{own}")).expect("written");
        std::fs::write(file("qemu/long.pid"), format!("{own}{}", " ".repeat(64))).expect("written");
        std::os::unix::fs::symlink("/dev/zero", file("qemu/zero.pid")).expect("linked");
        fifo(&file("qemu/fifo.pid"));
        std::fs::create_dir(file("qemu/directory.pid")).expect("made");
        std::fs::write(file("qemu/sparse.pid"), format!("{own}\n")).expect("written");
        let sparse = std::fs::File::options().write(true).open(file("qemu/sparse.pid")).expect("opens");
        sparse.set_len(1 << 30).expect("set");
        let cases = [
            ("vm", true),
            ("modular", true),
            ("../secret", false),
            ("long", false),
            ("zero", false),
            ("fifo", false),
            ("directory", false),
            ("sparse", false),
            ("none", false),
        ];
        for (domain, expected) in cases {
            let process = ProcessReader::default().read(&socket, domain).await;
            assert_eq!(process.map(|process| process.pid), expected.then_some(own), "{domain}");
        }
    }

    #[tokio::test]
    async fn overdue_read_is_awaited_before_the_next_one() {
        let home = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(home.path().join("qemu")).expect("made");
        std::fs::write(home.path().join("qemu/vm.pid"), format!("{}", std::process::id())).expect("written");
        let socket = home.path().join("libvirt-sock");
        let (end, ended) = tokio::sync::oneshot::channel::<()>();
        let overdue = tokio::spawn(async {
            let _ = ended.await;
            None
        });
        let mut reader = ProcessReader { overdue: Some(overdue) };
        assert_eq!(reader.read(&socket, "vm").await, None);
        end.send(()).expect("it waits");
        while reader.overdue.as_ref().is_some_and(|read| !read.is_finished()) {
            tokio::task::yield_now().await;
        }
        assert!(reader.read(&socket, "vm").await.is_some());
    }
}
