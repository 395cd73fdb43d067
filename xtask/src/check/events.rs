//! Checks of events: rate limits, sequels, rules, examples.

use super::errors::Errors;
use crate::model::{Catalogue, Event, Member, Scalar, Type, Values};
use crate::{names, shape};

/// The events of libvirt, as `virsh event --list` of libvirt 9.0 prints them.
const LIBVIRT_EVENTS: [&str; 27] = [
    "agent-lifecycle",
    "balloon-change",
    "block-job",
    "block-job-2",
    "block-threshold",
    "control-error",
    "device-added",
    "device-removal-failed",
    "device-removed",
    "disk-change",
    "graphics",
    "io-error",
    "io-error-reason",
    "job-completed",
    "lifecycle",
    "memory-device-size-change",
    "memory-failure",
    "metadata-change",
    "migration-iteration",
    "pm-suspend",
    "pm-suspend-disk",
    "pm-wakeup",
    "reboot",
    "rtc-change",
    "tray-change",
    "tunable",
    "watchdog",
];

/// Checks all events.
pub(super) fn check(catalogue: &Catalogue, errors: &mut Errors) {
    let all = catalogue.events();
    errors.unless_distinct("catalogue", "event", all.iter().map(|(_, event)| &*event.name));
    for (module, event) in all {
        let location = format!("catalogue/{}.toml: event {}", module.module, event.name);
        check_event(&location, catalogue, event, errors);
        check_libvirt(&location, event, errors);
        check_failure(&location, catalogue, event, errors);
        check_throttle(&location, catalogue, event, errors);
        check_relations(&location, catalogue, event, errors);
        check_examples(&location, event, errors);
    }
}

fn check_event(location: &str, catalogue: &Catalogue, event: &Event, errors: &mut Errors) {
    let is_wire_name =
        event.name.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_');
    if !is_wire_name || !names::is_identifier(&event.name) {
        errors.add(location, "the name of an event has upper-case letters, digits and underscores");
    }
    if matches!(&*event.name, "UNKNOWN" | "UNDECODABLE") {
        errors.add(location, "the name is reserved in Rust");
    }
    errors.unless_sentence(location, "summary", &event.summary);
    event.notes.iter().for_each(|note| errors.unless_sentence(location, "note", note));
    let since = Some(event.since);
    let Event { removed, deprecated, data_since, condition_since, condition_removed, .. } = event;
    let known = [&since, removed, deprecated, data_since, condition_since, condition_removed];
    errors.unless_known(location, catalogue, known);
    errors.unless_increasing(
        location,
        &[
            ("since", since, "removed", *removed),
            ("deprecated", *deprecated, "removed", *removed),
            ("since", since, "data_since", *data_since),
            ("condition_since", *condition_since, "condition_removed", *condition_removed),
        ],
    );
    if event.condition.is_none() && (condition_since.is_some() || condition_removed.is_some()) {
        errors.add(location, "condition_since and condition_removed need a condition");
    }
}

fn check_libvirt(location: &str, event: &Event, errors: &mut Errors) {
    for text in &event.libvirt {
        let words: Vec<&str> = text.split(' ').collect();
        // A lifecycle event has its type and its detail.
        let has_details = words.len() == if words[0] == "lifecycle" { 3 } else { 1 };
        if !LIBVIRT_EVENTS.contains(&words[0]) || !has_details {
            errors.add(location, format_args!("libvirt: {text} is no event of libvirt"));
        }
    }
}

fn check_failure(location: &str, catalogue: &Catalogue, event: &Event, errors: &mut Errors) {
    let Some(failure) = &event.failure else { return };
    let location = format!("{location}: failure");
    match (&failure.value, member_at(catalogue, &event.members, &failure.member)) {
        (Some(value), Some(_)) => {
            check_value(&location, catalogue, event, &failure.member, &Scalar::Str(value.clone()), errors);
        }
        (None, Some(member)) if member.optional && member.ty.to_string() == "str" => {}
        (None, Some(member)) => {
            errors.add(&location, format_args!("{} must be an optional str, or have a value", member.name));
        }
        (_, None) => errors.add(&location, format_args!("there is no member {}", failure.member)),
    }
}

