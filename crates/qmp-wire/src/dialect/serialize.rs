//! Serializes any `Serialize` type to text as QEMU prints it.
//!
//! Members are written in serialization order and moved into the order of QEMU's hash table when their object ends,
//! in place: only the output is allocated.

mod members;
mod text;

use std::fmt;

use serde::ser::{self, Serialize};

use self::members::Members;
use super::{number, print::print_string};

/// A member to leave out, or a member whose value has members to leave out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hidden {
    /// The member's name.
    pub name: Box<str>,
    /// The members to leave out in its value; if empty, the member itself is left out.
    pub within: Vec<Hidden>,
}

/// Errors of [`write()`].
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

/// Appends a value as QEMU prints it, on one line, without the members in `hidden`.
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

struct Writer<'a, 'h> {
    out: &'a mut Vec<u8>,
    hidden: &'h [Hidden],
}

impl<'a, 'h> Writer<'a, 'h> {
    fn text(self, text: &str) -> Result<(), WriteError> {
        self.out.extend_from_slice(text.as_bytes());
        Ok(())
    }

    fn list(self) -> List<'a, 'h> {
        self.out.push(b'[');
        List { out: self.out, hidden: self.hidden, is_empty: true, is_variant: false }
    }

    /// `{"VARIANT": `
    fn variant(&mut self, name: &str) {
        self.out.push(b'{');
        print_string(name, self.out);
        self.out.extend_from_slice(b": ");
    }
}

macro_rules! write_integers {
    ($($method:ident: $ty:ty,)*) => {
        $(fn $method(self, number: $ty) -> Result<(), WriteError> {
            self.text(itoa::Buffer::new().format(number))
        })*
    };
}

impl<'a, 'h> ser::Serializer for Writer<'a, 'h> {
    type Ok = ();
    type Error = WriteError;
    type SerializeSeq = List<'a, 'h>;
    type SerializeTuple = List<'a, 'h>;
    type SerializeTupleStruct = List<'a, 'h>;
    type SerializeTupleVariant = List<'a, 'h>;
    type SerializeMap = Members<'a, 'h>;
    type SerializeStruct = Members<'a, 'h>;
    type SerializeStructVariant = Members<'a, 'h>;

    write_integers! {
        serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64, serialize_i128: i128,
        serialize_u8: u8, serialize_u16: u16, serialize_u32: u32, serialize_u64: u64, serialize_u128: u128,
    }

    fn serialize_bool(self, value: bool) -> Result<(), WriteError> {
        self.text(if value { "true" } else { "false" })
    }

    fn serialize_f32(self, number: f32) -> Result<(), WriteError> {
        self.serialize_f64(number.into())
    }

    fn serialize_f64(self, number: f64) -> Result<(), WriteError> {
        number::print_double(number, self.out);
        Ok(())
    }

    fn serialize_char(self, character: char) -> Result<(), WriteError> {
        self.serialize_str(character.encode_utf8(&mut [0; 4]))
    }

    fn serialize_str(self, text: &str) -> Result<(), WriteError> {
        print_string(text, self.out);
        Ok(())
    }

    fn serialize_bytes(self, bytes: &[u8]) -> Result<(), WriteError> {
        self.collect_seq(bytes)
    }

    fn serialize_none(self) -> Result<(), WriteError> {
        self.text("null")
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), WriteError> {
        value.serialize(self)
    }

    /// A command without result returns `{}`.
    fn serialize_unit(self) -> Result<(), WriteError> {
        self.text("{}")
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), WriteError> {
        self.text("{}")
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, name: &'static str) -> Result<(), WriteError> {
        self.serialize_str(name)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), WriteError> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        mut self,
        _: &'static str,
        _: u32,
        name: &'static str,
        value: &T,
    ) -> Result<(), WriteError> {
        self.variant(name);
        value.serialize(Writer { out: self.out, hidden: &[] })?;
        self.text("}")
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<List<'a, 'h>, WriteError> {
        Ok(self.list())
    }

    fn serialize_tuple(self, _: usize) -> Result<List<'a, 'h>, WriteError> {
        Ok(self.list())
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<List<'a, 'h>, WriteError> {
        Ok(self.list())
    }

    fn serialize_tuple_variant(
        mut self,
        _: &'static str,
        _: u32,
        name: &'static str,
        _: usize,
    ) -> Result<List<'a, 'h>, WriteError> {
        self.variant(name);
        Ok(List { is_variant: true, ..self.list() })
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Members<'a, 'h>, WriteError> {
        Ok(Members::open(self.out, self.hidden))
    }

    fn serialize_struct(self, name: &'static str, _: usize) -> Result<Members<'a, 'h>, WriteError> {
        if name == members::RAW_TEXT {
            return Ok(Members::raw(self.out));
        }
        Ok(Members::open(self.out, self.hidden))
    }

    fn serialize_struct_variant(
        mut self,
        _: &'static str,
        _: u32,
        name: &'static str,
        _: usize,
    ) -> Result<Members<'a, 'h>, WriteError> {
        self.variant(name);
        Ok(Members::open_variant(self.out, self.hidden))
    }
}

struct List<'a, 'h> {
    out: &'a mut Vec<u8>,
    hidden: &'h [Hidden],
    is_empty: bool,
    is_variant: bool,
}

impl List<'_, '_> {
    fn element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), WriteError> {
        if !self.is_empty {
            self.out.extend_from_slice(b", ");
        }
        self.is_empty = false;
        value.serialize(Writer { out: self.out, hidden: self.hidden })
    }

    fn close(self) -> Result<(), WriteError> {
        self.out.extend_from_slice(if self.is_variant { b"]}" } else { b"]" });
        Ok(())
    }
}

macro_rules! write_lists {
    ($($kind:ident $method:ident,)*) => {
        $(impl ser::$kind for List<'_, '_> {
            type Ok = ();
            type Error = WriteError;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), WriteError> {
                self.element(value)
            }

            fn end(self) -> Result<(), WriteError> {
                self.close()
            }
        })*
    };
}

write_lists! {
    SerializeSeq serialize_element,
    SerializeTuple serialize_element,
    SerializeTupleStruct serialize_field,
    SerializeTupleVariant serialize_field,
}
