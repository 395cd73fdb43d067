//! The evidence on the host about a QEMU that may have ended.

use qmp_client::Address;
use qmp_findings::Process;
use qmp_host::process::{ProcessStat, boot_id};
use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

use crate::in_use::is_listened_at;

/// What the address of a domain begins with that was followed through libvirt.
const LIBVIRT_ADDRESS: &str = "libvirt:";

/// The socket of a monitor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Socket {
    /// It does not exist.
    Missing,
    /// No process listens there.
    Refuses,
    /// It may be in use, or its state is not visible.
    Unknown,
}

/// The fate of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Lives,
    Gone,
    /// Its host was restarted.
    HostRestarted,
    Unknown,
}

/// The socket at an address as a snapshot has it, of a VM that is not followed. A domain has none here.
pub(super) fn socket_at(address: &str) -> Option<Socket> {
    if address.starts_with(LIBVIRT_ADDRESS) {
        return Some(Socket::Missing);
    }
    address.parse().ok().map(|address| socket(&address))
}

/// The socket of a monitor that is not followed: it is inspected without a connection.
fn socket(address: &Address) -> Socket {
    match address {
        // The VM dialled in, to a socket of the hub.
        Address::Unix { listen: true, .. } | Address::Tcp { listen: true, .. } | Address::Fd { .. } => {
            Socket::Missing
        }
        Address::Unix { path, .. } if !path.exists() => Socket::Missing,
        Address::Unix { path, .. } => match is_listened_at(path) {
            Ok(false) => Socket::Refuses,
            Ok(true) | Err(_) => Socket::Unknown,
        },
        Address::Tcp { .. } => Socket::Unknown,
    }
}

/// The fate of the process at a monitor. A process without the name of a QEMU may end before or after the VM.
pub(super) fn fate(process: &Process) -> Fate {
    if !process.is_qemu() {
        return Fate::Unknown;
    }
    let start = process.start.as_ref();
    if start.zip(boot_id()).is_some_and(|(start, boot_id)| *start.boot_id != *boot_id) {
        return Fate::HostRestarted;
    }
    let Ok(pid) = u32::try_from(process.pid) else { return Fate::Unknown };
    match (ProcessStat::read(pid), start) {
        (Some(found), _) if found.has_ended() => Fate::Gone,
        (Some(found), Some(start)) if found.start_ticks == start.ticks => Fate::Lives,
        (Some(_), Some(_)) => Fate::Gone,
        (Some(_), None) => Fate::Unknown,
        // The process may exist: `/proc` can be mounted so that it shows only a user's own processes.
        (None, _) => match i32::try_from(pid).ok().and_then(Pid::from_raw).map(test_kill_process) {
            Some(Err(Errno::SRCH)) => Fate::Gone,
            _ => Fate::Unknown,
        },
    }
}

#[cfg(test)]
mod tests {
    use qmp_findings::ProcessStart;

    use super::*;

    #[test]
    fn process_is_known_by_its_start() {
        let own = ProcessStat::read(std::process::id()).expect("this process");
        let here = boot_id().expect("an id");
        let process = |pid: u64, name: &str, start: Option<(u64, &str)>| Process {
            pid,
            name: name.into(),
            start: start.map(|(ticks, boot_id)| ProcessStart { ticks, boot_id: boot_id.into() }),
        };
        let (pid, ticks) = (u64::from(own.pid), own.start_ticks);
        // No process has it: the kernel gives out numbers up to 4,194,304.
        let free = u64::from(i32::MAX.unsigned_abs());
        let cases = [
            (process(pid, "qemu-system-x86", Some((ticks, here))), Fate::Lives),
            (process(pid, "qemu-system-x86", Some((ticks + 1, here))), Fate::Gone),
            (process(pid, "qemu-system-x86", Some((ticks, "another"))), Fate::HostRestarted),
            (process(pid, "qemu-system-x86", None), Fate::Unknown),
            (process(free, "kvm", Some((1, here))), Fate::Gone),
            (process(free, "libvirtd", Some((1, here))), Fate::Unknown),
        ];
        for (process, expected) in cases {
            assert_eq!(fate(&process), expected, "{process:?}");
        }
    }

    #[test]
    fn socket_is_looked_at_without_a_connection() {
        let home = tempfile::tempdir().expect("a directory");
        let path = home.path().join("vm.sock");
        let address: Address = format!("unix:{}", path.display()).parse().expect("an address");
        assert_eq!(socket(&address), Socket::Missing);
        let listener = std::os::unix::net::UnixListener::bind(&path).expect("binds");
        listener.set_nonblocking(true).expect("does not block");
        assert_eq!(socket(&address), Socket::Unknown);
        assert!(listener.accept().is_err(), "there was no connection");
        drop(listener);
        assert_eq!(socket(&address), Socket::Refuses);
    }
}