fn check_throttle(location: &str, catalogue: &Catalogue, event: &Event, errors: &mut Errors) {
    let Some(throttle) = &event.throttle else { return };
    let location = format!("{location}: throttle");
    let key_releases: Vec<_> = throttle.keys.iter().map(|key| Some(key.since)).collect();
    errors.unless_known(&location, catalogue, key_releases.iter().chain([&Some(throttle.since)]));
    if throttle.interval_ms == 0 {
        errors.add(&location, "interval_ms must be more than 0");
    }
    if !throttle.keys.windows(2).all(|pair| pair[0].since < pair[1].since) {
        errors.add(&location, "keys must be in the order of since");
    }
    for key in &throttle.keys {
        match member_at(catalogue, &event.members, &key.member) {
            None => errors.add(&location, format_args!("there is no member {}", key.member)),
            Some(member) if member.ty.to_string() != "str" => {
                errors.add(&location, format_args!("key {} must be a str", key.member));
            }
            Some(_) => {}
        }
    }
    if throttle.exempt.len() > 1 {
        errors.add(&location, "more than one exemption");
    }
    for exempt in &throttle.exempt {
        errors.unless_known(&location, catalogue, [&Some(exempt.since)]);
        check_value(&location, catalogue, event, &exempt.member, &Scalar::Str(exempt.value.clone()), errors);
        for stable in &exempt.also {
            errors.unless_known(&location, catalogue, [&Some(stable.line())]);
            if stable.micro.is_none() || stable.line() >= exempt.since {
                errors.add(&location, format_args!("also: {stable} is no stable release of an older line"));
            }
        }
    }
}

fn check_relations(location: &str, catalogue: &Catalogue, event: &Event, errors: &mut Errors) {
    for (index, sequel) in event.sequels.iter().enumerate() {
        let location = format!("{location}: sequel {}", index + 1);
        errors.unless_known(&location, catalogue, [&sequel.since, &sequel.removed]);
        check_values(&location, catalogue, event, &sequel.when, errors);
        match catalogue.event_named(&sequel.event) {
            Some(announced) => check_values(&location, catalogue, announced, &sequel.with, errors),
            None => errors.add(&location, format_args!("there is no event {}", sequel.event)),
        }
    }
    for (index, ends) in event.ends.iter().enumerate() {
        let location = format!("{location}: ends {}", index + 1);
        errors.unless_known(&location, catalogue, [&ends.since, &ends.removed]);
        check_values(&location, catalogue, event, &ends.when, errors);
    }
    for (index, rule) in event.rules.iter().enumerate() {
        let location = format!("{location}: rule {}", index + 1);
        check_values(&location, catalogue, event, &rule.when, errors);
        check_values(&location, catalogue, event, &rule.then, errors);
    }
}

fn check_values(location: &str, catalogue: &Catalogue, event: &Event, values: &Values, errors: &mut Errors) {
    for (path, values) in values {
        values.iter().for_each(|value| check_value(location, catalogue, event, path, value, errors));
    }
}

fn check_value(
    location: &str,
    catalogue: &Catalogue,
    event: &Event,
    path: &str,
    value: &Scalar,
    errors: &mut Errors,
) {
    let Some(member) = member_at(catalogue, &event.members, path) else {
        return errors.add(location, format_args!("there is no member {path}"));
    };
    let Type::Name(ty) = &member.ty else {
        return errors.add(location, format_args!("{path} is a list"));
    };
    let rust = shape::builtin(ty).map(|(_, rust, _)| *rust);
    match (catalogue.enum_named(ty), value) {
        (Some(ty), Scalar::Str(value)) if !ty.values.iter().any(|other| other.name == *value) => {
            errors.add(location, format_args!("{path} has no value {value}"));
        }
        (Some(_), Scalar::Str(_)) => {}
        (None, Scalar::Str(_)) if rust == Some("Box<str>") => {}
        (None, Scalar::Bool(_)) if rust == Some("bool") => {}
        (None, Scalar::Int(_)) if rust.is_some_and(|rust| rust.starts_with(['i', 'u'])) => {}
        _ => errors.add(location, format_args!("{path} is never {value}")),
    }
}

/// Returns the member at a dotted path; the members of a union's branches count as the union's.
fn member_at<'a>(catalogue: &'a Catalogue, members: &'a [Member], path: &str) -> Option<&'a Member> {
    let (name, rest) = path.split_once('.').unwrap_or((path, ""));
    let member = members.iter().find(|member| member.name == name)?;
    if rest.is_empty() {
        return Some(member);
    }
    let ty = catalogue.struct_named(member.ty.base())?;
    let branches = ty.variants.iter().filter_map(|variant| catalogue.struct_named(variant.ty.as_deref()?));
    std::iter::once(ty).chain(branches).find_map(|ty| member_at(catalogue, &ty.members, rest))
}

fn check_examples(location: &str, event: &Event, errors: &mut Errors) {
    match (event.members.is_empty(), event.examples.is_empty()) {
        (false, true) => errors.add(location, "an event with members needs at least one example"),
        (true, false) => errors.add(location, "an event without members has no example"),
        _ => {}
    }
    for (index, example) in event.examples.iter().enumerate() {
        if serde_json::from_str::<serde_json::Map<_, _>>(example).is_err() {
            errors.add(location, format_args!("example {}: not a JSON object", index + 1));
        }
    }
}
