//! The Rust types of members: mandatory or optional over all releases.

use crate::model::{Catalogue, Event, Member, Type};
use crate::release::Release;

/// The builtin types of QAPI: name, Rust type, variant of `Builtin`.
pub(crate) const BUILTINS: &[(&str, &str, &str)] = &[
    ("str", "Box<str>", "Str"),
    ("bool", "bool", "Bool"),
    ("number", "f64", "Number"),
    ("int", "i64", "Int"),
    ("int8", "i8", "Int8"),
    ("int16", "i16", "Int16"),
    ("int32", "i32", "Int32"),
    ("int64", "i64", "Int64"),
    ("uint8", "u8", "Uint8"),
    ("uint16", "u16", "Uint16"),
    ("uint32", "u32", "Uint32"),
    ("uint64", "u64", "Uint64"),
    ("size", "u64", "Size"),
    ("any", "crate::wire::RawJson", "Any"),
    ("null", "()", "Null"),
];

/// Returns the entry of a builtin type.
pub(crate) fn builtin(name: &str) -> Option<&'static (&'static str, &'static str, &'static str)> {
    BUILTINS.iter().find(|(other, ..)| *other == name)
}

/// Returns the Rust type of a member's value.
pub(crate) fn rust_type(ty: &Type) -> String {
    match ty {
        Type::Array(element) => format!("Vec<{}>", rust_type(element)),
        Type::Name(name) => builtin(name).map_or(name.as_str(), |(_, rust, _)| rust).to_owned(),
    }
}

/// Returns whether every release that has the object always has the member.
pub(crate) fn is_mandatory(member: &Member, object_since: Release) -> bool {
    is_mandatory_at_last(member) && member.since.is_none_or(|since| since <= object_since)
}

/// Returns whether the newest release that has the object always has the member.
pub(crate) fn is_mandatory_at_last(member: &Member) -> bool {
    let optional = member.optional || member.optional_since.is_some() || member.condition.is_some();
    !optional && member.removed.is_none()
}

/// Returns the first release in which the event has data.
pub(crate) fn data_since(event: &Event) -> Release {
    event.data_since.unwrap_or(event.since)
}

/// Returns the first release in which an event contains the struct; `None` if none does.
pub(crate) fn struct_since(catalogue: &Catalogue, name: &str) -> Option<Release> {
    let of_event = |event: &Event| {
        let since = |member: &Member| member.since.unwrap_or(data_since(event));
        let holds = |member: &&Member| reaches(catalogue, member.ty.base(), name);
        event.members.iter().filter(holds).map(since).min()
    };
    catalogue.events().iter().filter_map(|(_, event)| of_event(event)).min()
}

fn reaches(catalogue: &Catalogue, from: &str, to: &str) -> bool {
    from == to || references(catalogue, from).any(|next| reaches(catalogue, next, to))
}

/// Returns the types that a struct refers to: of its members and of its branches.
pub(crate) fn references<'a>(catalogue: &'a Catalogue, name: &str) -> impl Iterator<Item = &'a str> {
    catalogue.struct_named(name).into_iter().flat_map(|ty| {
        let members = ty.members.iter().map(|member| member.ty.base());
        members.chain(ty.variants.iter().filter_map(|variant| variant.ty.as_deref()))
    })
}
