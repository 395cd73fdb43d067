//! Sockets of `emulate`, `replay` and `serve --demo`.

use std::io;

use qmp_client::Address;
use qmp_server::Listener;

use crate::exit::Failure;

/// Listens at an address.
///
/// # Errors
///
/// The system's error, and [`io::ErrorKind::Unsupported`] for an inherited descriptor.
pub fn listen(address: &Address) -> io::Result<Listener> {
    match address {
        Address::Unix { path, .. } => Listener::unix(path),
        Address::Tcp { host, port, .. } => {
            Listener::tcp((host.as_str(), *port)).map(|(listener, _)| listener)
        }
        Address::Fd { .. } => {
            Err(io::Error::new(io::ErrorKind::Unsupported, "cannot listen at an inherited descriptor"))
        }
    }
}

/// The failure of a command that could not listen.
pub fn failure(address: &Address, error: &io::Error) -> Failure {
    let message = format!("cannot listen at {address}: {error}");
    match error.kind() {
        io::ErrorKind::AddrInUse => Failure::failed(message)
            .hint("the address is in use, or a file has that path; choose another address"),
        io::ErrorKind::Unsupported => Failure::usage(message).hint("write unix:PATH or tcp:HOST:PORT"),
        _ => Failure::failed(message),
    }
}
