//! The members of an event's data, nested ones with dotted names.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::desc::{EventDesc, MemberDesc, StructDesc, TypeRef};
use crate::release::Release;
use crate::schema_type::json_type;
use crate::text::type_text;

/// A member as `qmp events --json` lists it.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct MemberDescription {
    /// Dotted name: `info.device`.
    pub name: String,
    /// Type as QAPI names it.
    #[serde(rename = "type")]
    pub ty: String,
    /// Type in JSON, as introspection names it: `string`, `int`, `boolean`, `object` …
    pub json_type: &'static str,
    /// Whether it may be absent from its object.
    pub optional: bool,
    /// First release that has it.
    pub since: String,
    /// First release that no longer has it.
    pub removed: Option<String>,
    /// The values of an enum.
    pub values: Option<Vec<&'static str>>,
    /// Members and their values without which it is absent: the branch of a union.
    pub when: Option<BTreeMap<String, Vec<&'static str>>>,
    /// First release in which it is deprecated.
    pub deprecated: Option<String>,
    /// Whether QEMU calls it unstable.
    pub unstable: bool,
    /// Build-time condition without which a QEMU lacks it.
    pub condition: Option<&'static str>,
    /// Unit of the value.
    pub unit: Option<&'static str>,
    /// Meaning of the value.
    pub summary: &'static str,
    /// The facts about its releases, for the history.
    #[serde(skip)]
    pub(crate) facts: Facts,
}

/// The origin of a member.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts {
    pub(crate) desc: &'static MemberDesc,
    /// First release that has both the member and its object.
    pub(crate) since: Release,
}

/// Lists the members of an event's data, as they are in `release`, or over all releases.
pub fn members(desc: &EventDesc, release: Option<Release>) -> Vec<MemberDescription> {
    let at = release.unwrap_or_else(|| desc.newest_release());
    let mut list = List { release, at, members: Vec::new() };
    list.add("", desc.members, desc.data_since.unwrap_or(desc.since), None);
    list.members
}

struct List {
    release: Option<Release>,
    at: Release,
    members: Vec<MemberDescription>,
}

/// The branch of a union: name of the tag, and its value.
type Branch<'a> = Option<(&'a str, &'static str)>;

impl List {
    fn add(&mut self, prefix: &str, members: &'static [MemberDesc], since: Release, branch: Branch<'_>) {
        for member in members {
            if self.release.is_some_and(|release| !member.exists_in(release)) {
                continue;
            }
            let name = format!("{prefix}{}", member.name);
            let since = member.since.map_or(since, |added| added.max(since));
            self.push(&name, member, since, branch);
            let (ty, dot) = element(&member.ty);
            if let TypeRef::Struct(ty) = ty {
                self.add_nested(&format!("{name}{dot}"), ty, since, branch);
            }
        }
    }

    fn add_nested(&mut self, prefix: &str, ty: &'static StructDesc, since: Release, branch: Branch<'_>) {
        self.add(prefix, ty.members, since, branch);
        let Some(union) = &ty.union else { return };
        let tag_name = format!("{prefix}{}", union.tag);
        let tag = ty.members.iter().find(|member| member.name == union.tag);
        for branch in union.branches {
            let value = tag.and_then(|tag| match tag.ty {
                TypeRef::Enum(values) => values.values.iter().find(|value| value.name == branch.value),
                _ => None,
            });
            let (value_since, removed) = value.map_or((None, None), |value| (value.since, value.removed));
            let exists = self.release.is_none_or(|release| release.within(value_since, removed));
            if let Some(members) = branch.ty.filter(|_| exists) {
                let since = value_since.map_or(since, |added| added.max(since));
                self.add(prefix, members.members, since, Some((&tag_name, branch.value)));
            }
        }
    }

    fn push(&mut self, name: &str, member: &'static MemberDesc, since: Release, branch: Branch<'_>) {
        let described = MemberDescription {
            name: name.to_owned(),
            ty: type_text(&member.ty),
            json_type: json_type(&member.ty),
            optional: member.optional_in(self.at),
            since: since.to_string(),
            removed: member.removed.map(|release| release.to_string()),
            values: self.values(&member.ty),
            when: branch.map(|(tag, value)| BTreeMap::from([(tag.to_owned(), vec![value])])),
            deprecated: member.deprecated.map(|release| release.to_string()),
            unstable: member.unstable,
            condition: member.condition,
            unit: member.unit,
            summary: member.summary,
            facts: Facts { desc: member, since },
        };
        // Branches may share a member; it is listed once, with all of its branches.
        let same = self.members.iter_mut().find(|other| {
            other.name == described.name && other.ty == described.ty && other.optional == described.optional
        });
        match (same.and_then(|same| same.when.as_mut()), branch) {
            (Some(when), Some((tag, value))) => when.entry(tag.to_owned()).or_default().push(value),
            _ => self.members.push(described),
        }
    }

    fn values(&self, ty: &TypeRef) -> Option<Vec<&'static str>> {
        let TypeRef::Enum(ty) = element(ty).0 else { return None };
        let listed = ty
            .values
            .iter()
            .filter(|value| self.release.is_none_or(|release| release.within(value.since, value.removed)));
        Some(listed.map(|value| value.name).collect())
    }
}

/// Returns the type within all lists, and the separator between its name and those of its members.
fn element(ty: &TypeRef) -> (&TypeRef, &'static str) {
    match ty {
        TypeRef::Array(ty) => (element(ty).0, "[]."),
        _ => (ty, "."),
    }
}
