//! The connections to a unix socket, from the kernel's socket diagnostics.
//!
//! The kernel reports of each unix socket its state, the file that it is bound to and the socket at the other end, and of a
//! listening socket the number of waiting connections. A connection that was not accepted, or whose client left, has no
//! socket at the other end.
//!
//! Source: `sock_diag(7)`; Linux `include/uapi/linux/unix_diag.h`, `net/unix/diag.c`.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::{major, minor};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with,
};

use super::clients::{Client, Clients};

/// The longest list of the kernel that is read, in bytes: a host with 20,000 unix sockets has 3 MB.
const LIST_MAX_BYTES: usize = 8 << 20;

/// Room for one answer, in bytes. Source: the kernel fills up to 32 KiB at once.
const ANSWER_MAX_BYTES: usize = 32 << 10;

const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLM_F_REQUEST_DUMP: u16 = 0x1 | 0x300;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const AF_UNIX: u8 = 1;
const ESTABLISHED: u8 = 1;
const LISTEN: u8 = 10;
/// Name, file, peer and queue.
const SHOWN: u32 = 0x1 | 0x2 | 0x4 | 0x10;
const NAME: u16 = 0;
const FILE: u16 = 1;
const PEER: u16 = 2;
const QUEUE: u16 = 4;

/// One unix socket.
#[derive(Debug, Default, PartialEq, Eq)]
struct Row {
    state: u8,
    inode: u32,
    /// The path to which it is bound, as the process gave it.
    name: Vec<u8>,
    /// Inode and device of the file to which it is bound.
    file: Option<(u32, u32)>,
    /// The inode of the socket at the other end; 0 if there is none.
    peer: u32,
    /// The waiting connections of a listening socket.
    waiting: u32,
}

/// The connections to the socket at `path`; `None` if no socket of this network namespace listens there.
///
/// # Errors
///
/// Those of the system: the file does not exist, or the kernel does not answer.
pub(super) fn clients(path: &Path) -> io::Result<Option<Clients>> {
    let found = fs::metadata(path)?;
    // The kernel's internal number of a device differs from the one that programs use.
    let device = (major(found.dev()) << 20) | minor(found.dev());
    let inode = found.ino() & u64::from(u32::MAX);
    let is_it = |row: &Row| {
        let is_file = row.file.is_some_and(|(of, on)| u64::from(of) == inode && on == device);
        is_file || row.name == path.as_os_str().as_bytes()
    };
    Ok(of_rows(rows()?.into_iter().filter(is_it)))
}

fn of_rows(rows: impl Iterator<Item = Row>) -> Option<Clients> {
    let (mut clients, mut listens) = (Clients::default(), false);
    for row in rows {
        match row.state {
            LISTEN => {
                listens = true;
                clients.listener = row.inode.into();
                clients.waiting = usize::try_from(row.waiting).unwrap_or(usize::MAX);
            }
            ESTABLISHED if row.peer != 0 => {
                clients.connected.push(Client { inode: row.peer.into(), process: None });
            }
            ESTABLISHED => clients.abandoned += 1,
            _ => {}
        }
    }
    listens.then_some(clients)
}

/// The unix sockets that listen or are connected.
fn rows() -> io::Result<Vec<Row>> {
    let socket =
        socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, Some(netlink::SOCK_DIAG))?;
    send(&socket, &request(), SendFlags::empty())?;
    let mut rows = Vec::new();
    receive(&socket, &mut rows)?;
    Ok(rows)
}

fn receive(socket: &OwnedFd, rows: &mut Vec<Row>) -> io::Result<()> {
    let mut answer = vec![0; ANSWER_MAX_BYTES];
    let mut read = 0;
    while read < LIST_MAX_BYTES {
        let (count, _) = recv(socket, answer.as_mut_slice(), RecvFlags::empty())?;
        read += count;
        if count == 0 || messages(&answer[..count.min(ANSWER_MAX_BYTES)], rows)? {
            return Ok(());
        }
    }
    Ok(())
}

