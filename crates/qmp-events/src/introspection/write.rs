//! Writes the reply to `query-qmp-schema` that the catalogue implies.

use super::entry::{Entry, EntryMember, EntryVariant};
use super::features::{FEATURES, features};
use crate::catalogue::catalogue;
use crate::desc::{EnumDesc, MemberDesc, StructDesc, TypeRef};
use crate::release::Release;
use crate::schema_type::{builtin, json_type};

/// First release that lists the values of enums as `members`.
const ENUM_MEMBERS_SINCE: Release = Release::new(6, 2);

/// Writes the part of the return value of `query-qmp-schema` for events: a JSON list of all events of the release,
/// those with conditions included, and of the types that they use.
pub fn schema_json(release: Release) -> String {
    let mut list = List { release, types: Vec::new(), entries: Vec::new() };
    let mut events = Vec::new();
    for desc in catalogue().iter().filter(|desc| desc.exists_in(release)) {
        let members = desc.members_at(release).collect();
        let arg_type = if desc.members_at(release).next().is_some() {
            list.object(Type::Event(desc.name), members, None)
        } else {
            list.object(Type::Event(""), Vec::new(), None)
        };
        events.push(Entry {
            name: desc.name.to_owned(),
            meta_type: "event".to_owned(),
            arg_type: Some(arg_type),
            features: list.features(desc.deprecated, desc.unstable),
            ..Entry::default()
        });
    }
    events.append(&mut list.entries);
    // Strings and flags: serialization cannot fail.
    serde_json::to_string(&events).unwrap_or_default()
}

/// The content of a type; its index in the list is its name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Type {
    Event(&'static str),
    Named(&'static str),
}

struct List {
    release: Release,
    types: Vec<Type>,
    entries: Vec<Entry>,
}

impl List {
    /// Returns the name of an object type, and writes it if it was not written yet.
    fn object(
        &mut self,
        ty: Type,
        members: Vec<&'static MemberDesc>,
        union: Option<&'static StructDesc>,
    ) -> String {
        if let Some(number) = self.types.iter().position(|other| *other == ty) {
            return number.to_string();
        }
        let name = self.types.len().to_string();
        self.types.push(ty);
        let members = members.into_iter().map(|member| self.member(member)).collect();
        let variants = union.map(|union| self.variants(union));
        self.entries.push(Entry {
            name: name.clone(),
            tag: union.and_then(|ty| ty.union.as_ref()).map(|union| union.tag.to_owned()),
            variants,
            members: Some(members),
            meta_type: "object".to_owned(),
            ..Entry::default()
        });
        name
    }

    fn member(&mut self, member: &MemberDesc) -> EntryMember {
        EntryMember {
            name: Some(member.name.to_owned()),
            is_optional: member.optional_in(self.release),
            ty: Some(self.ty(&member.ty)),
            features: self.features(member.deprecated, member.unstable),
        }
    }

    fn ty(&mut self, ty: &TypeRef) -> String {
        match ty {
            TypeRef::Struct(ty) => self.structure(ty),
            TypeRef::Enum(ty) => self.enumeration(ty),
            TypeRef::Builtin(kind) => {
                let name = builtin(*kind).0;
                let json_type = Some(json_type(ty).to_owned());
                self.once(Entry { json_type, ..entry(name, "builtin") })
            }
            TypeRef::Array(ty) => {
                let element = self.ty(ty);
                let name = format!("[{element}]");
                self.once(Entry { element_type: Some(element), ..entry(&name, "array") })
            }
        }
    }

    /// Writes an entry with a fixed name, if it was not written yet.
    fn once(&mut self, entry: Entry) -> String {
        let name = entry.name.clone();
        if !self.entries.iter().any(|other| other.name == name) {
            self.entries.push(entry);
        }
        name
    }

    fn structure(&mut self, ty: &'static StructDesc) -> String {
        let members = ty.members_at(self.release).collect();
        self.object(Type::Named(ty.name), members, ty.union.is_some().then_some(ty))
    }

    fn enumeration(&mut self, ty: &'static EnumDesc) -> String {
        let kind = Type::Named(ty.name);
        if let Some(number) = self.types.iter().position(|other| *other == kind) {
            return number.to_string();
        }
        let name = self.types.len().to_string();
        self.types.push(kind);
        let values = ty.values_at(self.release);
        let members = values.map(|value| EntryMember {
            name: Some(value.name.to_owned()),
            features: self.features(value.deprecated, value.unstable),
            ..EntryMember::default()
        });
        let members = (self.release >= ENUM_MEMBERS_SINCE).then(|| members.collect());
        let values = ty.values_at(self.release).map(|value| value.name.to_owned()).collect();
        self.entries.push(Entry { members, values: Some(values), ..entry(&name, "enum") });
        name
    }

    /// Returns one branch for each value of the tag, as QEMU writes them; branches without members are empty
    /// objects.
    fn variants(&mut self, ty: &'static StructDesc) -> Vec<EntryVariant> {
        let Some(union) = &ty.union else { return Vec::new() };
        let tag = ty.members.iter().find(|member| member.name == union.tag);
        let Some(TypeRef::Enum(values)) = tag.map(|tag| tag.ty) else { return Vec::new() };
        let mut variants = Vec::new();
        for value in values.values_at(self.release) {
            let branch = union.branches.iter().find(|branch| branch.value == value.name);
            let ty = match branch.and_then(|branch| branch.ty) {
                Some(ty) => self.structure(ty),
                None => self.object(Type::Event(""), Vec::new(), None),
            };
            variants.push(EntryVariant { value: value.name.to_owned(), ty });
        }
        variants
    }

    fn features(&self, deprecated: Option<Release>, unstable: bool) -> Vec<String> {
        let shown = features(self.release, deprecated, unstable);
        let shown = FEATURES.iter().zip(shown).filter(|(_, is_shown)| *is_shown);
        shown.map(|(feature, _)| (*feature).to_owned()).collect()
    }
}

fn entry(name: &str, meta_type: &str) -> Entry {
    Entry { name: name.to_owned(), meta_type: meta_type.to_owned(), ..Entry::default() }
}
