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
    /// Whether a slow hub is noted on the standard error.
    pub(super) has_notes: bool,
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

    /// Omits the notes about a slow hub, which would spoil a display of the whole screen.
    #[must_use]
    pub fn without_notes(self) -> Self {
        Self { has_notes: false, ..self }
    }

    /// The address, for people.
    pub fn address(&self) -> &HubAddress {
        &self.address
    }
}
