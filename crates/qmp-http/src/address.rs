//! Addresses at which the hub serves HTTP: a unix socket or a TCP port.
//!
//! An address says only where; the [`HttpEndpoint`](super::HttpEndpoint) at it says which credentials clients need.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// An address at which HTTP can be served.
///
/// Written as `unix:/run/qmp-events/hub.sock`, a bare path with a `/`, `tcp:127.0.0.1:8080`, `tcp:[::1]:8080`
/// or `tcp:localhost:8080`; with or without `tcp:`. Port 0 lets the system choose.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HttpAddress {
    /// A unix socket with mode 0600: the file system decides which users can connect.
    Unix(PathBuf),
    /// A port of an interface.
    Tcp(SocketAddr),
}

/// Errors of reading an [`HttpAddress`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HttpAddressError {
    /// The address names a host. A name must be resolved, and could mean another interface tomorrow.
    #[error(
        "{address:?} names no interface; write tcp:127.0.0.1:PORT for this host alone, tcp:0.0.0.0:PORT or \
         tcp:[::]:PORT for all, or the address of one"
    )]
    NoInterface {
        /// The text that was parsed.
        address: Box<str>,
    },
    /// The text is neither a path nor HOST:PORT.
    #[error("{address:?} is no address; write unix:/run/qmp-events/hub.sock or tcp:127.0.0.1:8080")]
    Unreadable {
        /// The text that was parsed.
        address: Box<str>,
    },
    /// The address has an option as in an address of QEMU.
    #[error(
        "{address:?} has the option \"{option}\", which is for monitors of QEMU; the hub always listens, so leave it out"
    )]
    HasOption {
        /// The text that was parsed.
        address: Box<str>,
        /// The first option.
        option: Box<str>,
    },
}

impl HttpAddress {
    /// Returns the socket's path, if the address is a unix socket.
    #[must_use]
    pub fn unix_path(&self) -> Option<&Path> {
        match self {
            Self::Unix(path) => Some(path),
            Self::Tcp(_) => None,
        }
    }

    /// Whether only this host can reach the address.
    #[must_use]
    pub fn is_local(&self) -> bool {
        match self {
            Self::Unix(_) => true,
            Self::Tcp(address) => match address.ip() {
                IpAddr::V4(ip) => ip.is_loopback(),
                IpAddr::V6(ip) => {
                    ip.is_loopback() || ip.to_ipv4_mapped().is_some_and(|mapped| mapped.is_loopback())
                }
            },
        }
    }
}

impl FromStr for HttpAddress {
    type Err = HttpAddressError;

    fn from_str(text: &str) -> Result<Self, HttpAddressError> {
        let unreadable = || HttpAddressError::Unreadable { address: text.into() };
        if let Some(option) = text.split(',').skip(1).find(|part| is_option(part)) {
            return Err(HttpAddressError::HasOption { address: text.into(), option: option.into() });
        }
        if let Some(path) = text.strip_prefix("unix:") {
            return if path.is_empty() { Err(unreadable()) } else { Ok(Self::Unix(path.into())) };
        }
        if text.starts_with("tcp:") || !text.contains('/') {
            let address = text.strip_prefix("tcp:").unwrap_or(text);
            return read_tcp(address).ok_or_else(unreadable)?.map(Self::Tcp);
        }
        // `http://…` and other URLs contain a slash too, and would make a directory of that name.
        if text.contains("://") { Err(unreadable()) } else { Ok(Self::Unix(text.into())) }
    }
}

/// Whether a part after a comma is an option of QEMU's sockets. Another comma belongs to the path.
fn is_option(part: &str) -> bool {
    let name = part.split_once('=').map_or(part, |(name, _)| name);
    ["server", "wait", "nowait", "reconnect", "reconnect-ms", "abstract", "path"].contains(&name)
}

fn read_tcp(text: &str) -> Option<Result<SocketAddr, HttpAddressError>> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Some(Ok(address));
    }
    let (host, port) = text.rsplit_once(':')?;
    let port = port.parse().ok()?;
    if host.eq_ignore_ascii_case("localhost") {
        return Some(Ok((Ipv4Addr::LOCALHOST, port).into()));
    }
    let name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '*');
    host.chars().all(name).then(|| Err(HttpAddressError::NoInterface { address: text.into() }))
}

impl fmt::Display for HttpAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(formatter, "unix:{}", path.display()),
            Self::Tcp(address) => write!(formatter, "tcp:{address}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn valid_address_is_read_and_shown() {
        //  text                        shown                       local
        let cases: [(&str, &str, bool); 13] = [
            ("unix:/run/hub.sock", "unix:/run/hub.sock", true),
            ("unix:hub.sock", "unix:hub.sock", true),
            ("/run/hub.sock", "unix:/run/hub.sock", true),
            ("./hub.sock", "unix:./hub.sock", true),
            ("/run/hub,1.sock", "unix:/run/hub,1.sock", true),
            ("tcp:127.0.0.1:80", "tcp:127.0.0.1:80", true),
            ("127.1.2.3:80", "tcp:127.1.2.3:80", true),
            ("[::1]:0", "tcp:[::1]:0", true),
            ("tcp:[::ffff:127.0.0.1]:1", "tcp:[::ffff:127.0.0.1]:1", true),
            ("localhost:8080", "tcp:127.0.0.1:8080", true),
            ("0.0.0.0:80", "tcp:0.0.0.0:80", false),
            ("[::]:80", "tcp:[::]:80", false),
            ("[fe80::1]:80", "tcp:[fe80::1]:80", false),
        ];
        for (text, shown, is_local) in cases {
            let address: HttpAddress = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(address.to_string(), shown, "{text}");
            assert_eq!(address.is_local(), is_local, "{text}");
            assert_eq!(shown.parse().as_ref(), Ok(&address), "{text}: the shown form is read back");
        }
    }

    #[test]
    fn invalid_address_is_refused() {
        let cases: [(&str, &str); 11] = [
            ("tcp:example.org:80", "names no interface"),
            ("*:80", "names no interface"),
            (":80", "names no interface"),
            ("unix:", "no address"),
            ("127.0.0.1", "no address"),
            ("127.0.0.1:99999", "no address"),
            ("http://127.0.0.1:80", "no address"),
            ("unix:/run/hub.sock,server=on", "the option \"server=on\""),
            ("/run/hub.sock,server,nowait", "the option \"server\""),
            ("tcp:127.0.0.1:80,server=on,wait=off", "the hub always listens, so leave it out"),
            ("", "no address"),
        ];
        for (text, because) in cases {
            let error = text.parse::<HttpAddress>().expect_err(text).to_string();
            assert!(error.contains(because), "{text}: {error}");
        }
    }
}
