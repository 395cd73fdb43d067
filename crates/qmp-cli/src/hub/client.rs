//! A hub, and the credentials for it.

use std::fmt;

use tokio_rustls::TlsConnector;

use super::address::HubAddress;

/// A client of one hub; each request has its own connection.
#[derive(Clone)]
pub struct HubClient {
    pub(super) address: HubAddress,
    /// Sent with each request.
    pub(super) token: Option<Box<str>>,
    /// For an HTTPS address.
    pub(super) tls: Option<TlsConnector>,
}

/// Omits the token.
impl fmt::Debug for HubClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HubClient({})", self.address)
    }
}

impl HubClient {
    /// Whether the hub runs on this host.
    pub fn is_on_this_host(&self) -> bool {
        matches!(self.address, HubAddress::Unix(_) | HubAddress::Tcp(_))
    }
}
