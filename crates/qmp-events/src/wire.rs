//! Shared code of all generated types: unknown values, and the macros that implement decoding and encoding.
//!
//! Decoding reads the text once, without buffering: a known member is read in place, an unknown one is kept as its
//! text. Encoding writes the known members in the order of the schema, then the unknown ones in their original
//! order.

#[macro_use]
mod enums;
#[macro_use]
mod structs;
#[macro_use]
mod unions;

mod reader;
mod unknown;

pub(crate) use reader::{Decode, DecodeFailure, Reader, decode};
pub(crate) use structs::WireObject;
pub use unknown::{RawJson, UnknownMembers};

/// Implements `Deserialize` of serde for a type that implements `Decode`, for use with `serde_json`.
macro_rules! deserialize_by_text {
    ($name:ident) => {
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = Box::<serde_json::value::RawValue>::deserialize(deserializer)?;
                $crate::wire::decode(text.get()).map_err(|$crate::wire::DecodeFailure| {
                    serde::de::Error::custom(concat!("does not fit ", stringify!($name)))
                })
            }
        }
    };
}
pub(crate) use deserialize_by_text;
