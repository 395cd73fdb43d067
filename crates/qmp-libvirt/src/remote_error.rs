//! An error that libvirtd replies.

use std::fmt;

use crate::words::cut;
use crate::xdr::{Decoder, XdrError};

/// Bytes of the text that are kept: it is logged, and a reply may have megabytes.
const MESSAGE_MAX_BYTES: usize = 512;

/// libvirtd's error, with its own text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteError {
    /// The kind of error.
    pub code: i32,
    /// The part of libvirt that failed.
    pub part: i32,
    /// The beginning of the text, written for people.
    pub message: Box<str>,
}

impl std::error::Error for RemoteError {}

impl RemoteError {
    /// Code: a socket for readers only.
    pub const DENIED: i32 = 29;
    /// Code: no such procedure or program, or no authentication yet.
    pub const RPC: i32 = 39;
    /// Code: no domain with this UUID.
    pub const NO_DOMAIN: i32 = 42;
    /// Code: the access rules of the daemon do not permit the call.
    pub const ACCESS_DENIED: i32 = 88;
    /// Code: nothing can authenticate the client.
    pub const NO_AUTHENTICATION: i32 = 94;

    /// Returns what a person can do about it; `None` if the text says all.
    #[must_use]
    pub fn advice(&self) -> Option<&'static str> {
        match self.code {
            Self::DENIED => Some("connect to the socket without `-ro` in its name: events need it"),
            Self::ACCESS_DENIED => Some(
                "grant this user connect.getattr, connect.search-domains, connect.write, domain.getattr and domain.read \
                 in a polkit rule",
            ),
            Self::NO_AUTHENTICATION => Some(
                "let this user do org.libvirt.unix.manage in a polkit rule, or make it a member of the group libvirt",
            ),
            _ => None,
        }
    }

    pub(crate) fn decode(payload: &[u8]) -> Result<Self, XdrError> {
        let mut decoder = Decoder::new(payload);
        let (code, part) = (decoder.i32()?, decoder.i32()?);
        let message = decoder.optional(Decoder::text)?.unwrap_or_default();
        let _level = decoder.i32()?;
        decoder.optional(|domain| crate::domain::Domain::decode(domain))?;
        for _ in 0..3 {
            decoder.optional(Decoder::text)?;
        }
        let _numbers = (decoder.i32()?, decoder.i32()?);
        decoder.optional(|network| Ok((network.text()?, network.uuid()?)))?;
        decoder.finish()?;
        Ok(Self { code, part, message: cut(message, MESSAGE_MAX_BYTES) })
    }
}

impl fmt::Display for RemoteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "libvirt refuses with code {}: {}", self.code, self.message)?;
        self.advice().map_or(Ok(()), |advice| write!(f, "; {advice}"))
    }
}
