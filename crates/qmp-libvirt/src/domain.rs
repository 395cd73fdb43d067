//! A domain, as every call and event names it.

use crate::uuid::Uuid;
use crate::words::cut;
use crate::xdr::{Decoder, Encoder, XdrError};

/// Most domains of a daemon, as in libvirt's list.
pub(crate) const DOMAINS_MAX: u32 = 16_384;

/// Bytes of a name that are kept. libvirt's names are parts of names of files.
const NAME_MAX_BYTES: usize = 1 << 10;

/// A domain: a virtual machine that libvirt knows, running or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Domain {
    /// Its name, which a rename changes.
    pub name: Box<str>,
    /// Its identity. libvirtd looks a domain up by this alone.
    pub uuid: Uuid,
    /// The number of its run; −1 while it does not run. Unique only until libvirtd restarts.
    pub id: i32,
}

impl Domain {
    /// Returns the number of the run, if the domain runs.
    #[must_use]
    pub fn run(&self) -> Option<i32> {
        (self.id >= 0).then_some(self.id)
    }

    pub(crate) fn decode(decoder: &mut Decoder<'_>) -> Result<Self, XdrError> {
        Ok(Self { name: cut(decoder.text()?, NAME_MAX_BYTES), uuid: decoder.uuid()?, id: decoder.i32()? })
    }

    pub(crate) fn encode(&self, encoder: Encoder) -> Encoder {
        encoder.text(&self.name).uuid(self.uuid).i32(self.id)
    }
}
