//! The names of types in introspection.

use crate::desc::{Builtin, TypeRef};

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
pub(crate) fn shape(ty: &TypeRef) -> String {
    match ty {
        TypeRef::Array(ty) => format!("[{}]", shape(ty)),
        _ => json_type(ty).to_owned(),
    }
}

/// Returns the name of a builtin type in introspection, and its JSON type.
pub(crate) fn builtin(ty: Builtin) -> (&'static str, &'static str) {
    match ty {
        Builtin::Str => ("str", "string"),
        Builtin::Bool => ("bool", "boolean"),
        Builtin::Number => ("number", "number"),
        Builtin::Any => ("any", "value"),
        Builtin::Null => ("null", "null"),
        _ => ("int", "int"),
    }
}
