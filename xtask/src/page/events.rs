//! The section of one event.

use std::fmt::Write as _;

use super::markdown::{cell, interval, link_to};
use crate::conditions;
use crate::model::{Catalogue, Event, Member, Module, Struct, Throttle, Type};
use crate::release::Release;
use crate::shape;

/// Writes the section.
pub(super) fn write(page: &mut String, catalogue: &Catalogue, module: &Module, event: &Event) {
    _ = write!(page, "\n### {}\n\n{}\n\n", event.name, event.summary);
    _ = writeln!(page, "{}", history(module, event));
    write_members(page, catalogue, event);
    if let Some(throttle) = &event.throttle {
        _ = writeln!(page, "\n**Rate limit.** {}", limit(throttle));
    }
    write_sequels(page, event);
    if !event.rules.is_empty() {
        page.push_str("\n**Consistency rules.**\n\n");
    }
    for rule in &event.rules {
        let (when, then) = (conditions::of_values(&rule.when), conditions::of_values(&rule.then));
        _ = writeln!(page, "- if {when}: {then}{}", note(rule.note.as_deref()));
    }
    if !event.notes.is_empty() {
        page.push_str("\n**Notes.**\n\n");
    }
    for note in &event.notes {
        _ = writeln!(page, "- {note}");
    }
    write_examples(page, event);
}

fn history(module: &Module, event: &Event) -> String {
    let mut parts = vec![format!("Since {}", event.since)];
    parts.extend(event.deprecated.map(|release| format!("deprecated in {release}")));
    parts.extend(event.removed.map(|release| format!("removed in {release}")));
    parts.extend(event.unstable.then(|| "unstable: may change or be removed without notice".to_owned()));
    if let Some(condition) = &event.condition {
        let span = conditions::of_releases(event.condition_since, event.condition_removed);
        let span = if span.is_empty() { span } else { format!(" ({span})") };
        parts.push(format!("only with `{condition}`{span}"));
    }
    parts.push(format!("module `{}`", module.module));
    format!("{}. Source: {}.", parts.join("; "), event.source)
}

fn write_members(page: &mut String, catalogue: &Catalogue, event: &Event) {
    if event.members.is_empty() {
        page.push_str("\nNo data.\n");
        return;
    }
    if let Some(release) = event.data_since {
        _ = writeln!(page, "\nNo data before {release}.");
    }
    page.push_str("\n| member | type | presence | meaning |\n|---|---|---|---|\n");
    write_rows(page, catalogue, &event.members, "", shape::data_since(event), "");
}

fn write_rows(
    page: &mut String,
    catalogue: &Catalogue,
    members: &[Member],
    prefix: &str,
    since: Release,
    branch: &str,
) {
    for member in members {
        let path = format!("{prefix}{}", member.name);
        let unit = member.unit.as_ref().map_or(String::new(), |unit| format!(" Unit: {unit}."));
        let meaning = cell(&format!("{}{unit}", member.summary));
        let (ty, presence) = (type_link(catalogue, &member.ty), presence(member, since, branch));
        _ = writeln!(page, "| `{path}` | {ty} | {presence} | {meaning} |");
        let Some(ty) = catalogue.struct_named(member.ty.base()) else { continue };
        let since = member.since.unwrap_or(since).max(since);
        let prefix = format!("{path}{}", if matches!(member.ty, Type::Array(_)) { "[]." } else { "." });
        write_rows(page, catalogue, &ty.members, &prefix, since, branch);
        for variant in &ty.variants {
            let Some(members) = variant.ty.as_deref().and_then(|name| catalogue.struct_named(name)) else {
                continue;
            };
            let tag = ty.tag.as_deref().unwrap_or_default();
            let added = value_since(catalogue, ty, &variant.value).filter(|added| *added > since);
            let since_text = added.map_or(String::new(), |added| format!(" (since {added})"));
            let branch = format!("if `{prefix}{tag}` is `{}`{since_text}", variant.value);
            write_rows(page, catalogue, &members.members, &prefix, since, &branch);
        }
    }
}

