//! Lists all violations of an event for the release that sent it.
//!
//! `data` is compared with the catalogue one level of JSON at a time: the peer's nesting depth does not matter.
//! Names that begin with two underscores are extensions of a vendor and not reported.
//!
//! Source: QAPI schemas of the releases; the QMP specification, "Downstream extension of QMP".

mod walk;
mod rules;

use serde_json::value::RawValue;

use crate::desc::{EventDesc, MemberDesc};
use crate::downstream::is_downstream;
use crate::event_kind::EventKind;
use crate::json::{JsonType, Members};
use crate::release::Release;
use crate::violation::{Violation, ViolationKind};
use walk::Walk;

/// Lists all violations of an event for the release that sent it.
///
/// `data` is the JSON text of the member `data`, `None` if it is missing. An event that the release does not have
/// is compared with the nearest release that has it. The order of the list follows the catalogue.
pub fn validate(name: &str, data: Option<&str>, release: Release) -> Vec<Violation> {
    let mut walk = Walk::new(name, release);
    let Some(kind) = EventKind::from_name(name) else {
        if !is_downstream(name) {
            walk.report("", ViolationKind::UnknownEvent);
        }
        return walk.violations;
    };
    let desc = kind.desc();
    if release < desc.since {
        walk.report("", ViolationKind::EventNotYet { since: desc.since });
        walk.compared = desc.since;
    } else if let Some(removed) = desc.removed.filter(|removed| release >= *removed) {
        walk.report("", ViolationKind::EventRemoved { removed });
        walk.compared = desc.newest_release();
    }
    let data = match data.map(serde_json::from_str::<&RawValue>).transpose() {
        Ok(data) => data,
        Err(error) => {
            walk.malformed("", &error);
            return walk.violations;
        }
    };
    check_data(&mut walk, desc, data);
    walk.violations
}

fn check_data(walk: &mut Walk<'_>, desc: &EventDesc, data: Option<&RawValue>) {
    let release = walk.compared;
    let Some(data) = data else {
        report_missing(walk, desc);
        return;
    };
    if desc.members_at(release).next().is_none() {
        return walk.report("", ViolationKind::UnexpectedData);
    }
    match JsonType::of(data) {
        JsonType::Object => match Members::read(data) {
            Err(error) => walk.malformed("", &error),
            Ok(members) => {
                walk.object("", &members, desc.members, None);
                rules::check(walk, desc, data);
            }
        },
        JsonType::Null if report_missing(walk, desc) => {}
        found => walk.wrong_type("", JsonType::Object, found),
    }
}

/// Reports missing data, if any member is mandatory.
fn report_missing(walk: &mut Walk<'_>, desc: &EventDesc) -> bool {
    let release = walk.compared;
    let mandatory = |member: &&MemberDesc| !member.optional_in(release) && member.condition.is_none();
    let members: Vec<&str> = desc.members_at(release).filter(mandatory).map(|member| member.name).collect();
    let is_missing = !members.is_empty();
    if is_missing {
        walk.report("", ViolationKind::MissingData { members });
    }
    is_missing
}
