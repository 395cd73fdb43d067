//! The connections to a TCP port of this host, from the tables of the kernel.
//!
//! Source: Linux `Documentation/networking/proc_net_tcp.rst`. A connection that was not accepted has inode 0; the length of
//! the receive queue of a listening socket is the number of waiting connections.

use std::fs::File;
use std::io::Read as _;
use std::net::IpAddr;

use super::clients::{Client, Clients};

/// The longest table that is read, in bytes: 20,000 sockets.
const TABLE_MAX_BYTES: u64 = 4 << 20;

const ESTABLISHED: &str = "01";
const CLOSE_WAIT: &str = "08";
const LISTEN: &str = "0A";

/// One socket of a table.
struct Row<'a> {
    local_port: u16,
    remote: &'a str,
    state: &'a str,
    waiting: usize,
    inode: u64,
}

/// The connections to a port; `None` unless a process of this host listens there.
pub(super) fn clients(host: &str, port: u16) -> Option<Clients> {
    let is_here = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    if !is_here {
        return None;
    }
    of_tables(&["/proc/net/tcp", "/proc/net/tcp6"].map(read), port)
}

fn read(path: &str) -> String {
    let mut text = String::new();
    // A table that is truncated, or cannot be read, shows fewer connections.
    let _ = File::open(path).and_then(|file| file.take(TABLE_MAX_BYTES).read_to_string(&mut text));
    text
}

fn of_tables(tables: &[String], port: u16) -> Option<Clients> {
    let rows: Vec<Row<'_>> = tables.iter().flat_map(|table| table.lines()).filter_map(Row::read).collect();
    let listener = rows.iter().find(|row| row.local_port == port && row.state == LISTEN)?;
    let accepted = || rows.iter().filter(|row| row.local_port == port && row.inode != 0);
    let client = |row: &Row<'_>| {
        // The client's side of the same connection, if the client is on this host.
        let of_client = rows.iter().find(|other| {
            let (_, remote_port) = other.remote.rsplit_once(':').unwrap_or_default();
            let (_, client_port) = row.remote.rsplit_once(':').unwrap_or_default();
            u16::from_str_radix(remote_port, 16) == Ok(port)
                && u16::from_str_radix(client_port, 16) == Ok(other.local_port)
        });
        Client { inode: of_client.map_or(0, |other| other.inode), process: None }
    };
    Some(Clients {
        listener: listener.inode,
        connected: accepted().filter(|row| row.state == ESTABLISHED).map(client).collect(),
        abandoned: accepted().filter(|row| row.state == CLOSE_WAIT).count(),
        waiting: listener.waiting,
    })
}

impl<'a> Row<'a> {
    fn read(line: &'a str) -> Option<Self> {
        let mut columns = line.split_whitespace().skip(1);
        let (local, remote, state, queues) =
            (columns.next()?, columns.next()?, columns.next()?, columns.next()?);
        let (_, port) = local.rsplit_once(':')?;
        let (_, waiting) = queues.rsplit_once(':')?;
        Some(Self {
            local_port: u16::from_str_radix(port, 16).ok()?,
            remote,
            state,
            waiting: usize::from_str_radix(waiting, 16).ok()?,
            // After timer, retransmissions, user and timeout.
            inode: columns.nth(4)?.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn connections_are_told_apart() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("binds");
        let address = listener.local_addr().expect("an address");
        let counts = || {
            let clients = clients("127.0.0.1", address.port()).expect("it listens");
            (clients.connected.len(), clients.abandoned, clients.waiting)
        };
        assert_eq!(counts(), (0, 0, 0));
        let first = TcpStream::connect(address).expect("connects");
        assert_eq!(counts(), (0, 0, 1), "not accepted");
        let accepted = listener.accept().expect("accepts");
        assert_eq!(counts(), (1, 0, 0), "accepted");
        let found = clients("localhost", address.port()).expect("it listens");
        assert!(
            found.connected.iter().all(|client| client.inode != 0),
            "its client is on this host: {found:?}"
        );
        drop(first);
        assert_eq!(counts(), (0, 1, 0), "its client left");
        drop(accepted);
        drop(listener);
        assert_eq!(clients("127.0.0.1", address.port()), None);
        assert_eq!(clients("192.0.2.1", address.port()), None, "another host");
    }
}
