//! Connections that something else than the operating system makes: in memory, or through a tunnel.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use crate::connect_error::ConnectError;
use crate::socket::ByteStream;
use qmp_wire::Address;

/// A connection under way.
pub type DialFuture<'a> =
    Pin<Box<dyn Future<Output = Result<Pin<Box<dyn ByteStream>>, ConnectError>> + Send + 'a>>;

/// Makes connections to addresses, in place of the operating system.
pub trait Dial: fmt::Debug + Send + Sync {
    /// Connects to the monitor at `address`. It has sent nothing yet.
    fn dial<'a>(&'a self, address: &'a Address) -> DialFuture<'a>;
}
