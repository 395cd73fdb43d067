//! The values of all enums.

use std::fmt::Write as _;

use super::markdown::{cell, link_to};
use crate::conditions;
use crate::model::{Catalogue, Member, Value};

/// Writes a section for each enum, sorted by name.
pub(super) fn write(page: &mut String, catalogue: &Catalogue) {
    let mut enums: Vec<_> = catalogue.enums().collect();
    enums.sort_by_key(|ty| &ty.name);
    for ty in enums {
        let users = users(catalogue, &ty.name);
        _ = write!(page, "\n### {}\n\n{} Used by {users}. Source: {}.\n\n", ty.name, ty.summary, ty.source);
        page.push_str("| value | presence | meaning |\n|---|---|---|\n");
        for value in &ty.values {
            _ = writeln!(page, "| `{}` | {} | {} |", value.name, presence(value), cell(&value.summary));
        }
    }
}

fn presence(value: &Value) -> String {
    let span = conditions::of_releases(value.since, value.removed);
    let mut parts = if span.is_empty() { vec![] } else { vec![span] };
    parts.extend(value.deprecated.map(|release| format!("deprecated in {release}")));
    parts.extend(value.unstable.then(|| "unstable".to_owned()));
    parts.extend(value.condition.as_ref().map(|condition| format!("only with `{condition}`")));
    parts.join(", ")
}

/// Returns the events and types with a member of that enum.
fn users(catalogue: &Catalogue, name: &str) -> String {
    let has_member = |members: &[Member]| members.iter().any(|member| member.ty.base() == name);
    let events = catalogue.events();
    let events = events.iter().filter(|(_, event)| has_member(&event.members));
    let events = events.map(|(_, event)| link_to(&event.name));
    let structs = catalogue.structs().filter(|ty| has_member(&ty.members)).map(|ty| format!("`{}`", ty.name));
    events.chain(structs).collect::<Vec<_>>().join(", ")
}
