//! Checks arguments against their description, in QEMU's order and with its error texts.
//!
//! Members are read in the order of the type, inner ones before the next outer one; unexpected members are reported
//! at the end of their object.
//!
//! Source: measured on QEMU 7.2 and 11.1.

use qmp_wire::{
    dialect::{Object, Value, first_of},
    server::Refusal,
};

use crate::types::{AlternateType, EnumType, ObjectType, Type, Variants};

/// Checks the arguments of a command as a monitor does before it runs it.
///
/// # Errors
///
/// The first error, of class `GenericError`.
pub fn check_arguments(arguments: &Object, ty: &ObjectType) -> Result<(), Refusal> {
    Checker { path: Vec::new() }.object(arguments, ty)
}

/// Checks a value from this side against its description; the error contains `name` in its place.
pub(crate) fn check_value(name: &str, value: &Value, ty: &Type) -> Result<(), String> {
    let mut checker = Checker { path: vec![Step::Member(name)] };
    checker.value(value, ty).map_err(|refusal| refusal.desc)
}

/// Converts negative numbers modulo 2⁶⁴ where `uint64` or `size` is described, as QEMU does, and nowhere else.
///
/// The arguments must fit their description. A [`Monitor`](crate::Monitor) does this with the arguments of a command.
pub fn wrap_unsigned(arguments: &mut Object, ty: &ObjectType) {
    for member in &ty.members {
        if let Some(value) = arguments.get_mut(&member.name) {
            wrap(value, &member.ty);
        }
    }
    if let Some(Variants { tag, branches }) = &ty.variants
        && let Some(Value::String(value)) = arguments.get(tag)
        && let Some((_, branch)) = branches.iter().find(|(case, _)| **case == **value)
    {
        wrap_unsigned(arguments, branch);
    }
}

fn wrap(value: &mut Value, ty: &Type) {
    match (ty, value) {
        (Type::Uint64 | Type::Size, value) => {
            if let Value::Int(number) = value
                && *number < 0
            {
                *value = Value::Uint(number.cast_unsigned());
            }
        }
        (Type::Array(element), Value::List(values)) => {
            values.iter_mut().for_each(|value| wrap(value, element));
        }
        (Type::Object(ty), Value::Object(object)) => wrap_unsigned(object, ty),
        (Type::Alternate(ty), value) => {
            if let Some(ty) = ty.types.iter().find(|ty| expected(ty) == kind(value)) {
                wrap(value, ty);
            }
        }
        _ => {}
    }
}

/// A step of the path to a value in the arguments.
enum Step<'a> {
    Member(&'a str),
    Element(usize),
}

struct Checker<'a> {
    path: Vec<Step<'a>>,
}

impl<'a> Checker<'a> {
    fn object(&mut self, object: &'a Object, ty: &'a ObjectType) -> Result<(), Refusal> {
        let mut known = Vec::new();
        self.members(object, ty, &mut known)?;
        match first_of(object, |name| !known.contains(&name)) {
            Some(name) => {
                self.path.push(Step::Member(name));
                Err(Refusal::generic(format!("Parameter '{}' is unexpected", self.full_name())))
            }
            None => Ok(()),
        }
    }

    fn members(
        &mut self,
        object: &'a Object,
        ty: &'a ObjectType,
        known: &mut Vec<&'a str>,
    ) -> Result<(), Refusal> {
        for member in &ty.members {
            known.push(&member.name);
            self.path.push(Step::Member(&member.name));
            match object.get(&member.name) {
                Some(value) => self.value(value, &member.ty)?,
                None if member.optional => {}
                None => return Err(Refusal::generic(format!("Parameter '{}' is missing", self.full_name()))),
            }
            self.path.pop();
        }
        if let Some(Variants { tag, branches }) = &ty.variants
            && let Some(Value::String(value)) = object.get(tag)
            && let Some((_, branch)) = branches.iter().find(|(case, _)| **case == **value)
        {
            self.members(object, branch, known)?;
        }
        Ok(())
    }

