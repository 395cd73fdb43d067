//! The changes of an event by release.

use super::members::{MemberDescription, members};
use crate::desc::{EventDesc, TypeRef};
use crate::release::Release;
use crate::text::exempt_text;

/// A change of an event in one release.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct Change {
    /// The release; a stable one for a change backported to an older line.
    pub release: Release,
    /// The change, as a fragment: `member reason added`.
    pub what: String,
}

/// Lists the changes of an event over the releases, oldest first.
pub fn history(desc: &EventDesc) -> Vec<Change> {
    let mut changes = Vec::new();
    let mut add = |release: Option<Release>, what: String| {
        changes.extend(release.map(|release| Change { release, what }));
    };
    add(Some(desc.since), "event added".to_owned());
    add(desc.deprecated, "event deprecated".to_owned());
    add(desc.removed, "event removed".to_owned());
    if let Some(condition) = desc.condition {
        add(desc.condition_since, format!("only with {condition} from here on"));
        add(desc.condition_removed, "in every build".to_owned());
    }
    for member in members(desc, None) {
        of_member(desc, &member, &mut add);
    }
    of_throttle(desc, &mut add);
    changes.sort_by_key(|change| change.release);
    changes
}

fn of_member(desc: &EventDesc, member: &MemberDescription, add: &mut impl FnMut(Option<Release>, String)) {
    let MemberDescription { name, facts, .. } = member;
    let since = facts.since;
    let later = |release: Option<Release>| release.filter(|release| *release > since);
    let optional = if facts.desc.optional_in(since) { " (optional)" } else { "" };
    add(Some(since).filter(|since| *since > desc.since), format!("member {name} added{optional}"));
    add(facts.desc.removed, format!("member {name} removed"));
    add(facts.desc.deprecated, format!("member {name} deprecated"));
    add(later(facts.desc.optional_since), format!("member {name} may be absent"));
    if let TypeRef::Enum(ty) = facts.desc.ty {
        for value in ty.values {
            add(later(value.since), format!("{name} value {} added", value.name));
            add(value.removed, format!("{name} value {} removed", value.name));
        }
    }
}

fn of_throttle(desc: &EventDesc, add: &mut impl FnMut(Option<Release>, String)) {
    let Some(throttle) = &desc.throttle else { return };
    let seconds = f64::from(throttle.interval_ms) / 1000.0;
    if throttle.since > desc.since {
        add(Some(throttle.since), format!("limited to one in {seconds} s"));
    }
    for key in throttle.keys.iter().filter(|key| key.since > throttle.since) {
        add(Some(key.since), format!("limited for each {} separately", key.member));
    }
    if let Some(exempt) = &throttle.exempt {
        for release in exempt.also.iter().chain([&exempt.since]) {
            add(Some(*release), format!("not limited if {}", exempt_text(exempt)));
        }
    }
}
