//! Sentences.

use crate::desc::{Scalar, TypeRef, WhenDesc};
use crate::throttle::{ExemptDesc, Throttle};

/// Returns the type as QAPI names it: `str`, `ShutdownCause`, `[uint64]`.
pub fn type_text(ty: &TypeRef) -> String {
    match ty {
        TypeRef::Builtin(ty) => ty.name().to_owned(),
        TypeRef::Array(ty) => format!("[{}]", type_text(ty)),
        TypeRef::Enum(ty) => ty.name.to_owned(),
        TypeRef::Struct(ty) => ty.name.to_owned(),
    }
}

/// Returns the condition in words: `action is reset; without -no-reboot`; `always` if there is none.
pub fn when_text(when: &WhenDesc) -> String {
    let parts = [
        (!when.members.is_empty()).then(|| values_text(when.members)),
        when.option.map(|option| format!("with {option}")),
        when.unless_option.map(|option| format!("without {option}")),
        when.since.map(|release| format!("from QEMU {release} on")),
        when.removed.map(|release| format!("before QEMU {release}")),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    if parts.is_empty() { "always".to_owned() } else { parts.join("; ") }
}

/// Returns members and their values in words: `reason is guest-reset or guest-panic and guest is true`.
pub fn values_text(values: &[(&'static str, &'static [Scalar])]) -> String {
    let scalar = |value: &Scalar| match value {
        Scalar::Str(value) => (*value).to_owned(),
        Scalar::Bool(value) => value.to_string(),
        Scalar::Int(value) => value.to_string(),
    };
    let one = |(member, values): &(&str, &[Scalar])| {
        format!("{member} is {}", values.iter().map(scalar).collect::<Vec<_>>().join(" or "))
    };
    values.iter().map(one).collect::<Vec<_>>().join(" and ")
}

/// Returns the rate limit in words: `one per second for each id`.
pub fn throttle_text(throttle: &Throttle) -> String {
    let mut text = match throttle.interval.as_millis() {
        1000 => "one per second".to_owned(),
        interval_ms => format!("one in {interval_ms} ms"),
    };
    if let Some(key) = throttle.key {
        text += &format!(" for each {key}");
    }
    if let Some(exempt) = &throttle.exempt {
        text += &format!(", not if {}", exempt_text(exempt));
    }
    text
}

/// Returns the exemption from the limit in words: `action is stop`.
pub fn exempt_text(exempt: &ExemptDesc) -> String {
    format!("{} is {}", exempt.member, exempt.value)
}
