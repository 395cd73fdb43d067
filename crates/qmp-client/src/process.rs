//! The process at the other end of a unix socket, and how it ended.
//!
//! A QEMU that is killed says nothing, and its exit status goes to its parent alone. But Linux (6.15 and later) keeps it
//! for whoever holds a descriptor of the process, which anybody may open as long as it lives.

use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Resource, getpid, getrlimit, pidfd_open};
use tokio::time::{sleep, timeout};

use crate::socket::Socket;
use qmp_host::exit_status;
use qmp_host::process::ProcessStat;

/// How long a process may take to end, and its parent to notice, once it has closed its monitor. A QEMU with hundreds of
/// GiB gives them back meanwhile; one that took its monitor away lives on.
const END_TIMEOUT: Duration = Duration::from_secs(20);

/// How soon after the end it is looked whether the process has ended, and its parent has noticed, which is when the
/// status is told: the system has no signal for the latter. Most QEMUs take a few milliseconds.
const FIRST_LOOK: Duration = Duration::from_millis(2);

/// How long the pauses between later looks become.
const LATER_LOOKS: Duration = Duration::from_millis(250);

/// The process at the other end of a unix socket.
#[derive(Debug)]
pub struct Process {
    pid: Pid,
    descriptor: OwnedFd,
}

impl Process {
    /// The process that began to listen at the other end, or dialled from there: where a manager opened the socket for
    /// its QEMU, that manager. `None` on TCP, in another PID namespace, if it is this process itself, where the system
    /// will not tell how it ended, and where open files are scarce.
    pub(crate) fn behind(socket: &Socket) -> Option<Self> {
        let Socket::Unix(stream) = socket else { return None };
        let pid = stream.peer_cred().ok()?.pid().and_then(Pid::from_raw)?;
        if pid == getpid() {
            return None;
        }
        // The peer is connected, so the number is its own still.
        let descriptor = pidfd_open(pid, PidfdFlags::empty()).ok()?;
        exit_status(descriptor.as_fd()).ok()?;
        is_spare(descriptor.as_raw_fd(), getrlimit(Resource::Nofile).current)
            .then_some(Self { pid, descriptor })
    }

    /// Its number.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// What it calls itself, in 15 bytes; empty if that cannot be read.
    ///
    /// Source: proc(5), `/proc/pid/comm`.
    pub(crate) fn name(&self) -> String {
        let name = std::fs::read_to_string(format!("/proc/{}/comm", self.pid())).unwrap_or_default();
        name.trim_end().to_owned()
    }

    /// When it was started, in clock ticks since the host was; `None` if that cannot be read.
    pub(crate) fn start_ticks(&self) -> Option<u64> {
        ProcessStat::read(self.pid().unsigned_abs()).map(|stat| stat.start_ticks)
    }

    /// Waits until it ended and says how. `None` if it lives on, if its parent takes no notice, and on Linux 6.13 and 6.14.
    ///
    /// Must be called in a tokio runtime.
    pub async fn ended(self) -> Option<ExitStatus> {
        let told = async {
            let mut pause = FIRST_LOOK;
            loop {
                match exit_status(self.descriptor.as_fd()) {
                    Ok(None) => sleep(pause).await,
                    Ok(status) => break status,
                    Err(_) => break None,
                }
                pause = LATER_LOOKS.min(pause * 2);
            }
        };
        timeout(END_TIMEOUT, told).await.ok().flatten()
    }
}

/// Whether this descriptor takes the place of none that is needed more. The lowest that is free is given out, so its
/// number says how many are in use: the upper half of what is allowed is left to sockets.
fn is_spare(descriptor: RawFd, allowed: Option<u64>) -> bool {
    allowed.is_none_or(|allowed| u64::try_from(descriptor).is_ok_and(|number| number < allowed / 2))
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Command, Stdio};

    use tokio::net::UnixStream;

    use super::*;

    /// Listens, serves one, and ends as it is told.
    const SERVER: &str = "\
import os, socket, sys
server = socket.socket(socket.AF_UNIX)
server.bind(sys.argv[1])
server.listen()
print('listening', flush=True)
server.accept()
eval(sys.argv[2])";

    #[tokio::test]
    async fn tells_how_a_stranger_ended() {
        let kernel = rustix::system::uname().release().to_string_lossy().into_owned();
        let numbers: Vec<u32> = kernel.split(['.', '-']).map_while(|part| part.parse().ok()).collect();
        let tells = numbers.as_slice() >= [6, 15].as_slice();
        //  what it does            as wait(2) gives it
        let cases = [("os._exit(0)", 0), ("os._exit(3)", 3 << 8), ("os.kill(os.getpid(), 9)", 9)];
        for (ends, raw) in cases {
            let status = ended(ends).await;
            assert_eq!(status, tells.then(|| ExitStatus::from_raw(raw)), "{ends} on Linux {kernel}");
        }
    }

    #[test]
    fn leaves_the_upper_half_to_sockets() {
        let cases = [(511, Some(1024), true), (512, Some(1024), false), (100_000, None, true)];
        for (descriptor, allowed, expected) in cases {
            assert_eq!(is_spare(descriptor, allowed), expected, "{descriptor} of {allowed:?}");
        }
    }

    #[tokio::test]
    async fn knows_itself() {
        let (socket, _other) = UnixStream::pair().unwrap();
        assert!(Process::behind(&Socket::Unix(socket)).is_none());
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
        let process = Process::behind(&socket).expect("a process of its own");
        assert_eq!((process.pid(), &*process.name()), (child.id().try_into().unwrap(), "python3"));
        let (status, _reaped) =
            tokio::join!(process.ended(), tokio::task::spawn_blocking(move || child.wait()));
        status
    }
}