    fn value(&mut self, value: &'a Value, ty: &'a Type) -> Result<(), Refusal> {
        match (ty, value) {
            (Type::Any, _)
            | (Type::Str, Value::String(_))
            | (Type::Bool, Value::Bool(_))
            | (Type::Null, Value::Null)
            | (Type::Int | Type::Int64, Value::Int(_))
            | (Type::Number, Value::Int(_) | Value::Uint(_) | Value::Double(_)) => Ok(()),
            (Type::Enum(ty), Value::String(text)) => self.one_of(text, ty),
            (Type::Array(element), Value::List(values)) => {
                for (index, value) in values.iter().enumerate() {
                    self.path.push(Step::Element(index));
                    self.value(value, element)?;
                    self.path.pop();
                }
                Ok(())
            }
            (Type::Object(ty), Value::Object(object)) => self.object(object, ty),
            (Type::Alternate(ty), value) => self.alternate(value, ty),
            (Type::Uint8 | Type::Uint16 | Type::Uint32 | Type::Uint64 | Type::Size, _) => {
                self.unsigned(value, ty)
            }
            (Type::Int8 | Type::Int16 | Type::Int32, Value::Int(number)) => self.signed(*number, ty),
            _ => Err(self.wrong_type(expected(ty))),
        }
    }

    fn one_of(&self, text: &str, ty: &EnumType) -> Result<(), Refusal> {
        if ty.values.iter().any(|value| **value == *text) {
            return Ok(());
        }
        let name = self.last_name();
        Err(Refusal::generic(format!("Parameter '{name}' does not accept value '{text}'")))
    }

    fn alternate(&mut self, value: &'a Value, ty: &'a AlternateType) -> Result<(), Refusal> {
        match ty.types.iter().find(|ty| expected(ty) == kind(value) || matches!(ty, Type::Any)) {
            Some(ty) => self.value(value, ty),
            None => {
                let name = self.last_name();
                let desc = format!("Invalid parameter type for '{name}', expected: {}", ty.name);
                Err(Refusal::generic(desc))
            }
        }
    }

    /// Negative numbers are converted modulo 2⁶⁴.
    fn unsigned(&self, value: &Value, ty: &Type) -> Result<(), Refusal> {
        let number = match value {
            Value::Int(number) => number.cast_unsigned(),
            Value::Uint(number) => *number,
            _ => return Err(self.expects(&self.full_name(), "uint64")),
        };
        let (max, name) = match ty {
            Type::Uint8 => (u8::MAX.into(), "uint8_t"),
            Type::Uint16 => (u16::MAX.into(), "uint16_t"),
            Type::Uint32 => (u32::MAX.into(), "uint32_t"),
            _ => return Ok(()),
        };
        if number <= max { Ok(()) } else { Err(self.expects(self.last_name(), name)) }
    }

    fn signed(&self, number: i64, ty: &Type) -> Result<(), Refusal> {
        let (fits, name) = match ty {
            Type::Int8 => (i8::try_from(number).is_ok(), "int8_t"),
            Type::Int16 => (i16::try_from(number).is_ok(), "int16_t"),
            _ => (i32::try_from(number).is_ok(), "int32_t"),
        };
        if fits { Ok(()) } else { Err(self.expects(self.last_name(), name)) }
    }

    fn wrong_type(&self, expected: &str) -> Refusal {
        let name = self.full_name();
        Refusal::generic(format!("Invalid parameter type for '{name}', expected: {expected}"))
    }

    fn expects(&self, name: &str, ty: &str) -> Refusal {
        Refusal::generic(format!("Parameter '{name}' expects {ty}"))
    }

    /// `capabilities[0].state`
    fn full_name(&self) -> String {
        let mut name = String::new();
        for step in &self.path {
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

    /// Returns the member alone, as some errors do; QEMU has no name for an element.
    fn last_name(&self) -> &'a str {
        match self.path.last() {
            Some(Step::Member(member)) => member,
            _ => "null",
        }
    }
}

/// Returns the name of the type in error texts.
fn expected(ty: &Type) -> &'static str {
    match ty {
        Type::Str | Type::Enum(_) => "string",
        Type::Bool => "boolean",
        Type::Number => "number",
        Type::Null => "null",
        Type::Array(_) => "array",
        Type::Object(_) => "object",
        Type::Any | Type::Alternate(_) => "any",
        _ => "integer",
    }
}

/// Returns the JSON kind of a value, with the names of [`expected`].
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Int(_) | Value::Uint(_) => "integer",
        Value::Double(_) => "number",
        Value::String(_) => "string",
        Value::List(_) => "array",
        Value::Object(_) => "object",
    }
}
