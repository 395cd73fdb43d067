//! Introspection: the events in the reply to `query-qmp-schema`, compared with the catalogue.
//!
//! QEMU folds all integer types into one and shows no rate limits and no dates. [`Schema::parse`] parses a reply,
//! [`compare`] lists the differences from the catalogue, in both directions, and [`schema_json`] writes the reply
//! that the catalogue implies.
//!
//! Source: `query-qmp-schema`, from QEMU 2.5 on.

mod compare;
mod difference;
mod entry;
mod parse;
mod write;

use crate::{Builtin, TypeRef};

pub use compare::compare;
pub use difference::{Difference, DifferenceKind, Severity};
pub use parse::{
    SCHEMA_DEPTH_MAX, SCHEMA_MEMBERS_MAX, SCHEMA_NAME_MAX_BYTES, Schema, SchemaError, SchemaEvent,
    SchemaMember,
};
pub use write::schema_json;

/// The features that the catalogue contains, too: deprecated and unstable.
pub(crate) const FEATURES: [&str; 2] = ["deprecated", "unstable"];

/// Returns the type as introspection names it: `string`, `int`, `boolean`, `number`, `object`, `array`, `value`,
/// `null`.
pub fn json_type(ty: &TypeRef) -> &'static str {
    match ty {
        TypeRef::Builtin(ty) => builtin(*ty).1,
        TypeRef::Array(_) => "array",
        TypeRef::Enum(_) => "string",
        TypeRef::Struct(_) => "object",
    }
}

/// Returns the type with those of list elements: `[int]`.
fn shape(ty: &TypeRef) -> String {
    match ty {
        TypeRef::Array(ty) => format!("[{}]", shape(ty)),
        _ => json_type(ty).to_owned(),
    }
}

/// Returns the name of a builtin type in introspection, and its JSON type.
fn builtin(ty: Builtin) -> (&'static str, &'static str) {
    match ty {
        Builtin::Str => ("str", "string"),
        Builtin::Bool => ("bool", "boolean"),
        Builtin::Number => ("number", "number"),
        Builtin::Any => ("any", "value"),
        Builtin::Null => ("null", "null"),
        _ => ("int", "int"),
    }
}
