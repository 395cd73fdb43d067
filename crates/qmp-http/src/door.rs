//! Who may come in where: an address, and what is asked of those who come to it.
//!
//! Whoever reaches the hub may stop and quit VMs. At a unix socket the file system says who that is, and at a
//! loopback address it is every user of this host. At any other address it would be everybody, so a door there
//! has both a certificate, so that nobody reads along, and tokens, so that it is known who asks; without, it
//! cannot be made.

mod files;
mod http_door;
mod tls;
mod tokens;
mod keys;
mod strangers;

pub use files::{KeyFileError, TlsFiles};
pub use http_door::{HttpDoor, HttpDoorError};
pub(super) use keys::Keys;
pub(super) use strangers::{Stranger, Strangers};
pub(super) use tokens::Token;
