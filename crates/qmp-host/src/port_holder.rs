//! Finds the process that listens at a port of this host, for the error of a failed bind.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use crate::process;

/// The state of a listening socket in `/proc/net/tcp`. Source: Linux `include/net/tcp_states.h`, `TCP_LISTEN`.
const LISTENING: &str = "0A";

/// Returns the process that listens there, such as `process 4242 (nginx)`; `None` if it is another user's, or has
/// ended.
#[must_use]
pub fn holder(address: SocketAddr) -> Option<String> {
    let inodes: Vec<u64> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .into_iter()
        .flat_map(|table| listening(&fs::read_to_string(table).unwrap_or_default(), address.port()))
        .collect();
    if inodes.is_empty() {
        return None;
    }
    process::pids().find_map(|pid| {
        let home = Path::new("/proc").join(pid.to_string());
        let holds = |link: &Path| {
            fs::read_link(link)
                .is_ok_and(|place| process::socket_inode(&place).is_some_and(|inode| inodes.contains(&inode)))
        };
        fs::read_dir(home.join("fd")).ok()?.flatten().find(|link| holds(&link.path()))?;
        let name = fs::read_to_string(home.join("comm")).unwrap_or_default();
        Some(format!("process {pid} ({})", name.trim()))
    })
}

/// Returns the inodes of the sockets in such a table that listen at this port.
fn listening(table: &str, port: u16) -> Vec<u64> {
    let row = |line: &str| -> Option<u64> {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let (_, hex) = columns.get(1)?.rsplit_once(':')?;
        let is_it = u16::from_str_radix(hex, 16) == Ok(port) && *columns.get(3)? == LISTENING;
        is_it.then(|| columns.get(9)?.parse().ok())?
    };
    table.lines().filter_map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_read() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
                     0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000  0 77 1 x 100 0 0 10 0\n\
                     1: 0100007F:1F90 0100007F:A1B2 01 00000000:00000000 00:00000000 00000000  1000  0 78 1 x 20 4 30 10 -1\n\
                     2: 00000000000000000000000000000000:0016 0:0 0A 0:0 0:0 0 0 0 79\n";
        assert_eq!(
            (listening(table, 8080), listening(table, 22), listening(table, 80)),
            (vec![77], vec![79], vec![])
        );
    }

    #[test]
    fn this_process_is_found() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("binds");
        let found = holder(listener.local_addr().expect("an address")).expect("somebody");
        assert!(found.starts_with(&format!("process {} (", std::process::id())), "{found}");
    }
}
