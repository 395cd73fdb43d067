//! Listening for HTTP, at a unix socket or a TCP port.

use std::io;
use std::net::SocketAddr;

use qmp_host::{SocketError, SocketFile, handed, listen_unix, port_holder};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;

use crate::address::HttpAddress;
use crate::endpoint::HttpEndpoint;
use crate::endpoint::{Credentials, KeyFileError};

/// An endpoint with its listening socket.
#[derive(Debug)]
pub struct HttpListener {
    pub(super) endpoint: HttpEndpoint,
    pub(super) credentials: watch::Receiver<Credentials>,
    pub(super) socket: Socket,
}

/// A listening socket; the file of a unix socket is removed with it.
#[derive(Debug)]
pub(super) enum Socket {
    Unix { listener: UnixListener, _file: SocketFile },
    Tcp(TcpListener),
}

/// Errors of listening for HTTP.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ListenError {
    /// The unix socket cannot be bound.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// Another socket listens at that port.
    #[error("{address} is in use{}; stop it, or serve at another address", .holder.as_ref().map(|who| format!(" by {who}")).unwrap_or_default())]
    PortInUse {
        /// The address.
        address: HttpAddress,
        /// The process that listens there, if it can be seen.
        holder: Option<Box<str>>,
    },
    /// Certificate or tokens cannot be used.
    #[error("cannot serve at {endpoint}: {error}")]
    Credentials {
        /// The endpoint.
        endpoint: Box<HttpEndpoint>,
        /// The fault.
        error: Box<KeyFileError>,
    },
    /// The system refused to bind the address.
    #[error("cannot serve at {address}: {error}")]
    Bind {
        /// The address.
        address: HttpAddress,
        /// The system's error.
        error: io::Error,
    },
}

/// Reads the credentials of `endpoint`, and listens at its address.
pub async fn listen(endpoint: &HttpEndpoint) -> Result<HttpListener, ListenError> {
    let unusable =
        |error| ListenError::Credentials { endpoint: Box::new(endpoint.clone()), error: Box::new(error) };
    let credentials = Credentials::watch(endpoint).await.map_err(unusable)?;
    let address = endpoint.address();
    let socket = match address {
        HttpAddress::Unix(path) => {
            let (listener, file) = listen_unix(path, endpoint.access()).await?;
            Socket::Unix { listener, _file: file }
        }
        HttpAddress::Tcp(port) => match bind_tcp(*port).await {
            Ok(listener) => Socket::Tcp(listener),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                let holder = port_holder::holder(*port).map(Into::into);
                return Err(ListenError::PortInUse { address: address.clone(), holder });
            }
            Err(error) => return Err(ListenError::Bind { address: address.clone(), error }),
        },
    };
    // The endpoint with the port that the system chose.
    let endpoint = match &socket {
        Socket::Tcp(listener) => listener.local_addr().map(|port| endpoint.at(HttpAddress::Tcp(port))),
        Socket::Unix { .. } => Ok(endpoint.clone()),
    };
    let endpoint = endpoint.map_err(|error| ListenError::Bind { address: address.clone(), error })?;
    Ok(HttpListener { endpoint, credentials, socket })
}

impl HttpListener {
    /// Returns the endpoint, with the port that the system chose.
    #[must_use]
    pub const fn endpoint(&self) -> &HttpEndpoint {
        &self.endpoint
    }
}

/// Takes the inherited socket, or binds one.
async fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    match handed::tcp(address) {
        Some(listener) => listener,
        None => TcpListener::bind(address).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn tcp_shows_its_port_and_refuses_a_port_in_use() {
        let free: HttpEndpoint = "tcp:127.0.0.1:0".parse().expect("an address");
        let listening = listen(&free).await.expect("listens");
        let address = listening.endpoint();
        assert_ne!(*address, free);
        let error = listen(address).await.expect_err("in use").to_string();
        assert_eq!(
            error,
            format!(
                "{address} is in use by process {} ({}); stop it, or serve at another address",
                std::process::id(),
                std::fs::read_to_string("/proc/self/comm").expect("a name").trim()
            )
        );
    }
}
