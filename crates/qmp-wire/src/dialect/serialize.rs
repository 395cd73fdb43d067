//! Serializes any `Serialize` type to text as QEMU prints it.
//!
//! Members are written in serialization order and moved into the order of QEMU's hash table when their object ends,
//! in place: only the output is allocated.

mod hidden;
mod error;
mod text;
mod members;
mod writer;

use serde::ser::Serialize;

pub use error::WriteError;
pub use hidden::Hidden;

use self::writer::Writer;

/// Appends a value as QEMU prints it, on one line, without the members in `hidden`.
///
/// NaN and infinities, which JSON does not have, become `null`. (QEMU prints `nan` and `inf`; so does
/// [`Value::print`](super::Value::print), by which a client gets its own `id` back.)
///
/// # Errors
///
/// [`WriteError::KeyNotString`], [`WriteError::Refused`]; `out` is unchanged then.
pub fn write(value: &impl Serialize, hidden: &[Hidden], out: &mut Vec<u8>) -> Result<(), WriteError> {
    let start = out.len();
    value.serialize(Writer { out, hidden }).inspect_err(|_| out.truncate(start))
}

/// Appends an object as [`write()`] does, unless it has no member: then it appends nothing and returns `false`.
///
/// # Errors
///
/// As [`write()`], and [`WriteError::NotAnObject`].
pub fn write_object(
    value: &impl Serialize,
    hidden: &[Hidden],
    out: &mut Vec<u8>,
) -> Result<bool, WriteError> {
    let start = out.len();
    write(value, hidden, out)?;
    match &out[start..] {
        b"{}" | b"null" => {
            out.truncate(start);
            Ok(false)
        }
        [b'{', ..] => Ok(true),
        _ => {
            out.truncate(start);
            Err(WriteError::NotAnObject)
        }
    }
}
