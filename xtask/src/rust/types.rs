//! The types of one module: enums, structs, unions, and a struct for the data of each event.
//!
//! Macros of `qmp_events::wire` give them their decoding and encoding.

use std::fmt::Write as _;

use qmp_wire::dialect::{Object, Value};

use super::literals::doc;
use super::paths::Scope;
use crate::model::{Enum, Member, Struct};
use crate::release::Release;
use crate::{names, shape};

/// Generates the file; `None` if the module has only events without data.
pub(super) fn module(scope: Scope<'_>) -> Option<String> {
    let Scope { catalogue, module } = scope;
    let mut text = String::new();
    for ty in &module.enums {
        write_enum(&mut text, ty);
    }
    for ty in &module.structs {
        match &ty.tag {
            Some(tag) => write_union(&mut text, scope, ty, tag),
            None => {
                let since = shape::struct_since(catalogue, &ty.name);
                let summary = doc(&ty.summary);
                write_struct(&mut text, scope, &ty.name, &summary, &ty.members, since);
            }
        }
    }
    for event in module.events.iter().filter(|event| !event.members.is_empty()) {
        let summary = format!("Data of `{}`: {}", event.name, lowered(&doc(&event.summary)));
        let since = event.data_since.map_or(Some(event.since), |_| None);
        write_struct(&mut text, scope, &names::variant(&event.name), &summary, &event.members, since);
    }
    if text.is_empty() {
        return None;
    }
    Some(format!("//! Types of the QAPI module `{}`.\n\n{text}", module.module))
}

fn write_enum(text: &mut String, ty: &Enum) {
    _ = write!(text, "wire_enum! {{\n    /// {}\n    {} {{\n", doc(&ty.summary), ty.name);
    for value in &ty.values {
        let since = since_text(value.since, value.removed);
        let summary =
            if value.summary.is_empty() { format!("`{}`.", value.name) } else { doc(&value.summary) };
        _ = writeln!(text, "        /// {summary}{since}");
        _ = writeln!(text, "        {} = {:?},", names::variant(&value.name), value.name);
    }
    text.push_str("    }\n}\n\n");
}

fn write_struct(
    text: &mut String,
    scope: Scope<'_>,
    name: &str,
    summary: &str,
    members: &[Member],
    since: Option<Release>,
) {
    // If no event contains the struct, only members without dates count as always present.
    let is_mandatory = |member: &Member| match since {
        Some(since) => shape::is_mandatory(member, since),
        None => {
            member.since.is_none() && shape::is_mandatory(member, Release { major: 0, minor: 0, micro: None })
        }
    };
    _ = write!(text, "wire_struct! {{\n    /// {summary}\n    {name} {{\n");
    let kind_of = |member: &Member| match member {
        member if is_mandatory(member) => "required",
        member if shape::is_mandatory_at_last(member) => "recent",
        _ => "optional",
    };
    for kind in ["required", "recent", "optional"] {
        let members: Vec<&Member> = members.iter().filter(|member| kind_of(member) == kind).collect();
        if members.is_empty() {
            _ = writeln!(text, "        {kind} {{}}");
            continue;
        }
        _ = writeln!(text, "        {kind} {{");
        for member in members {
            write_member(text, scope, member);
        }
        text.push_str("        }\n");
    }
    text.push_str("        printed {\n");
    for name in printed(members) {
        _ = writeln!(text, "            {} = {name:?},", names::field(&name));
    }
    text.push_str("        }\n    }\n}\n\n");
}

/// Returns the names of the members in the order in which a QEMU prints them.
fn printed(members: &[Member]) -> Vec<String> {
    let object: Object = members.iter().map(|member| (&*member.name, Value::Null)).collect();
    object.members().into_iter().map(|(name, _)| name.to_owned()).collect()
}

fn write_member(text: &mut String, scope: Scope<'_>, member: &Member) {
    let unit = member.unit.as_ref().map_or(String::new(), |unit| format!(" Unit: {unit}."));
    let since = since_text(member.since, member.removed);
    let field = names::field(&member.name);
    let ty = qualified(scope, &shape::rust_type(&member.ty));
    _ = writeln!(text, "            /// {}{unit}{since}", doc(&member.summary));
    _ = writeln!(text, "            {field}: {ty} = {:?},", member.name);
}

fn write_union(text: &mut String, scope: Scope<'_>, ty: &Struct, tag: &str) {
    let tag_type = ty.members.iter().find(|member| member.name == tag).map(|member| member.ty.base());
    let values =
        tag_type.and_then(|name| scope.catalogue.enum_named(name)).map_or(&[][..], |values| &values.values);
    _ = write!(text, "wire_union! {{\n    /// {}\n    {} by {tag:?} {{\n", doc(&ty.summary), ty.name);
    for value in values {
        let variant = ty.variants.iter().find(|variant| variant.value == value.name);
        let branch =
            variant.and_then(|variant| variant.ty.clone()).unwrap_or("crate::wire::UnknownMembers".into());
        let summary =
            if value.summary.is_empty() { format!("`{}`.", value.name) } else { doc(&value.summary) };
        let since = since_text(value.since, value.removed);
        _ = writeln!(text, "        /// {summary}{since}");
        _ = writeln!(
            text,
            "        {}({}) = {:?},",
            names::variant(&value.name),
            qualified(scope, &branch),
            value.name
        );
    }
    text.push_str("    }\n}\n\n");
}

fn since_text(since: Option<Release>, removed: Option<Release>) -> String {
    match (since, removed) {
        (Some(since), Some(removed)) => format!(" Since {since}, until {removed}."),
        (Some(since), None) => format!(" Since {since}."),
        (None, Some(removed)) => format!(" Until {removed}."),
        (None, None) => String::new(),
    }
}

/// Returns the Rust type with the path of the type of the catalogue in it.
fn qualified(scope: Scope<'_>, ty: &str) -> String {
    match ty.strip_prefix("Vec<").and_then(|rest| rest.strip_suffix('>')) {
        Some(element) => format!("Vec<{}>", qualified(scope, element)),
        None => scope.path(ty),
    }
}

/// Returns the sentence with a lower-case first letter, unless it begins with a name.
fn lowered(sentence: &str) -> String {
    let mut characters = sentence.chars();
    let first = characters.next();
    let is_name = characters.clone().next().is_some_and(|second| !second.is_lowercase() && second != ' ');
    match first {
        Some(first) if !is_name => first.to_lowercase().chain(characters).collect(),
        _ => sentence.to_owned(),
    }
}
