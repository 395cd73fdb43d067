//! Replies: `{"return": …, "id": …}` and `{"id": …, "error": …}`.

use crate::dialect::{InputError, Object, Value};

/// The refusal of a request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{class}: {desc}")]
pub struct Refusal {
    /// `GenericError`, `CommandNotFound`, `DeviceNotActive`, `DeviceNotFound`, `KVMMissingCap`.
    pub class: &'static str,
    /// Text for users, in QEMU's words where QEMU has a text.
    pub desc: String,
}

impl Refusal {
    /// Creates a refusal of class `GenericError`.
    #[must_use]
    pub fn generic(desc: impl Into<String>) -> Self {
        Self { class: "GenericError", desc: desc.into() }
    }

    /// Creates a refusal of class `CommandNotFound`.
    #[must_use]
    pub fn command_not_found(desc: impl Into<String>) -> Self {
        Self { class: "CommandNotFound", desc: desc.into() }
    }
}

impl From<InputError> for Refusal {
    fn from(error: InputError) -> Self {
        Self::generic(error.desc)
    }
}

/// Returns the reply to the request of that id.
pub(super) fn message(id: Option<Value>, result: Result<Value, Refusal>) -> Value {
    match result {
        Ok(value) => with_id("return", value, id),
        Err(refusal) => error_message(id, refusal.class, refusal.desc),
    }
}

/// Returns the error reply to the request of that id.
pub(super) fn error_message(id: Option<Value>, class: &str, desc: String) -> Value {
    let members = [("class", Value::String(class.into())), ("desc", Value::String(desc))];
    with_id("error", Value::Object(members.into_iter().collect()), id)
}

fn with_id(name: &str, value: Value, id: Option<Value>) -> Value {
    let mut message = Object::default();
    message.insert(name, value);
    if let Some(id) = id {
        message.insert("id", id);
    }
    Value::Object(message)
}
