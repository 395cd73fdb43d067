//! An address at which HTTP is served, with the credentials that clients need.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use qmp_host::SocketAccess;

use super::files::TlsFiles;
use crate::address::{HttpAddress, HttpAddressError};

/// An address at which HTTP is served, with the credentials that clients need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpEndpoint {
    address: HttpAddress,
    tls: Option<TlsFiles>,
    token_file: Option<PathBuf>,
    access: SocketAccess,
}

/// Errors of constructing an [`HttpEndpoint`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HttpEndpointError {
    /// Other hosts can reach the address, and it lacks a certificate, tokens, or both.
    #[error(
        "{address} can be reached from other hosts, so it needs a certificate and tokens, and has {has}; \
         add {missing}, or serve at a unix socket or at 127.0.0.1"
    )]
    Exposed {
        /// The address.
        address: HttpAddress,
        /// The credentials that it has.
        has: &'static str,
        /// The configuration keys to add.
        missing: &'static str,
    },
    /// A unix socket has a certificate.
    #[error("{address} is a unix socket, whose traffic stays on this host; leave the certificate out")]
    TlsOnUnix {
        /// The address.
        address: HttpAddress,
    },
    /// The address cannot be read.
    #[error(transparent)]
    Address(#[from] HttpAddressError),
}

impl HttpEndpoint {
    /// Constructs an endpoint at `address`.
    ///
    /// # Errors
    ///
    /// [`HttpEndpointError::Exposed`] unless an address that other hosts can reach has both `tls` and `token_file`;
    /// [`HttpEndpointError::TlsOnUnix`] for a unix socket with `tls`.
    pub fn new(
        address: HttpAddress,
        tls: Option<TlsFiles>,
        token_file: Option<PathBuf>,
    ) -> Result<Self, HttpEndpointError> {
        let (has, missing) = match (&tls, &token_file) {
            (None, None) => ("neither", "`certificate`, `key` and `token-file`"),
            (Some(_), None) => ("no tokens", "`token-file`"),
            (None, Some(_)) => ("no certificate", "`certificate` and `key`"),
            (Some(_), Some(_)) => ("", ""),
        };
        if !address.is_local() && !missing.is_empty() {
            return Err(HttpEndpointError::Exposed { address, has, missing });
        }
        if address.unix_path().is_some() && tls.is_some() {
            return Err(HttpEndpointError::TlsOnUnix { address });
        }
        Ok(Self { address, tls, token_file, access: SocketAccess::OWNER })
    }

    /// A unix socket; the file system decides which users can connect.
    #[must_use]
    pub fn unix(path: impl Into<PathBuf>) -> Self {
        let (address, access) = (HttpAddress::Unix(path.into()), SocketAccess::OWNER);
        Self { address, tls: None, token_file: None, access }
    }

    /// The same with other permissions of a unix socket.
    #[must_use]
    pub fn with_access(self, access: SocketAccess) -> Self {
        Self { access, ..self }
    }

    /// The permissions of a unix socket.
    #[must_use]
    pub const fn access(&self) -> SocketAccess {
        self.access
    }

    /// Returns the address.
    #[must_use]
    pub const fn address(&self) -> &HttpAddress {
        &self.address
    }

    /// Returns the certificate files, if the endpoint serves TLS.
    #[must_use]
    pub const fn tls(&self) -> Option<&TlsFiles> {
        self.tls.as_ref()
    }

    /// Returns the token file, if the endpoint requires tokens.
    #[must_use]
    pub fn token_file(&self) -> Option<&Path> {
        self.token_file.as_deref()
    }

    /// The same endpoint at `address`, which has the port that the system chose.
    pub(crate) fn at(&self, address: HttpAddress) -> Self {
        Self { address, ..self.clone() }
    }
}

/// Parses an address; the endpoint has neither certificate nor tokens.
impl FromStr for HttpEndpoint {
    type Err = HttpEndpointError;

    fn from_str(text: &str) -> Result<Self, HttpEndpointError> {
        Self::new(text.parse()?, None, None)
    }
}

/// Writes the form that clients use: `unix:PATH`, `tcp:ADDRESS:PORT`, or `https://ADDRESS:PORT`.
impl fmt::Display for HttpEndpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.address, &self.tls) {
            (HttpAddress::Tcp(address), Some(_)) => write!(formatter, "https://{address}"),
            (address, _) => address.fmt(formatter),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoint_for_other_hosts_needs_certificate_and_tokens() {
        let exposed = |has, missing| {
            Some(format!(
                "tcp:0.0.0.0:8443 can be reached from other hosts, so it needs a certificate and tokens, and has \
                 {has}; add {missing}, or serve at a unix socket or at 127.0.0.1"
            ))
        };
        let socket = "unix:/h is a unix socket, whose traffic stays on this host; leave the certificate out";
        //  address            TLS    tokens  shown, or error
        let cases = [
            ("tcp:0.0.0.0:8443", true, true, "https://0.0.0.0:8443", None),
            (
                "tcp:0.0.0.0:8443",
                false,
                false,
                "",
                exposed("neither", "`certificate`, `key` and `token-file`"),
            ),
            ("tcp:0.0.0.0:8443", true, false, "", exposed("no tokens", "`token-file`")),
            ("tcp:0.0.0.0:8443", false, true, "", exposed("no certificate", "`certificate` and `key`")),
            ("tcp:127.0.0.1:80", false, false, "tcp:127.0.0.1:80", None),
            ("tcp:127.0.0.1:80", false, true, "tcp:127.0.0.1:80", None),
            ("tcp:127.0.0.1:80", true, false, "https://127.0.0.1:80", None),
            ("tcp:[::1]:80", true, true, "https://[::1]:80", None),
            ("unix:/h", false, false, "unix:/h", None),
            ("unix:/h", false, true, "unix:/h", None),
            ("unix:/h", true, true, "", Some(socket.to_owned())),
        ];
        for (address, tls, tokens, shown, refused) in cases {
            let files = TlsFiles { certificate: "/c".into(), key: "/k".into(), client_ca: None };
            let address: HttpAddress = address.parse().expect("an address");
            let endpoint =
                HttpEndpoint::new(address.clone(), tls.then_some(files), tokens.then(|| "/t".into()));
            match (endpoint, refused) {
                (Ok(endpoint), None) => assert_eq!(endpoint.to_string(), shown),
                (Err(error), Some(refused)) => assert_eq!(error.to_string(), refused),
                (endpoint, _) => panic!("{address} {tls} {tokens}: {endpoint:?}"),
            }
        }
    }
}