/// A header of netlink and a request for all unix sockets in these states.
fn request() -> Vec<u8> {
    let states = (1_u32 << ESTABLISHED) | (1 << LISTEN);
    let mut body = vec![AF_UNIX, 0, 0, 0];
    for word in [states, 0, SHOWN, u32::MAX, u32::MAX] {
        body.extend_from_slice(&word.to_ne_bytes());
    }
    let length = u32::try_from(16 + body.len()).unwrap_or(u32::MAX);
    let mut message = length.to_ne_bytes().to_vec();
    message.extend_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    message.extend_from_slice(&NLM_F_REQUEST_DUMP.to_ne_bytes());
    message.extend_from_slice(&[0; 8]);
    message.extend_from_slice(&body);
    message
}

/// Reads the messages of one answer. Returns whether it was the last one.
fn messages(mut answer: &[u8], rows: &mut Vec<Row>) -> io::Result<bool> {
    while let (Some(length), Some(kind)) = (word(answer, 0), half(answer, 4)) {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let Some(message) = answer.get(16..length) else { return Ok(true) };
        match kind {
            NLMSG_DONE => return Ok(true),
            NLMSG_ERROR => return Err(io::ErrorKind::Unsupported.into()),
            _ => rows.extend(row(message)),
        }
        answer = answer.get(aligned(length)..).unwrap_or_default();
    }
    Ok(false)
}

fn row(message: &[u8]) -> Option<Row> {
    let mut row = Row { state: *message.get(2)?, inode: word(message, 4)?, ..Row::default() };
    let mut rest = message.get(16..)?;
    while let (Some(length), Some(kind)) = (half(rest, 0), half(rest, 2)) {
        let length = usize::from(length);
        let value = rest.get(4..length)?;
        match kind {
            NAME => row.name = value.strip_suffix(&[0]).unwrap_or(value).to_vec(),
            FILE => row.file = word(value, 0).zip(word(value, 4)),
            PEER => row.peer = word(value, 0)?,
            QUEUE => row.waiting = word(value, 0)?,
            _ => {}
        }
        rest = rest.get(aligned(length)..).unwrap_or_default();
    }
    Some(row)
}

fn aligned(length: usize) -> usize {
    length.saturating_add(3) & !3
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::{UnixListener, UnixStream};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn connections_are_told_apart() {
        let home = tempfile::tempdir().expect("a directory");
        let path = home.path().join("socket");
        let listener = UnixListener::bind(&path).expect("binds");
        let counts = || {
            let clients = clients(&path).expect("the kernel tells").expect("it listens");
            (clients.connected.len(), clients.abandoned, clients.waiting)
        };
        assert_eq!(counts(), (0, 0, 0));
        let first = UnixStream::connect(&path).expect("connects");
        assert_eq!(counts(), (0, 0, 1), "not accepted");
        let accepted = listener.accept().expect("accepts");
        assert_eq!(counts(), (1, 0, 0), "accepted");
        drop(first);
        assert_eq!(counts(), (0, 1, 0), "its client left");
        drop(accepted);
        assert_eq!(counts(), (0, 0, 0));
        let link = home.path().join("link");
        std::os::unix::fs::symlink(&path, &link).expect("links");
        assert!(clients(&link).expect("the kernel tells").is_some(), "by its file, whatever the path");
        drop(listener);
        assert_eq!(clients(&path).expect("the kernel tells"), None);
        assert!(clients(&home.path().join("none")).is_err());
    }

    proptest! {
        /// Reading any bytes in place of an answer ends and does not fail.
        #[test]
        fn any_answer_is_read(answer in prop::collection::vec(prop_oneof![Just(0_u8), Just(20), any::<u8>()], 0..200)) {
            let _ = messages(&answer, &mut Vec::new());
        }
    }
}
