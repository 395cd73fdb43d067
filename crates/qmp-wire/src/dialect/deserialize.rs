//! Deserializes a value into any type that implements `Deserialize`.

use std::fmt;

use serde::de::{self, DeserializeSeed, IntoDeserializer, Visitor, value::SeqDeserializer};

use super::value::Value;

/// Errors of reading a typed value from a [`Value`], in QEMU's words where it has a text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.message())]
pub struct ReadError {
    kind: ErrorKind,
    /// The path of the invalid member, innermost first; elements of lists have no name.
    path: Vec<Box<str>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum ErrorKind {
    /// A value of the right JSON type that the target type does not contain.
    Expects(Box<str>),
    Other(Box<str>),
}

impl ReadError {
    fn message(&self) -> String {
        let path: Vec<&str> = self.path.iter().rev().map(|name| &**name).collect();
        match &self.kind {
            ErrorKind::Expects(ty) if !path.is_empty() => {
                format!("Parameter '{}' expects {ty}", path.join("."))
            }
            ErrorKind::Expects(text) | ErrorKind::Other(text) => text.to_string(),
        }
    }
}

impl de::Error for ReadError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self { kind: ErrorKind::Other(message.to_string().into()), path: Vec::new() }
    }

    /// QEMU uses its own type names: a number that `u64` does not hold gets "expects uint64".
    fn invalid_value(unexpected: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        let (de::Unexpected::Signed(_) | de::Unexpected::Unsigned(_)) = unexpected else {
            return Self::custom(format_args!("invalid value: {unexpected}, expected {expected}"));
        };
        let expected = expected.to_string();
        let ty = match &*expected {
            "u8" | "u16" | "u32" | "u64" => format!("uint{}", &expected[1..]),
            "i8" | "i16" | "i32" | "i64" => format!("int{}", &expected[1..]),
            _ => expected,
        };
        Self { kind: ErrorKind::Expects(ty.into()), path: Vec::new() }
    }
}

/// The members of an object; an error in a member contains its name.
struct Members<I> {
    rest: I,
    next: Option<(String, Value)>,
}

impl<'de, I: Iterator<Item = (String, Value)>> de::MapAccess<'de> for Members<I> {
    type Error = ReadError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, ReadError> {
        self.next = self.rest.next();
        let Some((name, _)) = &self.next else { return Ok(None) };
        let name: de::value::StringDeserializer<ReadError> = name.clone().into_deserializer();
        seed.deserialize(name).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, ReadError> {
        let (name, value) = self.next.take().ok_or_else(|| de::Error::custom("a value follows its name"))?;
        seed.deserialize(value).map_err(|mut error: ReadError| {
            error.path.push(name.into());
            error
        })
    }
}

impl<'de> IntoDeserializer<'de, ReadError> for Value {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> de::Deserializer<'de> for Value {
    type Error = ReadError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self {
            Self::Null => visitor.visit_unit(),
            Self::Bool(value) => visitor.visit_bool(value),
            Self::Int(number) => visitor.visit_i64(number),
            Self::Uint(number) => visitor.visit_u64(number),
            Self::Double(number) => visitor.visit_f64(number),
            Self::String(text) => visitor.visit_string(text),
            Self::List(values) => visitor.visit_seq(SeqDeserializer::new(values.into_iter())),
            Self::Object(object) => visitor.visit_map(Members { rest: object.into_members(), next: None }),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self {
            Self::Null => visitor.visit_none(),
            value => visitor.visit_some(value),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        match self {
            Self::String(text) => visitor.visit_enum(text.into_deserializer()),
            Self::Object(object) if object.len() == 1 => {
                visitor.visit_enum(Variant(object.into_members().next()))
            }
            _ => Err(de::Error::custom("expected an enum value")),
        }
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct identifier ignored_any
    }
}

/// `{"VARIANT": value}`
struct Variant(Option<(String, Value)>);

impl<'de> de::EnumAccess<'de> for Variant {
    type Error = ReadError;
    type Variant = Value;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Value), ReadError> {
        let (name, value) = self.0.ok_or_else(|| de::Error::custom("expected a variant"))?;
        let name: de::value::StringDeserializer<ReadError> = name.into_deserializer();
        Ok((seed.deserialize(name)?, value))
    }
}

impl<'de> de::VariantAccess<'de> for Value {
    type Error = ReadError;

    fn unit_variant(self) -> Result<(), ReadError> {
        Ok(())
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, ReadError> {
        seed.deserialize(self)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, ReadError> {
        de::Deserializer::deserialize_any(self, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        de::Deserializer::deserialize_any(self, visitor)
    }
}
