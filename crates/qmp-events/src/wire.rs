//! What all generated types share: the values that are kept although the catalogue does not know them, and
//! the macros that give each type its decoding and encoding.
//!
//! Decoding reads the text once, without buffering: a known member is read in place, an unknown one is kept as
//! the text that came. Encoding writes the known members in the order of the schema, then the unknown ones in
//! the order in which they came.

#[macro_use]
mod enums;
#[macro_use]
mod structs;
#[macro_use]
mod unions;

mod reader;
mod unknown;

pub(crate) use reader::{Decode, Reader, Unfit, decode};
pub(crate) use structs::WireObject;
pub use unknown::{RawJson, UnknownMembers};

/// Gives a type that can be read from JSON the `Deserialize` of serde, for use with `serde_json`.
macro_rules! deserialize_by_text {
    ($name:ident) => {
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = Box::<serde_json::value::RawValue>::deserialize(deserializer)?;
                $crate::wire::decode(text.get()).map_err(|$crate::wire::Unfit| {
                    serde::de::Error::custom(concat!("does not fit ", stringify!($name)))
                })
            }
        }
    };
}
pub(crate) use deserialize_by_text;
