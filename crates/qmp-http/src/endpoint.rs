//! Endpoints: an address for HTTP, with the credentials that clients need there.
//!
//! A client of the hub can stop and quit VMs. At a unix socket the file system decides which users can connect; at a
//! loopback address every user of this host can. Any other address is open to other hosts, so an endpoint there must
//! have a certificate, against eavesdropping, and tokens, to identify clients; without both it cannot be constructed.

mod files;
mod http_endpoint;
mod tls;
mod tokens;
mod credentials;
mod eviction;

pub(super) use credentials::Credentials;
pub(super) use eviction::{EvictionEntry, EvictionQueue};
pub use files::{KeyFileError, TlsFiles};
pub use http_endpoint::{HttpEndpoint, HttpEndpointError};
pub(super) use tokens::Token;
