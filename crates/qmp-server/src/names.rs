//! The forms of names that are written without escapes.

/// Errors of a name that QAPI does not allow for an event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid name of an event: {name:?}; QAPI allows A-Z, 0-9 and _, after a prefix like __org.example_")]
pub struct EventNameError {
    name: Box<str>,
}

/// Checks the name of an event: upper-case letters, digits and `_`, the first of them a letter, after an optional
/// prefix of `__`, a domain and `_`.
///
/// Source: QEMU `scripts/qapi/expr.py`, `check_name_upper()`.
///
/// # Errors
///
/// [`EventNameError`] for any other name.
pub fn check_event_name(name: &str) -> Result<(), EventNameError> {
    if is_event_name(name) { Ok(()) } else { Err(EventNameError { name: name.into() }) }
}

fn is_event_name(name: &str) -> bool {
    let in_domain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
    let stem = match name.strip_prefix("__") {
        None => Some(name),
        Some(rest) => rest
            .split_once('_')
            .filter(|(domain, _)| !domain.is_empty() && domain.bytes().all(in_domain))
            .map(|(_, stem)| stem),
    };
    stem.is_some_and(|stem| {
        stem.starts_with(|first: char| first.is_ascii_uppercase())
            && stem.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
    })
}

/// Returns whether a text is a UUID, as QEMU's option `-uuid` takes it.
pub(crate) fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}
