//! Compares values with their types.

use std::collections::BTreeSet;

use serde_json::value::RawValue;

use crate::desc::{Builtin, EnumDesc, MemberDesc, StructDesc, TypeRef, UnionDesc};
use crate::downstream::is_downstream;
use crate::json::{self, JsonType, Members};
use crate::release::Release;
use crate::violation::{Violation, ViolationKind};

/// The violations of one event found so far.
pub(super) struct Walk<'a> {
    event: &'a str,
    release: Release,
    /// The release whose members and values are expected.
    pub(super) compared: Release,
    pub(super) violations: Vec<Violation>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(event: &'a str, release: Release) -> Self {
        Self { event, release, compared: release, violations: Vec::new() }
    }

    pub(super) fn report(&mut self, path: &str, kind: ViolationKind) {
        let (event, path, release) = (self.event.into(), path.into(), self.release);
        self.violations.push(Violation { event, path, release, kind });
    }

    pub(super) fn malformed(&mut self, path: &str, error: &serde_json::Error) {
        self.report(path, ViolationKind::Malformed { error: error.to_string().into() });
    }

    pub(super) fn wrong_type(&mut self, path: &str, expected: JsonType, found: JsonType) {
        self.report(path, ViolationKind::WrongType { expected, found });
    }

    /// Compares an object with the members of all releases; of a union, `members` is the tag.
    pub(super) fn object(
        &mut self,
        path: &str,
        object: &Members<'_>,
        members: &'static [MemberDesc],
        union: Option<&'static UnionDesc>,
    ) {
        let tag = union.and_then(|union| json::text(object.get(union.tag)?).ok());
        let branch = union.and_then(|union| branch_of(union, tag.as_deref()?));
        let known = || members.iter().chain(branch.map_or(&[][..], |branch| branch.members));
        for member in known() {
            self.member(path, object, member);
        }
        let is_tag_known = union.is_none() || tag.is_some_and(|tag| self.has_tag(members, &tag));
        let mut names = BTreeSet::new();
        let mut repeated = BTreeSet::new();
        for (name, _) in &object.0 {
            let path = || joined(path, name);
            if !names.insert(name) {
                if repeated.insert(name) {
                    self.report(&path(), ViolationKind::DuplicateMember);
                }
            } else if is_tag_known && !is_downstream(name) && !known().any(|member| member.name == name) {
                let kind = match union.and_then(|union| branch_with(union, name)) {
                    Some(branch) => ViolationKind::MemberOfOtherBranch { branch },
                    None => ViolationKind::UnknownMember,
                };
                self.report(&path(), kind);
            }
        }
    }

    fn has_tag(&self, members: &[MemberDesc], tag: &str) -> bool {
        members.iter().any(|member| match member.ty {
            TypeRef::Enum(ty) => ty.values.iter().any(|value| value.name == tag),
            _ => false,
        })
    }

    fn member(&mut self, path: &str, object: &Members<'_>, member: &'static MemberDesc) {
        let path = joined(path, member.name);
        let release = self.compared;
        match object.get(member.name) {
            None => {
                let is_mandatory = member.exists_in(release) && !member.optional_in(release);
                if is_mandatory && member.condition.is_none() {
                    self.report(&path, ViolationKind::MissingMember);
                }
            }
            Some(value) => {
                if let Some(since) = member.since.filter(|since| release < *since) {
                    self.report(&path, ViolationKind::MemberNotYet { since });
                    // Compare the values with the first release that has the member: they are not the cause of the
                    // violation.
                    self.compared = since;
                } else if let Some(removed) = member.removed.filter(|removed| release >= *removed) {
                    self.report(&path, ViolationKind::MemberRemoved { removed });
                }
                self.value(&path, value, &member.ty);
                self.compared = release;
            }
        }
    }

    fn value(&mut self, path: &str, value: &RawValue, ty: &TypeRef) {
        let found = JsonType::of(value);
        let expected = expected(ty);
        let is_number = found == JsonType::Integer && expected == Some(JsonType::Number);
        if let Some(expected) = expected.filter(|expected| *expected != found && !is_number) {
            return self.wrong_type(path, expected, found);
        }
        match ty {
            TypeRef::Builtin(ty) => self.builtin(path, value, *ty),
            TypeRef::Enum(ty) => match json::text(value) {
                Ok(text) => self.enum_value(path, &text, ty),
                Err(error) => self.malformed(path, &error),
            },
            TypeRef::Struct(ty) => self.nested(path, value, ty),
            TypeRef::Array(ty) => match json::elements(value) {
                Ok(elements) => elements
                    .iter()
                    .enumerate()
                    .for_each(|(index, element)| self.value(&format!("{path}[{index}]"), element, ty)),
                Err(error) => self.malformed(path, &error),
            },
        }
    }

    fn nested(&mut self, path: &str, value: &RawValue, ty: &'static StructDesc) {
        match Members::read(value) {
            Ok(members) => self.object(path, &members, ty.members, ty.union.as_ref()),
            Err(error) => self.malformed(path, &error),
        }
    }

    fn builtin(&mut self, path: &str, value: &RawValue, ty: Builtin) {
        if let Some((least, greatest)) = ty.range() {
            let value: Option<i128> = value.get().parse().ok();
            if !value.is_some_and(|value| (least..=greatest).contains(&value)) {
                self.report(path, ViolationKind::OutOfRange { ty });
            }
        } else if ty == Builtin::Str
            && let Err(error) = json::text(value)
        {
            self.malformed(path, &error);
        }
    }

    fn enum_value(&mut self, path: &str, value: &str, ty: &'static EnumDesc) {
        let release = self.compared;
        let Some(known) = ty.values.iter().find(|known| known.name == value) else {
            let expected = ty.values_at(release).map(|value| value.name).collect();
            return self.report(path, ViolationKind::UnknownValue { value: value.into(), expected });
        };
        if let Some(since) = known.since.filter(|since| release < *since) {
            self.report(path, ViolationKind::ValueNotYet { value: known.name, since });
        } else if let Some(removed) = known.removed.filter(|removed| release >= *removed) {
            self.report(path, ViolationKind::ValueRemoved { value: known.name, removed });
        }
    }
}

/// Returns the JSON type of values of that type; `None` if any type is allowed.
fn expected(ty: &TypeRef) -> Option<JsonType> {
    Some(match ty {
        TypeRef::Array(_) => JsonType::Array,
        TypeRef::Enum(_) | TypeRef::Builtin(Builtin::Str) => JsonType::String,
        TypeRef::Struct(_) => JsonType::Object,
        TypeRef::Builtin(Builtin::Bool) => JsonType::Boolean,
        TypeRef::Builtin(Builtin::Number) => JsonType::Number,
        TypeRef::Builtin(Builtin::Null) => JsonType::Null,
        TypeRef::Builtin(Builtin::Any) => return None,
        TypeRef::Builtin(_) => JsonType::Integer,
    })
}

fn branch_of(union: &UnionDesc, tag: &str) -> Option<&'static StructDesc> {
    union.branches.iter().find(|branch| branch.value == tag).and_then(|branch| branch.ty)
}

/// Returns the value of the tag that selects a branch with that member.
fn branch_with(union: &UnionDesc, name: &str) -> Option<&'static str> {
    let has_member = |ty: &StructDesc| ty.members.iter().any(|member| member.name == name);
    union.branches.iter().find(|branch| branch.ty.is_some_and(has_member)).map(|branch| branch.value)
}

fn joined(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}
