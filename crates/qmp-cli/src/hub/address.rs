//! The addresses of a hub: its socket, a port of this host, or a host with TLS.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use qmp_http::HttpAddress;

/// The port of an address without one.
const HTTPS_PORT: u16 = 443;

/// A hub's address, the value of `--hub`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HubAddress {
    /// A unix socket.
    Unix(PathBuf),
    /// A port of this host.
    Tcp(SocketAddr),
    /// A host with TLS; the name (without brackets) must be in the certificate.
    Https { host: String, port: u16 },
}

impl FromStr for HubAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(authority) = text.strip_prefix("https://") {
            return https(authority.strip_suffix('/').unwrap_or(authority))
                .ok_or_else(|| format!("{text:?} is not an address; write https://HOST:PORT"));
        }
        let other_host = |address| format!("{address} is another host, which needs TLS: https://{address}");
        match text.parse() {
            Ok(HttpAddress::Unix(path)) => Ok(Self::Unix(path)),
            Ok(address @ HttpAddress::Tcp(port)) if address.is_local() => Ok(Self::Tcp(port)),
            Ok(HttpAddress::Tcp(port)) => Err(other_host(port.to_string())),
            Err(error) => {
                let name = text.strip_prefix("tcp:").unwrap_or(text);
                match https(name) {
                    Some(_) if !name.is_empty() && !name.contains('/') && name.contains(':') => {
                        Err(other_host(name.to_owned()))
                    }
                    _ => Err(format!("{error}, or https://HOST:PORT")),
                }
            }
        }
    }
}

/// `HOST`, `HOST:PORT`, `[::1]:PORT`.
fn https(authority: &str) -> Option<HubAddress> {
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()?),
        _ => (authority, HTTPS_PORT),
    };
    let host = match host.strip_prefix('[') {
        Some(bracketed) => {
            bracketed.strip_suffix(']').filter(|ip| ip.parse::<std::net::Ipv6Addr>().is_ok())?
        }
        None => host,
    };
    rustls::pki_types::ServerName::try_from(host).ok()?;
    Some(HubAddress::Https { host: host.to_owned(), port })
}

impl HubAddress {
    /// The header `Host` of a request.
    pub fn host(&self) -> String {
        match self {
            Self::Unix(_) | Self::Tcp(_) => "localhost".to_owned(),
            Self::Https { host, port } if host.contains(':') => format!("[{host}]:{port}"),
            Self::Https { host, port } => format!("{host}:{port}"),
        }
    }
}

impl HubAddress {
    /// The address for a browser; `None` if a browser cannot open it: the hub listens on a unix socket.
    pub fn origin(&self) -> Option<String> {
        match self {
            Self::Unix(_) => None,
            Self::Tcp(address) => Some(format!("http://{address}")),
            Self::Https { .. } => Some(format!("https://{}", self.host())),
        }
    }
}

impl fmt::Display for HubAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp(address) => write!(f, "tcp:{address}"),
            Self::Https { .. } => write!(f, "https://{}", self.host()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_is_read_and_shown() {
        let cases = [
            ("unix:/run/hub.sock", Ok("unix:/run/hub.sock")),
            ("./hub.sock", Ok("unix:./hub.sock")),
            ("127.0.0.1:80", Ok("tcp:127.0.0.1:80")),
            ("https://hub.example:8443", Ok("https://hub.example:8443")),
            ("https://hub.example/", Ok("https://hub.example:443")),
            ("https://[::1]:8443", Ok("https://[::1]:8443")),
            ("https://[::1]", Ok("https://[::1]:443")),
            ("https://10.0.0.7", Ok("https://10.0.0.7:443")),
            ("https://", Err("\"https://\" is not an address; write https://HOST:PORT")),
            ("https://a b", Err("\"https://a b\" is not an address; write https://HOST:PORT")),
            ("https://hub:port", Err("\"https://hub:port\" is not an address; write https://HOST:PORT")),
            ("tcp:10.0.0.7:80", Err("10.0.0.7:80 is another host, which needs TLS: https://10.0.0.7:80")),
            ("tcp:hub:80", Err("hub:80 is another host, which needs TLS: https://hub:80")),
            (
                "http://hub:80",
                Err(
                    "\"http://hub:80\" is no address; write unix:/run/qmp-events/hub.sock or tcp:127.0.0.1:8080, or https://HOST:PORT",
                ),
            ),
        ];
        for (text, expected) in cases {
            let read = text.parse::<HubAddress>().map(|address| address.to_string());
            assert_eq!(read.as_deref().map_err(String::as_str), expected, "{text}");
        }
    }
}
