//! The members of an object of the wire.

use serde::ser::SerializeMap;

/// An object whose members can be written among those of another one.
pub(crate) trait WireObject {
    /// Writes all members, the unknown ones last.
    fn serialize_members<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error>;
}
