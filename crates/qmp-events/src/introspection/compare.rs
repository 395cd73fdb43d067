//! Compares introspection with the catalogue, in both directions.

use std::collections::BTreeMap;

use super::difference::{Difference, DifferenceKind, Severity};
use super::features::{FEATURES, SHOWS_UNSTABLE_SINCE, features};
use super::parse::{Schema, SchemaEvent, SchemaMember};
use crate::catalogue::catalogue;
use crate::desc::{EventDesc, TypeRef, ValueDesc};
use crate::describe::{MemberDescription, members};
use crate::downstream::is_downstream;
use crate::event_kind::EventKind;
use crate::release::Release;
use crate::schema_type::shape;

/// Lists the differences between a QEMU of that release and the catalogue, sorted by event.
///
/// A part that is missing because of a build condition or another target is a [`Severity::Note`], as are parts
/// hidden by `-compat` and parts added by a vendor.
pub fn compare(schema: &Schema, release: Release) -> Vec<Difference> {
    let mut comparison = Comparison { schema, release, event: "", differences: Vec::new() };
    for desc in catalogue().iter().filter(|desc| desc.exists_in(release)) {
        comparison.event = desc.name;
        match schema.event(desc.name) {
            Some(event) => comparison.event(desc, event),
            None => comparison.missing_event(desc),
        }
    }
    for (name, _) in schema.events() {
        let desc = EventKind::from_name(name).map(EventKind::desc);
        if !desc.is_some_and(|desc| desc.exists_in(release)) {
            comparison.event = name;
            comparison.add("", DifferenceKind::EventUnexpected, is_downstream(name));
        }
    }
    comparison.differences.sort_by(|one, other| one.event.cmp(&other.event));
    comparison.differences
}

struct Comparison<'a> {
    schema: &'a Schema,
    release: Release,
    event: &'a str,
    differences: Vec<Difference>,
}

/// The identity of a member: its dotted name, and its branch.
type Key<'a> = (&'a str, Option<(&'a str, &'a str)>);

impl Comparison<'_> {
    fn add(&mut self, path: &str, kind: DifferenceKind, is_explained: bool) {
        self.differences.push(Difference {
            event: self.event.to_owned(),
            path: path.to_owned(),
            release: self.release,
            kind,
            severity: if is_explained { Severity::Note } else { Severity::Difference },
        });
    }

    fn missing_event(&mut self, desc: &EventDesc) {
        let condition = desc.condition_in(self.release);
        let is_hidden = self.is_hidden(desc.deprecated, desc.unstable);
        self.add("", DifferenceKind::EventMissing { condition }, condition.is_some() || is_hidden);
    }

    /// Returns whether a QEMU that hides deprecated or unstable parts may lack it, and this one seems to hide them.
    fn is_hidden(&self, deprecated: Option<Release>, unstable: bool) -> bool {
        let features = features(self.release, deprecated, unstable);
        FEATURES.iter().zip(features).any(|(feature, is_set)| is_set && !self.schema.shows(feature))
    }

    fn event(&mut self, desc: &EventDesc, event: &SchemaEvent) {
        let expected = features(self.release, desc.deprecated, desc.unstable);
        self.features("", None, expected, &event.features);
        let described = members(desc, Some(self.release));
        let mut expected = BTreeMap::new();
        for member in &described {
            for branch in branches(member) {
                expected.insert((&*member.name, branch), member);
            }
        }
        let found: BTreeMap<Key<'_>, &SchemaMember> =
            event.members.iter().map(|member| (key(member), member)).collect();
        for (key, member) in &expected {
            match found.get(key) {
                Some(found) => self.member(member, found),
                None => {
                    let desc = member.facts.desc;
                    let is_hidden = self.is_hidden(desc.deprecated, desc.unstable);
                    let is_explained = desc.condition.is_some() || is_hidden;
                    self.add(key.0, DifferenceKind::MemberMissing, is_explained);
                }
            }
        }
        for key in found.keys().filter(|key| !expected.contains_key(*key)) {
            let is_explained = key.0.split('.').any(is_downstream);
            self.add(key.0, DifferenceKind::MemberUnexpected, is_explained);
        }
    }

    fn member(&mut self, member: &MemberDescription, found: &SchemaMember) {
        let (path, desc) = (&member.name, member.facts.desc);
        let expected = shape(&desc.ty);
        if expected != found.ty {
            self.add(path, DifferenceKind::Type { expected, found: found.ty.clone() }, false);
        }
        if member.optional != found.optional {
            self.add(path, DifferenceKind::Optional { expected: member.optional }, false);
        }
        let expected = features(self.release, desc.deprecated, desc.unstable);
        self.features(path, None, expected, &found.features);
        if let (TypeRef::Enum(ty), Some(values)) = (base(&desc.ty), &found.values) {
            let expected: Vec<&ValueDesc> = ty.values_at(self.release).collect();
            self.values(path, &expected, values);
        }
    }

    fn values(&mut self, path: &str, expected: &[&ValueDesc], found: &BTreeMap<String, Vec<String>>) {
        for desc in expected {
            let value = desc.name.to_owned();
            match found.get(desc.name) {
                Some(features) if self.release >= SHOWS_UNSTABLE_SINCE => {
                    let expected = self::features(self.release, desc.deprecated, desc.unstable);
                    self.features(path, Some(&value), expected, features);
                }
                Some(_) => {}
                None => {
                    let is_explained = desc.condition.is_some();
                    self.add(path, DifferenceKind::ValueMissing { value }, is_explained);
                }
            }
        }
        for value in found.keys().filter(|value| !expected.iter().any(|desc| desc.name == **value)) {
            let kind = DifferenceKind::ValueUnexpected { value: value.clone() };
            self.add(path, kind, is_downstream(value));
        }
    }

    fn features(&mut self, path: &str, value: Option<&str>, expected: [bool; 2], found: &[String]) {
        for (feature, expected) in FEATURES.into_iter().zip(expected) {
            let value = value.map(str::to_owned);
            match (expected, found.iter().any(|found| found == feature)) {
                (true, false) => self.add(path, DifferenceKind::FeatureMissing { feature, value }, false),
                (false, true) => self.add(path, DifferenceKind::FeatureUnexpected { feature, value }, false),
                _ => {}
            }
        }
    }
}

fn key(member: &SchemaMember) -> Key<'_> {
    (&member.path, member.branch.as_ref().map(|(tag, value)| (&**tag, &**value)))
}

/// Returns the branches of a member; one `None` if it belongs to no branch.
fn branches(member: &MemberDescription) -> Vec<Option<(&str, &'static str)>> {
    let Some(when) = &member.when else { return vec![None] };
    let of_tag = |(tag, values)| -> Vec<_> {
        let (tag, values): (&String, &Vec<&'static str>) = (tag, values);
        values.iter().map(|value| Some((&**tag, *value))).collect()
    };
    when.iter().flat_map(of_tag).collect()
}

fn base(ty: &'static TypeRef) -> &'static TypeRef {
    match ty {
        TypeRef::Array(ty) => base(ty),
        _ => ty,
    }
}
