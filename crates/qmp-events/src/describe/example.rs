//! Examples as a release would send them.

use serde_json::value::RawValue;

use crate::desc::{EventDesc, MemberDesc, TypeRef, UnionDesc};
use crate::json::{self, JsonType, Members};
use crate::release::Release;
use crate::validate::validate;

/// The time of all examples.
const TIMESTAMP: &str = "{\"seconds\": 1767323045, \"microseconds\": 678001}";

/// Returns a message of the event as QEMU of that release would send it; `None` if no example fits the release.
pub fn example_message(desc: &EventDesc, release: Release) -> Option<String> {
    let name = desc.name;
    match example_data(desc, release)? {
        Some(data) => {
            Some(format!("{{\"timestamp\": {TIMESTAMP}, \"event\": \"{name}\", \"data\": {data}}}"))
        }
        None => Some(format!("{{\"timestamp\": {TIMESTAMP}, \"event\": \"{name}\"}}")),
    }
}

/// Returns the data of the first example that fits the release after members of other releases are removed and
/// values of other releases are replaced by a value of the release; `Some(None)` if the release sends the event
/// without data, `None` if no example fits.
pub fn example_data(desc: &EventDesc, release: Release) -> Option<Option<String>> {
    if desc.members_at(release).next().is_none() {
        return Some(None);
    }
    let candidates = desc.examples.iter().filter_map(|example| {
        let example: &RawValue = serde_json::from_str(example).ok()?;
        object(example, desc.members, None, release)
    });
    // A replaced tag may not fit its branch: then the next example is tried.
    let mut fitting = candidates.filter(|data| validate(desc.name, Some(data), release).is_empty());
    fitting.next().map(Some)
}

fn object(
    object: &RawValue,
    members: &'static [MemberDesc],
    union: Option<&UnionDesc>,
    release: Release,
) -> Option<String> {
    let object = Members::read(object).ok()?;
    let tag = union.and_then(|union| json::text(object.get(union.tag)?).ok());
    let branch = union.and_then(|union| {
        let branch = union.branches.iter().find(|branch| Some(branch.value) == tag.as_deref());
        branch.and_then(|branch| branch.ty)
    });
    let mut texts = Vec::new();
    for (name, value) in &object.0 {
        let mut known = members.iter().chain(branch.map_or(&[][..], |branch| branch.members));
        let member = known.find(|member| member.name == *name)?;
        if member.exists_in(release) {
            texts.push(format!("\"{name}\": {}", self::value(value, &member.ty, release)?));
        }
    }
    Some(format!("{{{}}}", texts.join(", ")))
}

fn value(value: &RawValue, ty: &TypeRef, release: Release) -> Option<String> {
    match ty {
        TypeRef::Struct(ty) if JsonType::of(value) == JsonType::Object => {
            object(value, ty.members, ty.union.as_ref(), release)
        }
        TypeRef::Array(ty) => {
            let elements = json::elements(value).ok()?;
            let elements: Option<Vec<String>> =
                elements.iter().map(|element| self::value(element, ty, release)).collect();
            Some(format!("[{}]", elements?.join(", ")))
        }
        TypeRef::Enum(ty) => {
            let text = json::text(value).ok()?;
            let same = ty.values_at(release).find(|value| value.name == text);
            let value = same.or_else(|| ty.values_at(release).next())?;
            Some(format!("\"{}\"", value.name))
        }
        _ => Some(value.get().to_owned()),
    }
}
