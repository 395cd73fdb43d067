//! The errors of a write.

use std::fmt;

use serde::ser;

/// Errors of [`write`](crate::dialect::write()).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// A map has a key that is not a string.
    #[error("a key is not a string")]
    KeyNotString,
    /// The value has to be an object.
    #[error("the value is not an object")]
    NotAnObject,
    /// The `Serialize` implementation returned an error.
    #[error("{0}")]
    Refused(Box<str>),
}

impl ser::Error for WriteError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::Refused(message.to_string().into())
    }
}
