//! The processes at the two ends of a connection to a monitor.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use qmp_client::Address;
use qmp_host::process::{self, ProcessStat};

use super::clients::Clients;
use crate::qemu_command::{self, MonitorAt, Purpose};

/// Descriptors that are read, of all processes together. A host with 500 VMs has some 50,000.
const LINKS_MAX: usize = 400_000;

/// The longest command line that is read, in bytes: QEMUs with hundreds of devices have some 50 KiB.
const COMMAND_LINE_MAX_BYTES: u64 = 1 << 20;

/// The QEMU with the address in its command line, and the purpose of the socket. All users can read command lines, unless
/// `/proc` is mounted with `hidepid`.
pub(super) fn by_command_line(address: &Address) -> Option<(ProcessStat, Purpose)> {
    process::pids().find_map(|pid| {
        let home = Path::new("/proc").join(pid.to_string());
        let line = process::read_start(&home.join("cmdline"), COMMAND_LINE_MAX_BYTES)?;
        let mut words = line.strip_suffix(&[0]).unwrap_or(&line).split(|byte| *byte == 0);
        let program = words.next()?;
        let is_qemu = qemu_command::is_qemu(program)
            || fs::read_link(home.join("exe"))
                .is_ok_and(|program| qemu_command::is_qemu(program.as_os_str().as_bytes()));
        if !is_qemu {
            return None;
        }
        let arguments: Vec<&[u8]> = words.collect();
        let purpose = qemu_command::purpose(&arguments, |at| is_at(&home, at, address))?;
        Some((ProcessStat::read(pid)?, purpose))
    })
}

/// Whether `at`, in the view of the process in `home`, is the address.
fn is_at(home: &Path, at: &MonitorAt, address: &Address) -> bool {
    match (at, address) {
        (MonitorAt::Unix(at), Address::Unix { path, .. }) => {
            let directory = || fs::read_link(home.join("cwd")).unwrap_or_default();
            let at = if at.is_relative() { directory().join(at) } else { at.clone() };
            at == *path || is_same_file(&rooted(home, &at), path)
        }
        (MonitorAt::Tcp { port: at, .. }, Address::Tcp { port, .. }) => at == port,
        _ => false,
    }
}

/// The path in the file system of the process, as the hub reaches it.
fn rooted(home: &Path, path: &Path) -> PathBuf {
    home.join("root").join(path.strip_prefix("/").unwrap_or(path))
}

fn is_same_file(one: &Path, other: &Path) -> bool {
    match (fs::metadata(one), fs::metadata(other)) {
        (Ok(one), Ok(other)) => (one.dev(), one.ino()) == (other.dev(), other.ino()),
        _ => false,
    }
}

/// Sets the processes that have the sockets of the clients open, and returns, if `wants_listener`, a process
/// with the listening socket. Only processes that this user may inspect are found.
pub(super) fn name_holders(clients: &mut Clients, wants_listener: bool) -> Option<ProcessStat> {
    let mut listener = None;
    let mut links_left = LINKS_MAX;
    for pid in process::pids() {
        let is_done = clients.connected.iter().all(|client| client.process.is_some() || client.inode == 0)
            && (listener.is_some() || !wants_listener);
        if is_done || links_left == 0 {
            break;
        }
        let Ok(links) = fs::read_dir(Path::new("/proc").join(pid.to_string()).join("fd")) else { continue };
        for link in links.flatten().take(links_left) {
            links_left -= 1;
            let Some(inode) = fs::read_link(link.path()).ok().and_then(|place| process::socket_inode(&place))
            else {
                continue;
            };
            if wants_listener && listener.is_none() && inode == clients.listener {
                listener = ProcessStat::read(pid);
            }
            for client in clients.connected.iter_mut().filter(|client| client.inode == inode) {
                client.process = ProcessStat::read(pid);
            }
        }
    }
    listener
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::super::unix_diag;
    use super::*;

    #[test]
    fn holders_of_sockets_are_named() {
        let home = tempfile::tempdir().expect("a directory");
        let path = home.path().join("socket");
        let listener = UnixListener::bind(&path).expect("binds");
        let _client = UnixStream::connect(&path).expect("connects");
        let _accepted = listener.accept().expect("accepts");
        let mut clients = unix_diag::clients(&path).expect("the kernel tells").expect("it listens");
        let found = name_holders(&mut clients, true).expect("this process");
        assert_eq!(found.pid, std::process::id());
        assert!(!found.is_stopped() && !found.is_uninterruptible(), "{found:?}");
        let client = clients.connected[0].process.as_ref().expect("this process");
        assert_eq!(client.pid, std::process::id());
    }
}
