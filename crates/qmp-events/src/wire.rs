//! Shared code of all generated types: unknown values, and the macros that implement decoding and encoding.
//!
//! Decoding reads the text once, without buffering: a known member is read in place, an unknown one is kept as its
//! text. Encoding writes the known members in the order of the schema, then the unknown ones in their original
//! order.

// The macros name these by path.
pub(crate) mod reader;
pub(crate) mod object;
pub(crate) mod unknown;

#[macro_use]
mod enums;
#[macro_use]
mod structs;
#[macro_use]
mod unions;

pub(crate) use reader::{Decode, decode};
pub use unknown::{RawJson, UnknownMembers};