/// Returns the first release that has that value of a union's tag.
fn value_since(catalogue: &Catalogue, union: &Struct, value: &str) -> Option<Release> {
    let tag = union.members.iter().find(|member| Some(&member.name) == union.tag.as_ref())?;
    let values = &catalogue.enum_named(tag.ty.base())?.values;
    values.iter().find(|other| other.name == value)?.since
}

fn type_link(catalogue: &Catalogue, ty: &Type) -> String {
    match catalogue.enum_named(ty.base()) {
        Some(values) => link_to(&values.name),
        None if catalogue.struct_named(ty.base()).is_some() => "object".to_owned(),
        None => format!("`{ty}`"),
    }
}

/// Returns the releases with the member, and whether it is mandatory.
fn presence(member: &Member, object_since: Release, branch: &str) -> String {
    let mut parts: Vec<String> = Vec::new();
    if !branch.is_empty() {
        parts.push(branch.to_owned());
    }
    match member.optional_since {
        Some(release) => parts.push(format!("optional from {release} on")),
        None if member.optional => parts.push("optional".to_owned()),
        None if branch.is_empty() => parts.push("always".to_owned()),
        None => {}
    }
    parts.extend(member.since.filter(|since| *since > object_since).map(|since| format!("since {since}")));
    parts.extend(member.removed.map(|removed| format!("until {removed}")));
    parts.extend(member.deprecated.map(|release| format!("deprecated in {release}")));
    parts.extend(member.unstable.then(|| "unstable".to_owned()));
    parts.extend(member.condition.as_ref().map(|condition| format!("only with `{condition}`")));
    parts.join(", ")
}

fn limit(throttle: &Throttle) -> String {
    let mut text = format!("At most {}, from {} on", interval(throttle.interval_ms), throttle.since);
    for key in &throttle.keys {
        let since =
            if key.since == throttle.since { String::new() } else { format!(" from {} on", key.since) };
        _ = write!(text, "; for each `{}` separately{since}", key.member);
    }
    for exempt in &throttle.exempt {
        let also: Vec<String> = exempt.also.iter().map(ToString::to_string).collect();
        let also = if also.is_empty() { String::new() } else { format!(" (and from {})", also.join(", ")) };
        _ = write!(
            text,
            "; not if `{}` is `{}`, from {} on{also}",
            exempt.member, exempt.value, exempt.since
        );
    }
    text + "."
}

fn write_sequels(page: &mut String, event: &Event) {
    if event.sequels.is_empty() && event.ends.is_empty() {
        return;
    }
    page.push_str("\n**Sequels.**\n\n");
    for sequel in &event.sequels {
        let with = conditions::of_values(&sequel.with);
        let with = if with.is_empty() { with } else { format!(" whose {with}") };
        let when = conditions::of_sequel(sequel);
        let when = if when.is_empty() { "always".to_owned() } else { when };
        _ = writeln!(page, "- {}{with}: {when}{}", link_to(&sequel.event), note(sequel.note.as_deref()));
    }
    for ends in &event.ends {
        let when = conditions::of_ends(ends);
        let when = if when.is_empty() { "always".to_owned() } else { when };
        _ = writeln!(page, "- QEMU exits and the monitor closes: {when}{}", note(ends.note.as_deref()));
    }
}

fn note(note: Option<&str>) -> String {
    note.map_or(String::new(), |note| format!(" ({note})"))
}

fn write_examples(page: &mut String, event: &Event) {
    let plural = if event.examples.len() > 1 { "s" } else { "" };
    _ = write!(page, "\n**Example{plural}.**\n\n```json\n");
    let start = "{\"timestamp\": {\"seconds\": 1767323045, \"microseconds\": 678001}";
    for example in &event.examples {
        _ = writeln!(page, "{start}, \"event\": \"{}\", \"data\": {example}}}", event.name);
    }
    if event.examples.is_empty() {
        _ = writeln!(page, "{start}, \"event\": \"{}\"}}", event.name);
    }
    page.push_str("```\n");
}
