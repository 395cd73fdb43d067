//! Additions, removals and changes by release.

use std::fmt::Write as _;

use super::markdown::link;
use crate::model::{Catalogue, Event, Member};
use crate::release::Release;
use crate::shape;

/// Writes one row for each release with changes.
pub(super) fn write(page: &mut String, catalogue: &Catalogue) {
    page.push_str("\n## Changes by release\n\n| release | added | removed | changed |\n|---|---|---|---|\n");
    let events = catalogue.events();
    let listed = |matches: &dyn Fn(&Event) -> bool| {
        let matching = events.iter().filter(|(_, event)| matches(event));
        matching.map(|(_, event)| link(event)).collect::<Vec<_>>().join(", ")
    };
    for release in &catalogue.releases {
        let added = listed(&|event| event.since == *release);
        let removed = listed(&|event| event.removed == Some(*release));
        let changed = changes(catalogue, *release).join("; ");
        if !(added.is_empty() && removed.is_empty() && changed.is_empty()) {
            _ = writeln!(page, "| {release} | {added} | {removed} | {changed} |");
        }
    }
}

/// Returns the changes of the release in existing events.
fn changes(catalogue: &Catalogue, release: Release) -> Vec<String> {
    let mut changes = Vec::new();
    for (_, event) in catalogue.events() {
        let mut of_event = Vec::new();
        if event.deprecated == Some(release) {
            of_event.push("deprecated".to_owned());
        }
        if event.data_since == Some(release) {
            of_event.push("has data".to_owned());
        }
        if event.since < release {
            of_event.extend(event.members.iter().filter_map(|member| member_change(member, release)));
            of_event.extend(limit_change(event, release));
        }
        if !of_event.is_empty() {
            changes.push(format!("{} {}", link(event), of_event.join(", ")));
        }
    }
    for ty in catalogue.structs() {
        let since = shape::struct_since(catalogue, &ty.name);
        if since.is_some_and(|since| since < release) {
            let members = ty.members.iter().filter_map(|member| member_change(member, release));
            changes.extend(members.map(|change| format!("{} {change}", ty.name)));
        }
    }
    for ty in catalogue.enums() {
        let oldest = ty.values.iter().filter_map(|value| value.since).min();
        let added = ty.values.iter().filter(|value| value.since == Some(release) && value.since > oldest);
        let added: Vec<String> = added.map(|value| format!("`{}`", value.name)).collect();
        if !added.is_empty() {
            changes.push(format!("{} + {}", super::markdown::link_to(&ty.name), added.join(" ")));
        }
    }
    changes
}

fn member_change(member: &Member, release: Release) -> Option<String> {
    let name = &member.name;
    if member.since == Some(release) {
        let is_optional = member.optional && member.optional_since.is_none();
        return Some(format!("+`{name}`{}", if is_optional { " (optional)" } else { "" }));
    }
    if member.optional_since == Some(release) {
        return Some(format!("`{name}` optional"));
    }
    (member.removed == Some(release)).then(|| format!("−`{name}`"))
}

fn limit_change(event: &Event, release: Release) -> Option<String> {
    let throttle = event.throttle.as_ref()?;
    if throttle.since == release {
        return Some("rate-limited".to_owned());
    }
    let key = throttle.keys.iter().find(|key| key.since == release);
    let exempt = throttle.exempt.iter().find(|exempt| exempt.since == release);
    key.map(|key| format!("rate limit for each `{}`", key.member)).or_else(|| {
        exempt.map(|exempt| format!("no rate limit if `{}` is `{}`", exempt.member, exempt.value))
    })
}
