//! The process at the other end of a unix socket, and how it ended.
//!
//! A QEMU that is killed sends nothing, and only its parent gets its exit status. But Linux (6.15 and later) keeps the
//! status for every holder of a descriptor of the process, which any process may open as long as the QEMU lives.

use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::process::ExitStatus;
use std::time::Duration;

use qmp_host::exit_status;
use qmp_host::process::ProcessStat;
use rustix::process::{Pid, PidfdFlags, Resource, getpid, getrlimit, pidfd_open};
use tokio::time::{sleep, timeout};

use crate::socket::Socket;

/// How long a process may take to end, and its parent to reap it, once it has closed its monitor. A QEMU with hundreds of
/// GiB frees them meanwhile; a QEMU that only removed the monitor lives on.
const END_TIMEOUT: Duration = Duration::from_secs(20);

/// The first pause between two checks whether the process has ended and its parent has reaped it, which is when the
/// status is readable: Linux has no notification of the latter. Most QEMUs take a few milliseconds.
const FIRST_PAUSE: Duration = Duration::from_millis(2);

/// The longest pause between two checks.
const LAST_PAUSE: Duration = Duration::from_millis(250);

/// The process at the other end of a unix socket.
#[derive(Debug)]
pub struct PeerProcess {
    pid: Pid,
    descriptor: OwnedFd,
}

impl PeerProcess {
    /// The process that began to listen at the other end, or dialled from there. If a manager opened the socket for its
    /// QEMU, that is the manager. `None` on TCP, in another PID namespace, for this process itself, if the kernel does
    /// not report exit statuses, and if open files are scarce.
    pub(crate) fn of_peer(socket: &Socket) -> Option<Self> {
        let Socket::Unix(stream) = socket else { return None };
        let pid = stream.peer_cred().ok()?.pid().and_then(Pid::from_raw)?;
        if pid == getpid() {
            return None;
        }
        // The peer is connected, so its PID was not reused.
        Self::open(pid)
    }

    /// The process of that PID which started at `start_ticks`, in clock ticks since the host booted. `None` if it has ended, if
    /// the kernel does not report exit statuses, and if open files are scarce.
    #[must_use]
    pub fn of_process(pid: u32, start_ticks: u64) -> Option<Self> {
        let process = Self::open(Pid::from_raw(pid.try_into().ok()?)?)?;
        // Read while the descriptor is open: the PID is of this process, or was reused before.
        (process.start_ticks() == Some(start_ticks)).then_some(process)
    }

    fn open(pid: Pid) -> Option<Self> {
        let descriptor = pidfd_open(pid, PidfdFlags::empty()).ok()?;
        exit_status(descriptor.as_fd()).ok()?;
        is_spare(descriptor.as_raw_fd(), getrlimit(Resource::Nofile).current)
            .then_some(Self { pid, descriptor })
    }

    /// Its PID.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// Its name, at most 15 bytes; empty if it cannot be read.
    ///
    /// Source: proc(5), `/proc/pid/comm`.
    pub(crate) fn name(&self) -> String {
        let name = std::fs::read_to_string(format!("/proc/{}/comm", self.pid())).unwrap_or_default();
        name.trim_end().to_owned()
    }

    /// When the process started, in clock ticks since the host booted; `None` if that cannot be read.
    pub(crate) fn start_ticks(&self) -> Option<u64> {
        ProcessStat::read(self.pid().unsigned_abs()).map(|stat| stat.start_ticks)
    }

    /// Waits until it ended, and returns its exit status. `None` if it lives on, if its parent does not reap it, and on
    /// Linux 6.13 and 6.14.
    ///
    /// Must be called in a tokio runtime.
    pub async fn wait_for_exit(self) -> Option<ExitStatus> {
        timeout(END_TIMEOUT, self.exit_of_running()).await.ok().flatten()
    }

    /// As [`wait_for_exit`](Self::wait_for_exit), for a process that may run on for any time.
    ///
    /// Must be called in a tokio runtime.
    pub async fn exit_of_running(self) -> Option<ExitStatus> {
        let mut pause = FIRST_PAUSE;
        loop {
            match exit_status(self.descriptor.as_fd()) {
                Ok(None) => sleep(pause).await,
                Ok(status) => break status,
                Err(_) => break None,
            }
            pause = LAST_PAUSE.min(pause * 2);
        }
    }
}

/// Whether enough descriptors are left to keep this one. The kernel assigns the lowest free number, so the number tells
/// how many are in use: the upper half of the limit is left to sockets.
fn is_spare(descriptor: RawFd, allowed: Option<u64>) -> bool {
    allowed.is_none_or(|allowed| u64::try_from(descriptor).is_ok_and(|number| number < allowed / 2))
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Command, Stdio};

    use tokio::net::UnixStream;

    use super::*;

    /// Listens, accepts one connection, and ends as its argument says.
    const SERVER: &str = "\
import os, socket, sys
server = socket.socket(socket.AF_UNIX)
server.bind(sys.argv[1])
server.listen()
print('listening', flush=True)
server.accept()
eval(sys.argv[2])";

    #[tokio::test]
    async fn exit_status_of_unrelated_process_is_read_where_linux_keeps_it() {
        let kernel = rustix::system::uname().release().to_string_lossy().into_owned();
        let numbers: Vec<u32> = kernel.split(['.', '-']).map_while(|part| part.parse().ok()).collect();
        let keeps_status = numbers.as_slice() >= [6, 15].as_slice();
        //  how it ends             status as wait(2) encodes it
        let cases = [("os._exit(0)", 0), ("os._exit(3)", 3 << 8), ("os.kill(os.getpid(), 9)", 9)];
        for (ends, raw) in cases {
            let status = ended(ends).await;
            assert_eq!(status, keeps_status.then(|| ExitStatus::from_raw(raw)), "{ends} on Linux {kernel}");
        }
    }

    #[test]
    fn descriptor_in_upper_half_of_limit_is_not_spare() {
        let cases = [(511, Some(1024), true), (512, Some(1024), false), (100_000, None, true)];
        for (descriptor, allowed, expected) in cases {
            assert_eq!(is_spare(descriptor, allowed), expected, "{descriptor} of {allowed:?}");
        }
    }

    #[tokio::test]
    async fn peer_in_same_process_is_none() {
        let (socket, _other) = UnixStream::pair().unwrap();
        assert!(PeerProcess::of_peer(&Socket::Unix(socket)).is_none());
    }

    #[test]
    fn process_is_identified_by_its_start() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let start = ProcessStat::read(child.id()).unwrap().start_ticks;
        assert!(PeerProcess::of_process(child.id(), start + 1).is_none());
        assert!(PeerProcess::of_process(child.id(), start).is_some());
        drop(child.stdin.take());
        child.wait().unwrap();
        assert!(PeerProcess::of_process(child.id(), start).is_none());
    }

    async fn ended(how: &str) -> Option<ExitStatus> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let mut child = Command::new("python3")
            .args(["-c", SERVER, path.to_str().unwrap(), how])
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 is installed");
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut [0; 10]).unwrap();
        let socket = Socket::Unix(UnixStream::connect(&path).await.unwrap());
        let process = PeerProcess::of_peer(&socket).expect("another process");
        assert_eq!((process.pid(), &*process.name()), (child.id().try_into().unwrap(), "python3"));
        let (status, _reaped) =
            tokio::join!(process.wait_for_exit(), tokio::task::spawn_blocking(move || child.wait()));
        status
    }
}
