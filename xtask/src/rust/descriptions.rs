//! The descriptions of one module: a static for each type, a constant for each event.

use std::fmt::Write as _;

use super::literals::{list, optional_release, optional_text, release, values};
use super::paths::Scope;
use crate::model::{Enum, Event, Failure, Member, Struct, Throttle, Type, Value, Values};
use crate::release::Release;
use crate::{names, shape};

/// Generates the file.
pub(super) fn module(scope: Scope<'_>) -> String {
    let module = scope.module;
    let mut text = format!(
        "//! Descriptions of the QAPI module `{}`.\n\
        #![allow(non_upper_case_globals, unused_imports, reason = \"types keep their names\")]\n\n\
        use crate::desc::*;\nuse crate::event_kind::EventKind;\nuse crate::release::Release;\n\
        use crate::severity::EventSeverity;\nuse crate::throttle::{{ExemptDesc, KeyDesc, ThrottleDesc}};\n\n",
        module.module
    );
    module.enums.iter().for_each(|ty| write_enum(&mut text, ty));
    module.structs.iter().for_each(|ty| write_struct(&mut text, scope, ty));
    module.events.iter().for_each(|event| write_event(&mut text, scope, event));
    text
}

fn write_enum(text: &mut String, ty: &Enum) {
    let Enum { name, summary, source, values } = ty;
    let values = list(values.iter().map(value));
    _ = write!(
        text,
        "pub(crate) static {name}: EnumDesc = EnumDesc {{\
        name: {name:?}, summary: {summary:?}, values: {values}, source: {source:?} }};\n\n"
    );
}

fn value(value: &Value) -> String {
    format!(
        "ValueDesc {{ name: {:?}, summary: {:?}, since: {}, removed: {}, deprecated: {}, unstable: {}, \
        condition: {} }}",
        value.name,
        value.summary,
        optional_release(value.since),
        optional_release(value.removed),
        optional_release(value.deprecated),
        value.unstable,
        optional_text(value.condition.as_deref()),
    )
}

fn write_struct(text: &mut String, scope: Scope<'_>, ty: &Struct) {
    let Struct { name, summary, source, .. } = ty;
    let members = list(ty.members.iter().map(|one| member(scope, one, None)));
    let branches = list(ty.variants.iter().map(|variant| {
        let ty = variant.ty.as_ref().map_or("None".into(), |ty| format!("Some(&{})", scope.path(ty)));
        format!("BranchDesc {{ value: {:?}, ty: {ty} }}", variant.value)
    }));
    let union = ty
        .tag
        .as_ref()
        .map_or("None".to_owned(), |tag| format!("Some(UnionDesc {{ tag: {tag:?}, branches: {branches} }})"));
    _ = write!(
        text,
        "pub(crate) static {name}: StructDesc = StructDesc {{\
        name: {name:?}, summary: {summary:?}, members: {members}, union: {union}, source: {source:?} }};\n\n"
    );
}

fn member(scope: Scope<'_>, member: &Member, object_since: Option<Release>) -> String {
    format!(
        "MemberDesc {{ name: {:?}, ty: {}, summary: {:?}, since: {}, removed: {}, optional: {}, \
        optional_since: {}, unit: {}, deprecated: {}, unstable: {}, condition: {} }}",
        member.name,
        type_ref(scope, &member.ty),
        member.summary,
        optional_release(member.since.or(object_since)),
        optional_release(member.removed),
        member.optional || member.optional_since.is_some(),
        optional_release(member.optional_since),
        optional_text(member.unit.as_deref()),
        optional_release(member.deprecated),
        member.unstable,
        optional_text(member.condition.as_deref()),
    )
}

fn type_ref(scope: Scope<'_>, ty: &Type) -> String {
    match ty {
        Type::Array(element) => format!("TypeRef::Array(&{})", type_ref(scope, element)),
        Type::Name(name) => match shape::builtin(name) {
            Some((_, _, variant)) => format!("TypeRef::Builtin(Builtin::{variant})"),
            None if scope.catalogue.enum_named(name).is_some() => {
                format!("TypeRef::Enum(&{})", scope.path(name))
            }
            None => format!("TypeRef::Struct(&{})", scope.path(name)),
        },
    }
}

