//! Deserializes a value into any type that implements `Deserialize`.

use std::fmt;

use serde::de::{self, DeserializeSeed, IntoDeserializer, Visitor};

use super::value::Value;

/// Errors of reading a typed value from a [`Value`], in QEMU's words where it has a text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.message())]
pub struct ReadError {
    kind: ErrorKind,
    /// The path of the invalid value, innermost step first.
    path: Vec<Step>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum ErrorKind {
    /// A value of another JSON type, and the name of the expected one.
    WrongType(Box<str>),
    /// An integer that an unsigned type of 64 bits does not contain.
    Unsigned,
    /// A value of the right JSON type that the target type does not contain.
    OutOfRange(Box<str>),
    /// A string that is none of those of an enum.
    UnknownVariant(Box<str>),
    Missing,
    Unexpected,
    Other(Box<str>),
}

/// The beginning of serde's description of a nonzero integer; the name of its Rust type follows.
const NONZERO: &str = "a nonzero ";

/// A step of the path to a value.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Member(Box<str>),
    Element(usize),
}

impl ReadError {
    fn new(kind: ErrorKind) -> Self {
        Self { kind, path: Vec::new() }
    }

    fn within(mut self, step: Step) -> Self {
        self.path.push(step);
        self
    }

    /// Returns the text. QEMU names a value by its whole path in some errors, and by its last member in others, where
    /// an element of a list is `null`.
    fn message(&self) -> String {
        let (path, last) = (self.full_name(), self.last_name());
        match &self.kind {
            ErrorKind::WrongType(ty) => format!("Invalid parameter type for '{path}', expected: {ty}"),
            ErrorKind::Unsigned => format!("Parameter '{path}' expects uint64"),
            ErrorKind::OutOfRange(ty) => format!("Parameter '{last}' expects {ty}"),
            ErrorKind::UnknownVariant(value) => format!("Parameter '{last}' does not accept value '{value}'"),
            ErrorKind::Missing => format!("Parameter '{path}' is missing"),
            ErrorKind::Unexpected => format!("Parameter '{path}' is unexpected"),
            ErrorKind::Other(text) => text.to_string(),
        }
    }

    fn full_name(&self) -> String {
        let mut name = String::new();
        for step in self.path.iter().rev() {
            match step {
                Step::Member(member) if name.is_empty() => name.push_str(member),
                Step::Member(member) => {
                    name.push('.');
                    name.push_str(member);
                }
                Step::Element(index) => name.push_str(&format!("[{index}]")),
            }
        }
        name
    }

    fn last_name(&self) -> &str {
        match self.path.first() {
            Some(Step::Member(member)) => member,
            _ => "null",
        }
    }
}

/// Returns the error for a value of another type than serde describes with `expected`.
///
/// QEMU reads each integer as one of 64 bits first, and has a text of its own for unsigned ones.
fn wrong_type(expected: &str) -> ErrorKind {
    let expected = expected.strip_prefix(NONZERO).unwrap_or(expected);
    let ty = match expected {
        "u8" | "u16" | "u32" | "u64" | "u128" | "usize" => return ErrorKind::Unsigned,
        "i8" | "i16" | "i32" | "i64" | "i128" | "isize" => "integer",
        "f32" | "f64" => "number",
        "a boolean" => "boolean",
        "a string" | "a borrowed string" | "a character" | "string or map" | "path string" => "string",
        "a sequence" | "byte array" | "a borrowed byte array" => "array",
        "a map" => "object",
        "unit" => "null",
        other => match other.split_once(' ') {
            Some(("struct" | "internally" | "adjacently", _)) => "object",
            Some(("enum" | "variant" | "field", _)) => "string",
            Some(("tuple", _)) => "array",
            Some(("a", rest)) if rest.starts_with("tuple of size ") => "array",
            Some(("an", rest)) if rest.starts_with("array of length ") => "array",
            Some(("unit", _)) => "null",
            _ => other,
        },
    };
    ErrorKind::WrongType(ty.into())
}

/// Returns the error for a value that the type does not contain, which serde describes with `expected`.
fn out_of_range(unexpected: de::Unexpected<'_>, expected: &str) -> ErrorKind {
    let nonzero = expected.strip_prefix(NONZERO);
    if let (Some(_), de::Unexpected::Signed(0) | de::Unexpected::Unsigned(0)) = (nonzero, unexpected) {
        return ErrorKind::OutOfRange("a nonzero value".into());
    }
    let ty = nonzero.unwrap_or(expected);
    match ty {
        "u8" | "u16" | "u32" => ErrorKind::OutOfRange(format!("uint{}_t", &ty[1..]).into()),
        "i8" | "i16" | "i32" => ErrorKind::OutOfRange(format!("int{}_t", &ty[1..]).into()),
        "u64" | "u128" | "usize" | "i64" | "i128" | "isize" => wrong_type(ty),
        _ => ErrorKind::OutOfRange(expected.into()),
    }
}

impl de::Error for ReadError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(ErrorKind::Other(message.to_string().into()))
    }

    fn invalid_type(_: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::new(wrong_type(&expected.to_string()))
    }

    fn invalid_value(unexpected: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::new(out_of_range(unexpected, &expected.to_string()))
    }

    fn invalid_length(length: usize, expected: &dyn de::Expected) -> Self {
        // The text of serde names a Rust type, and its length.
        let expected = expected.to_string();
        let number = |word: &&str| word.bytes().all(|byte| byte.is_ascii_digit());
        match expected.split(' ').rfind(number) {
            Some(number) => Self::new(ErrorKind::OutOfRange(format!("{number} elements").into())),
            None => Self::custom(format_args!("invalid length {length}, expected {expected}")),
        }
    }

    fn unknown_variant(variant: &str, _: &'static [&'static str]) -> Self {
        Self::new(ErrorKind::UnknownVariant(variant.into()))
    }

    fn unknown_field(field: &str, _: &'static [&'static str]) -> Self {
        Self::new(ErrorKind::Unexpected).within(Step::Member(field.into()))
    }

    fn missing_field(field: &'static str) -> Self {
        Self::new(ErrorKind::Missing).within(Step::Member(field.into()))
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
        seed.deserialize(value).map_err(|error: ReadError| error.within(Step::Member(name.into())))
    }
}

/// The elements of a list; an error in an element contains its index.
struct Elements<I>(std::iter::Enumerate<I>);

impl<'de, I: ExactSizeIterator<Item = Value>> de::SeqAccess<'de> for Elements<I> {
    type Error = ReadError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, ReadError> {
        let Some((index, value)) = self.0.next() else { return Ok(None) };
        let element = seed.deserialize(value);
        element.map(Some).map_err(|error: ReadError| error.within(Step::Element(index)))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.0.len())
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
            Self::List(values) => visitor.visit_seq(Elements(values.into_iter().enumerate())),
            Self::Object(object) => visitor.visit_map(Members { rest: object.into_members(), next: None }),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self {
            Self::Null => visitor.visit_none(),
            value => visitor.visit_some(value),
        }
    }

    /// serde converts a number to `f32` unchecked: a large one would become infinite.
    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self {
            Self::Double(number) if number.abs() > f32::MAX.into() => {
                Err(ReadError::new(ErrorKind::OutOfRange("float".into())))
            }
            value => value.deserialize_any(visitor),
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
            _ => Err(ReadError::new(ErrorKind::WrongType("string".into()))),
        }
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f64 char str string bytes byte_buf unit unit_struct seq tuple
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
