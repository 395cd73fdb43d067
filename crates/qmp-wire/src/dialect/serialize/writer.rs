//! The serializer: writes each value as it comes.

use serde::ser::{self, Serialize};

use super::error::WriteError;
use super::hidden::Hidden;
use super::members::{Members, RAW_TEXT};
use super::text::Text;
use crate::dialect::number;
use crate::dialect::print::{print_string, reprint};

pub(super) struct Writer<'a, 'h> {
    pub(super) out: &'a mut Vec<u8>,
    pub(super) hidden: &'h [Hidden],
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
        if !number.is_finite() {
            // JSON has no such number.
            return self.text("null");
        }
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
        if name == RAW_TEXT {
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

pub(super) struct List<'a, 'h> {
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

impl Members<'_, '_> {
    fn member<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) -> Result<(), WriteError> {
        if self.is_raw {
            return value.serialize(Text(|text: &str| reprint(text.as_bytes(), self.out)));
        }
        self.key(name);
        self.value(value)
    }

    fn value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), WriteError> {
        let Some(hidden) = self.within else { return Ok(()) };
        value.serialize(Writer { out: self.out, hidden })?;
        self.out.extend_from_slice(b", ");
        Ok(())
    }
}

impl ser::SerializeMap for Members<'_, '_> {
    type Ok = ();
    type Error = WriteError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), WriteError> {
        key.serialize(Text(|name: &str| self.key(name)))
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), WriteError> {
        self.value(value)
    }

    fn end(self) -> Result<(), WriteError> {
        self.close();
        Ok(())
    }
}

macro_rules! write_structs {
    ($($kind:ident,)*) => {
        $(impl ser::$kind for Members<'_, '_> {
            type Ok = ();
            type Error = WriteError;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                name: &'static str,
                value: &T,
            ) -> Result<(), WriteError> {
                self.member(name, value)
            }

            fn end(self) -> Result<(), WriteError> {
                self.close();
                Ok(())
            }
        })*
    };
}

write_structs! { SerializeStruct, SerializeStructVariant, }
