//! Where the hub serves HTTP: a unix socket, or a TCP port that only this host can reach.
//!
//! Whoever reaches the hub can stop and quit VMs, and there are no passwords, so an address that other hosts
//! could reach is refused when it is read, not when it is bound.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// An address that the hub may serve HTTP at.
///
/// Written as `unix:/run/qmp-events/hub.sock`, a bare path with a `/`, `tcp:127.0.0.1:8080`, `tcp:[::1]:8080`
/// or `tcp:localhost:8080`; with or without `tcp:`. Port 0 lets the system choose.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HttpAddress {
    /// A unix socket with mode 0600: the file system says who may come.
    Unix(PathBuf),
    /// A loopback address; every user of this host may come.
    Tcp(LoopbackAddr),
}

/// A socket address of the loopback interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LoopbackAddr(SocketAddr);

/// Errors of reading an [`HttpAddress`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HttpAddressError {
    /// It names an interface that other hosts can reach.
    #[error(
        "{address} can be reached from other hosts, and the hub asks nobody for a password; serve at a unix \
         socket or at 127.0.0.1, and let a reverse proxy with TLS and a login (or `ssh -L`) stand before it"
    )]
    NotLoopback {
        /// What was given.
        address: Box<str>,
    },
    /// It is neither a path nor HOST:PORT.
    #[error("{address:?} is no address; write unix:/run/qmp-events/hub.sock or tcp:127.0.0.1:8080")]
    Unreadable {
        /// What was given.
        address: Box<str>,
    },
}

impl LoopbackAddr {
    /// The socket address.
    #[must_use]
    pub const fn get(self) -> SocketAddr {
        self.0
    }
}

impl TryFrom<SocketAddr> for LoopbackAddr {
    type Error = HttpAddressError;

    fn try_from(address: SocketAddr) -> Result<Self, HttpAddressError> {
        let loopback = match address.ip() {
            IpAddr::V4(ip) => ip.is_loopback(),
            IpAddr::V6(ip) => {
                ip.is_loopback() || ip.to_ipv4_mapped().is_some_and(|mapped| mapped.is_loopback())
            }
        };
        if loopback {
            Ok(Self(address))
        } else {
            Err(HttpAddressError::NotLoopback { address: address.to_string().into() })
        }
    }
}

impl HttpAddress {
    /// The socket's path, if it is a unix socket.
    #[must_use]
    pub fn unix_path(&self) -> Option<&Path> {
        match self {
            Self::Unix(path) => Some(path),
            Self::Tcp(_) => None,
        }
    }
}

impl FromStr for HttpAddress {
    type Err = HttpAddressError;

    fn from_str(text: &str) -> Result<Self, HttpAddressError> {
        let unreadable = || HttpAddressError::Unreadable { address: text.into() };
        if let Some(path) = text.strip_prefix("unix:") {
            return if path.is_empty() { Err(unreadable()) } else { Ok(Self::Unix(path.into())) };
        }
        if text.starts_with("tcp:") || !text.contains('/') {
            let address = text.strip_prefix("tcp:").unwrap_or(text);
            return read_tcp(address).ok_or_else(unreadable)?.map(Self::Tcp);
        }
        // `http://…` and its like hold a slash too, and would make a directory of that name.
        if text.contains("://") { Err(unreadable()) } else { Ok(Self::Unix(text.into())) }
    }
}

fn read_tcp(text: &str) -> Option<Result<LoopbackAddr, HttpAddressError>> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Some(address.try_into());
    }
    let (host, port) = text.rsplit_once(':')?;
    let port = port.parse().ok()?;
    if host.eq_ignore_ascii_case("localhost") {
        return Some(Ok(LoopbackAddr((Ipv4Addr::LOCALHOST, port).into())));
    }
    // A name would have to be looked up, and could mean another interface tomorrow; no host means all of them.
    let name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '*');
    host.chars().all(name).then(|| Err(HttpAddressError::NotLoopback { address: text.into() }))
}

impl fmt::Display for HttpAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(formatter, "unix:{}", path.display()),
            Self::Tcp(address) => write!(formatter, "tcp:{}", address.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_serve() {
        let cases: [(&str, &str); 9] = [
            ("unix:/run/hub.sock", "unix:/run/hub.sock"),
            ("unix:hub.sock", "unix:hub.sock"),
            ("/run/hub.sock", "unix:/run/hub.sock"),
            ("./hub.sock", "unix:./hub.sock"),
            ("tcp:127.0.0.1:80", "tcp:127.0.0.1:80"),
            ("127.1.2.3:80", "tcp:127.1.2.3:80"),
            ("[::1]:0", "tcp:[::1]:0"),
            ("tcp:[::ffff:127.0.0.1]:1", "tcp:[::ffff:127.0.0.1]:1"),
            ("localhost:8080", "tcp:127.0.0.1:8080"),
        ];
        for (text, shown) in cases {
            let address: HttpAddress = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(address.to_string(), shown, "{text}");
            assert_eq!(shown.parse().as_ref(), Ok(&address), "{text}: reads what it writes");
        }
    }

    #[test]
    fn addresses_that_are_refused() {
        let cases: [(&str, &str); 12] = [
            ("tcp:0.0.0.0:80", "reached"),
            ("192.168.1.1:80", "reached"),
            ("[::]:80", "reached"),
            ("[fe80::1]:80", "reached"),
            ("tcp:example.org:80", "reached"),
            ("*:80", "reached"),
            (":80", "reached"),
            ("unix:", "no address"),
            ("127.0.0.1", "no address"),
            ("127.0.0.1:99999", "no address"),
            ("http://127.0.0.1:80", "no address"),
            ("", "no address"),
        ];
        for (text, because) in cases {
            let error = text.parse::<HttpAddress>().expect_err(text).to_string();
            assert!(error.contains(because), "{text}: {error}");
        }
    }
}
