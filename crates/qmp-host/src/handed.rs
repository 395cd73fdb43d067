//! Listening sockets passed to this process, for example by systemd: they replace a socket that the configuration
//! binds at the same address.
//!
//! So the configuration of that address determines the access rules, and a socket that the configuration does not
//! name is not served. The list belongs to the process, as the descriptors do.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Mutex, MutexGuard};

use tokio::net::{TcpListener, UnixListener};

use crate::inherited::InheritedListener;
use crate::lock::lock;

static HANDED: Mutex<Vec<InheritedListener>> = Mutex::new(Vec::new());

/// Adds a socket to the list. Call it before the hub is started.
pub fn hand(listener: InheritedListener) {
    handed().push(listener);
}

/// Closes the unused sockets, and returns their addresses.
pub fn close_unused() -> Vec<String> {
    handed().drain(..).map(|listener| place(&listener)).collect()
}

/// Returns the socket that listens at this path.
pub fn unix(path: &Path) -> Option<std::io::Result<UnixListener>> {
    let same = |other: &Path| {
        other == path
            || std::fs::canonicalize(other)
                .ok()
                .is_some_and(|other| std::fs::canonicalize(path).is_ok_and(|path| path == other))
    };
    let is_it = |listener: &InheritedListener| match listener {
        InheritedListener::Unix(listener) => {
            listener.local_addr().is_ok_and(|address| address.as_pathname().is_some_and(same))
        }
        InheritedListener::Tcp(_) => false,
    };
    match take(is_it)? {
        InheritedListener::Unix(listener) => {
            Some(listener.set_nonblocking(true).and_then(|()| UnixListener::from_std(listener)))
        }
        InheritedListener::Tcp(_) => None,
    }
}

/// Returns the socket that listens at this address and port.
pub fn tcp(address: SocketAddr) -> Option<std::io::Result<TcpListener>> {
    let is_it = |listener: &InheritedListener| match listener {
        InheritedListener::Tcp(listener) => listener.local_addr().is_ok_and(|found| found == address),
        InheritedListener::Unix(_) => false,
    };
    match take(is_it)? {
        InheritedListener::Tcp(listener) => {
            Some(listener.set_nonblocking(true).and_then(|()| TcpListener::from_std(listener)))
        }
        InheritedListener::Unix(_) => None,
    }
}

fn take(is_it: impl Fn(&InheritedListener) -> bool) -> Option<InheritedListener> {
    let mut handed = handed();
    let index = handed.iter().position(is_it)?;
    Some(handed.remove(index))
}

fn handed() -> MutexGuard<'static, Vec<InheritedListener>> {
    lock(&HANDED)
}

fn place(listener: &InheritedListener) -> String {
    match listener {
        InheritedListener::Unix(listener) => match listener.local_addr() {
            Ok(address) => address
                .as_pathname()
                .map_or_else(|| format!("{address:?}"), |path| format!("unix:{}", path.display())),
            Err(error) => error.to_string(),
        },
        InheritedListener::Tcp(listener) => {
            listener.local_addr().map_or_else(|error| error.to_string(), |address| format!("tcp:{address}"))
        }
    }
}
