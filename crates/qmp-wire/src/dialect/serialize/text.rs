//! Passes strings that serde serializes to a function, without a copy.

use serde::ser::{Impossible, Serialize, Serializer};

use super::error::WriteError;

/// Passes the serialized string to a function; refuses any other type.
pub(super) struct Text<F>(pub(super) F);

macro_rules! refuse {
    ($($method:ident: $ty:ty,)*) => {
        $(fn $method(self, _: $ty) -> Result<R, WriteError> {
            Err(WriteError::KeyNotString)
        })*
    };
}

impl<R, F: FnOnce(&str) -> R> Serializer for Text<F> {
    type Ok = R;
    type Error = WriteError;
    type SerializeSeq = Impossible<R, WriteError>;
    type SerializeTuple = Impossible<R, WriteError>;
    type SerializeTupleStruct = Impossible<R, WriteError>;
    type SerializeTupleVariant = Impossible<R, WriteError>;
    type SerializeMap = Impossible<R, WriteError>;
    type SerializeStruct = Impossible<R, WriteError>;
    type SerializeStructVariant = Impossible<R, WriteError>;

    refuse! {
        serialize_bool: bool, serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64,
        serialize_u8: u8, serialize_u16: u16, serialize_u32: u32, serialize_u64: u64,
        serialize_f32: f32, serialize_f64: f64, serialize_bytes: &[u8],
    }

    fn serialize_str(self, text: &str) -> Result<R, WriteError> {
        Ok(self.0(text))
    }

    fn serialize_char(self, character: char) -> Result<R, WriteError> {
        self.serialize_str(character.encode_utf8(&mut [0; 4]))
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, name: &'static str) -> Result<R, WriteError> {
        self.serialize_str(name)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<R, WriteError> {
        value.serialize(self)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<R, WriteError> {
        value.serialize(self)
    }

    fn serialize_none(self) -> Result<R, WriteError> {
        Err(WriteError::KeyNotString)
    }

    fn serialize_unit(self) -> Result<R, WriteError> {
        Err(WriteError::KeyNotString)
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<R, WriteError> {
        Err(WriteError::KeyNotString)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<R, WriteError> {
        Err(WriteError::KeyNotString)
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Self::SerializeSeq, WriteError> {
        Err(WriteError::KeyNotString)
    }

    fn serialize_tuple(self, _: usize) -> Result<Self::SerializeTuple, WriteError> {
        Err(WriteError::KeyNotString)
    }

    fn serialize_tuple_struct(
        self,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleStruct, WriteError> {
        Err(WriteError::KeyNotString)
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, WriteError> {
        Err(WriteError::KeyNotString)
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Self::SerializeMap, WriteError> {
        Err(WriteError::KeyNotString)
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self::SerializeStruct, WriteError> {
        Err(WriteError::KeyNotString)
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant, WriteError> {
        Err(WriteError::KeyNotString)
    }
}
