//! The processes at the two ends of a connection to a monitor.

use std::fmt;
use std::fs;
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use qmp_client::Address;

use super::clients::Clients;
use crate::discovery::command_line::{self, MonitorAt, Purpose};

/// Processes that are looked at; of a host with more, the rest is not.
const PROCESSES_MAX: usize = 20_000;

/// Descriptors that are looked at, of all processes together. A host with 500 VMs has some 50,000.
const LINKS_MAX: usize = 400_000;

/// The longest command line that is read, in bytes: QEMUs with hundreds of devices have some 50 KiB.
const COMMAND_LINE_MAX_BYTES: u64 = 1 << 20;

/// The longest line of state that is read, in bytes. Source: proc(5), `/proc/pid/stat`, 52 numbers and a name.
const STATE_MAX_BYTES: u64 = 4 << 10;

/// A process of this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) pid: u32,
    /// What it calls itself, in 15 bytes.
    pub(super) name: String,
    /// Its state in a letter. Source: proc(5), `/proc/pid/stat`.
    pub(super) state: char,
}

impl Process {
    fn read(pid: u32) -> Option<Self> {
        let line = read_start(&Path::new("/proc").join(pid.to_string()).join("stat"), STATE_MAX_BYTES)?;
        let line = String::from_utf8_lossy(&line).into_owned();
        // The name stands in parentheses and may hold some itself.
        let (name, rest) = (line.find('(')?, line.rfind(')')?);
        let state = line.get(rest + 1..)?.trim_start().chars().next()?;
        Some(Self { pid, name: line.get(name + 1..rest)?.to_owned(), state })
    }

    /// Whether a signal or a debugger stopped it.
    pub(super) fn is_stopped(&self) -> bool {
        matches!(self.state, 'T' | 't')
    }

    /// Whether it waits in the kernel for something that no signal ends.
    pub(super) fn is_uninterruptible(&self) -> bool {
        self.state == 'D'
    }
}

/// For people.
impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} ({})", self.pid, self.name)
    }
}

/// The QEMU whose command line names the address, and what it uses the socket for. Command lines can be read by all users, unless
/// `/proc` is mounted with `hidepid`.
pub(super) fn by_command_line(address: &Address) -> Option<(Process, Purpose)> {
    pids().find_map(|pid| {
        let home = Path::new("/proc").join(pid.to_string());
        let line = read_start(&home.join("cmdline"), COMMAND_LINE_MAX_BYTES)?;
        let mut words = line.strip_suffix(&[0]).unwrap_or(&line).split(|byte| *byte == 0);
        let program = words.next()?;
        let is_qemu = command_line::is_qemu(program)
            || fs::read_link(home.join("exe"))
                .is_ok_and(|program| command_line::is_qemu(program.as_os_str().as_bytes()));
        if !is_qemu {
            return None;
        }
        let arguments: Vec<&[u8]> = words.collect();
        let purpose = command_line::purpose(&arguments, |at| is_at(&home, at, address))?;
        Some((Process::read(pid)?, purpose))
    })
}

/// Whether that place of the process in `home` is the address.
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

/// The path as it is reached from here: in the process's own file system.
fn rooted(home: &Path, path: &Path) -> PathBuf {
    home.join("root").join(path.strip_prefix("/").unwrap_or(path))
}

fn is_same_file(one: &Path, other: &Path) -> bool {
    match (fs::metadata(one), fs::metadata(other)) {
        (Ok(one), Ok(other)) => (one.dev(), one.ino()) == (other.dev(), other.ino()),
        _ => false,
    }
}

/// Finds the processes that hold the sockets of the clients, and names them there; and, if `wants_listener`, one that holds
/// the socket that listens. Only those are found that this user may look at.
pub(super) fn name_holders(clients: &mut Clients, wants_listener: bool) -> Option<Process> {
    let mut listener = None;
    let mut links_left = LINKS_MAX;
    for pid in pids() {
        let is_done = clients.connected.iter().all(|client| client.name.is_some() || client.inode == 0)
            && (listener.is_some() || !wants_listener);
        if is_done || links_left == 0 {
            break;
        }
        let Ok(links) = fs::read_dir(Path::new("/proc").join(pid.to_string()).join("fd")) else { continue };
        for link in links.flatten().take(links_left) {
            links_left -= 1;
            let Some(inode) = fs::read_link(link.path()).ok().and_then(|place| socket_inode(&place)) else {
                continue;
            };
            if wants_listener && listener.is_none() && inode == clients.listener {
                listener = Process::read(pid);
            }
            for client in clients.connected.iter_mut().filter(|client| client.inode == inode) {
                client.name = Process::read(pid).map(|process| process.to_string());
            }
        }
    }
    listener
}

/// `socket:[4242]`.
fn socket_inode(place: &Path) -> Option<u64> {
    place.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

fn pids() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).take(PROCESSES_MAX)
}

fn read_start(path: &Path, limit_bytes: u64) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(path).ok()?.take(limit_bytes).read_to_end(&mut bytes).ok()?;
    Some(bytes)
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
        let name = clients.connected[0].name.as_deref().expect("this process");
        assert!(name.starts_with(&format!("process {} (", std::process::id())), "{name}");
    }
}