fn write_event(text: &mut String, scope: Scope<'_>, event: &Event) {
    let fields = [
        ("kind", format!("EventKind::{}", names::variant(&event.name))),
        ("name", format!("{:?}", event.name)),
        ("module", format!("{:?}", scope.module.module)),
        ("since", release(event.since)),
        ("severity", format!("EventSeverity::{:?}", event.severity)),
        ("failure", event.failure.as_ref().map_or("None".into(), failure)),
        ("removed", optional_release(event.removed)),
        ("deprecated", optional_release(event.deprecated)),
        ("unstable", event.unstable.to_string()),
        ("condition", optional_text(event.condition.as_deref())),
        ("condition_since", optional_release(event.condition_since)),
        ("condition_removed", optional_release(event.condition_removed)),
        ("data_since", optional_release(event.data_since)),
        ("summary", format!("{:?}", event.summary)),
        ("notes", list(event.notes.iter().map(|note| format!("{note:?}")))),
        ("members", {
            let since = Some(shape::data_since(event));
            list(event.members.iter().map(|one| member(scope, one, since)))
        }),
        ("throttle", event.throttle.as_ref().map_or("None".into(), throttle)),
        (
            "sequels",
            list(event.sequels.iter().map(|sequel| {
                let kind = names::variant(&sequel.event);
                let when =
                    when(&sequel.when, &sequel.option, &sequel.unless_option, sequel.since, sequel.removed);
                let (with, note) = (values(&sequel.with), optional_text(sequel.note.as_deref()));
                format!("SequelDesc {{ event: EventKind::{kind}, with: {with}, when: {when}, note: {note} }}")
            })),
        ),
        (
            "ends",
            list(event.ends.iter().map(|ends| {
                let when = when(&ends.when, &ends.option, &ends.unless_option, ends.since, ends.removed);
                format!("EndsDesc {{ when: {when}, note: {} }}", optional_text(ends.note.as_deref()))
            })),
        ),
        (
            "rules",
            list(event.rules.iter().map(|rule| {
                let (when, then) = (values(&rule.when), values(&rule.then));
                format!(
                    "RuleDesc {{ when: {when}, then: {then}, note: {} }}",
                    optional_text(rule.note.as_deref())
                )
            })),
        ),
        ("examples", list(event.examples.iter().map(|example| format!("{example:?}")))),
        ("source", format!("{:?}", event.source)),
    ];
    let fields: Vec<String> = fields.iter().map(|(name, value)| format!("{name}: {value}")).collect();
    let name = &event.name;
    _ = write!(text, "pub(crate) const {name}: EventDesc = EventDesc {{ {} }};\n\n", fields.join(", "));
}

fn failure(failure: &Failure) -> String {
    let (member, value) = (&failure.member, optional_text(failure.value.as_deref()));
    format!("Some(FailureDesc {{ member: {member:?}, value: {value} }})")
}

fn throttle(throttle: &Throttle) -> String {
    let keys = list(
        throttle
            .keys
            .iter()
            .map(|key| format!("KeyDesc {{ member: {:?}, since: {} }}", key.member, release(key.since))),
    );
    let exempt = throttle.exempt.first().map_or("None".to_owned(), |exempt| {
        let also = list(exempt.also.iter().map(|stable| release(*stable)));
        let (member, value, since) = (&exempt.member, &exempt.value, release(exempt.since));
        format!("Some(ExemptDesc {{ member: {member:?}, value: {value:?}, since: {since}, also: {also} }})")
    });
    let (interval_ms, since) = (throttle.interval_ms, release(throttle.since));
    format!(
        "Some(ThrottleDesc {{ interval_ms: {interval_ms}, since: {since}, keys: {keys}, exempt: {exempt} }})"
    )
}

fn when(
    members: &Values,
    option: &Option<String>,
    unless_option: &Option<String>,
    since: Option<Release>,
    removed: Option<Release>,
) -> String {
    format!(
        "WhenDesc {{ members: {}, option: {}, unless_option: {}, since: {}, removed: {} }}",
        values(members),
        optional_text(option.as_deref()),
        optional_text(unless_option.as_deref()),
        optional_release(since),
        optional_release(removed),
    )
}
