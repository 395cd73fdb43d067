//! Introspection: the events in the reply to `query-qmp-schema`, compared with the catalogue.
//!
//! QEMU folds all integer types into one and shows no rate limits and no dates. [`Schema::parse`] parses a reply,
//! [`compare`] lists the differences from the catalogue, in both directions, and [`schema_json`] writes the reply
//! that the catalogue implies.
//!
//! Source: `query-qmp-schema`, from QEMU 2.5 on.

mod difference;
mod entry;
mod parse;
mod features;
mod compare;
mod write;

pub use crate::schema_type::json_type;
pub use compare::compare;
pub use difference::{Difference, DifferenceKind, Severity};
pub use parse::{
    SCHEMA_DEPTH_MAX, SCHEMA_MEMBERS_MAX, SCHEMA_NAME_MAX_BYTES, Schema, SchemaError, SchemaEvent,
    SchemaMember,
};
pub use write::schema_json;
