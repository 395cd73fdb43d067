//! Checks of enums, structs and members.

use super::errors::Errors;
use crate::model::{Catalogue, Enum, Member, Struct};
use crate::release::Release;
use crate::{names, shape};

/// Checks all types, and the members of all events.
pub(super) fn check(catalogue: &Catalogue, errors: &mut Errors) {
    let types = catalogue.enums().map(|ty| &ty.name).chain(catalogue.structs().map(|ty| &ty.name));
    let events: Vec<String> =
        catalogue.events().iter().map(|(_, event)| names::variant(&event.name)).collect();
    let names = types.map(String::as_str).chain(events.iter().map(String::as_str));
    errors.unless_distinct("catalogue", "type (or event as a type)", names);
    for module in &catalogue.modules {
        for ty in &module.enums {
            check_enum(&format!("catalogue/{}.toml: enum {}", module.module, ty.name), catalogue, ty, errors);
        }
        for ty in &module.structs {
            check_struct(
                &format!("catalogue/{}.toml: struct {}", module.module, ty.name),
                catalogue,
                ty,
                errors,
            );
        }
        for event in &module.events {
            let location = format!("catalogue/{}.toml: event {}", module.module, event.name);
            check_members(&location, catalogue, &event.members, Some(event.since), errors);
        }
    }
}

fn check_enum(location: &str, catalogue: &Catalogue, ty: &Enum, errors: &mut Errors) {
    check_type_name(location, &ty.name, errors);
    errors.unless_sentence(location, "summary", &ty.summary);
    errors.unless_distinct(location, "value", ty.values.iter().map(|value| &*value.name));
    let variants: Vec<String> = ty.values.iter().map(|value| names::variant(&value.name)).collect();
    errors.unless_distinct(location, "variant", variants.iter().map(String::as_str));
    for value in &ty.values {
        let location = format!("{location}: value {}", value.name);
        match &*names::variant(&value.name) {
            "Other" => errors.add(&location, "value other cannot be called Other in Rust"),
            name if !names::is_identifier(name) => errors.add(&location, "cannot be a name in Rust"),
            _ => {}
        }
        errors.unless_known(&location, catalogue, [&value.since, &value.removed, &value.deprecated]);
        errors.unless_increasing(&location, &[("since", value.since, "removed", value.removed)]);
    }
}

fn check_struct(location: &str, catalogue: &Catalogue, ty: &Struct, errors: &mut Errors) {
    check_type_name(location, &ty.name, errors);
    errors.unless_sentence(location, "summary", &ty.summary);
    check_members(location, catalogue, &ty.members, None, errors);
    if contains(catalogue, &ty.name, &ty.name, &mut Vec::new()) {
        errors.add(location, "contains itself");
    }
    let Some(tag) = &ty.tag else {
        if !ty.variants.is_empty() {
            errors.add(location, "variants need a tag");
        }
        return;
    };
    let [member] = &ty.members[..] else {
        return errors.add(location, "the members of a union must be its tag alone");
    };
    let Some(values) = catalogue.enum_named(member.ty.base()).filter(|_| member.name == *tag) else {
        return errors.add(location, format_args!("the tag {tag} must be a member and an enum"));
    };
    errors.unless_distinct(location, "variant", ty.variants.iter().map(|variant| &*variant.value));
    for variant in &ty.variants {
        if !values.values.iter().any(|value| value.name == variant.value) {
            errors
                .add(location, format_args!("variant {}: {} has no such value", variant.value, values.name));
        }
        let branch = variant.ty.as_deref().map(|name| (name, catalogue.struct_named(name)));
        if let Some((name, branch)) = branch
            && branch.is_none_or(|branch| branch.tag.is_some())
        {
            errors.add(location, format_args!("variant {}: {name} is no plain struct", variant.value));
        }
    }
}

fn check_members(
    location: &str,
    catalogue: &Catalogue,
    members: &[Member],
    object_since: Option<Release>,
    errors: &mut Errors,
) {
    errors.unless_distinct(location, "member", members.iter().map(|member| &*member.name));
    let fields: Vec<String> = members.iter().map(|member| names::field(&member.name)).collect();
    errors.unless_distinct(location, "field", fields.iter().map(String::as_str));
    for (member, field) in members.iter().zip(&fields) {
        let location = format!("{location}: member {}", member.name);
        let is_reserved = matches!(&**field, "unknown" | "self" | "super" | "crate");
        if is_reserved || !names::is_identifier(field) {
            errors.add(&location, format_args!("member {} cannot be a name in Rust", member.name));
        }
        let base = member.ty.base();
        let is_defined = catalogue.enum_named(base).is_some() || catalogue.struct_named(base).is_some();
        if !is_defined && shape::builtin(base).is_none() {
            errors.add(&location, format_args!("type {base} is not defined"));
        }
        errors.unless_sentence(&location, "summary", &member.summary);
        let Member { since, removed, optional_since, deprecated, .. } = member;
        errors.unless_known(&location, catalogue, [since, removed, optional_since, deprecated]);
        let since = since.or(object_since);
        errors.unless_increasing(
            &location,
            &[("since", since, "removed", *removed), ("since", since, "optional_since", *optional_since)],
        );
        if let (Some(since), Some(object_since)) = (since, object_since)
            && since < object_since
        {
            errors.add(&location, format_args!("is older than the event, which is of {object_since}"));
        }
    }
}

fn check_type_name(location: &str, name: &str, errors: &mut Errors) {
    let is_reserved = matches!(name, "Event" | "EventKind" | "Release" | "UnknownMembers" | "RawJson");
    let is_upper = name.starts_with(|first: char| first.is_ascii_uppercase());
    if is_reserved || !is_upper || name.contains('_') || !names::is_identifier(name) {
        errors.add(location, "cannot be the name of a type in Rust");
    }
}

/// Returns whether the struct `from` contains `to`, at any depth.
fn contains<'a>(catalogue: &'a Catalogue, from: &str, to: &str, seen: &mut Vec<&'a str>) -> bool {
    shape::references(catalogue, from).any(|next| {
        if next == to {
            return true;
        }
        let is_first_visit = !seen.contains(&next);
        is_first_visit && {
            seen.push(next);
            contains(catalogue, next, to, seen)
        }
    })
}
