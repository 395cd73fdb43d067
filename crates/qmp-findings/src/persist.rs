//! The state of correlators as a text, and back.
//!
//! A structure is an array of its members in the order of its declaration, an enum an array of its variant's name and
//! members; both are declared by [`persist!`] and [`persist_enum!`], which refuse to compile if a member is left out.
//! The names and types of all members make the layout, which is part of the version of a checkpoint: a text of another
//! layout is never read.

use std::hash::{DefaultHasher, Hash, Hasher};

use serde_json::Value;

/// A value that can be written as JSON and read back.
pub(super) trait Persist: Sized {
    /// Appends the layout of the type.
    fn layout(into: &mut String);

    fn save(&self) -> Value;

    /// Reads the result of [`save`](Self::save); `None` for any other value.
    fn load(value: Value) -> Option<Self>;
}

/// A hash that is the same for equal values, in programs of one version.
///
/// The hasher of the standard library may change with its release; the version of a checkpoint contains a hash, and
/// would change too.
pub(super) fn hash(value: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// Appends the layout of a member.
pub(super) fn layout_of<T, M: Persist>(_member: impl Fn(&T) -> &M, into: &mut String) {
    M::layout(into);
}

/// Appends the layout of a member of a variant.
pub(super) fn layout_of_variant<T, M: Persist>(_member: impl Fn(&T) -> Option<&M>, into: &mut String) {
    M::layout(into);
}

/// Implements [`Persist`] for a structure: all members, and after `without` those that start with their default.
macro_rules! persist {
    ($type:ident { $($member:tt),* $(,)? } $(without $($rest:ident),+)?) => {
        impl $crate::persist::Persist for $type {
            fn layout(into: &mut String) {
                into.push_str(concat!(stringify!($type), "{"));
                $(
                    into.push_str(concat!(stringify!($member), ":"));
                    $crate::persist::layout_of(|this: &Self| &this.$member, into);
                )*
                into.push('}');
            }

            fn save(&self) -> serde_json::Value {
                serde_json::Value::Array(vec![
                    $($crate::persist::Persist::save(&self.$member)),*
                ])
            }

            fn load(value: serde_json::Value) -> Option<Self> {
                let serde_json::Value::Array(values) = value else { return None };
                let mut values = values.into_iter();
                let loaded = Self {
                    $($member: $crate::persist::Persist::load(values.next()?)?,)*
                    $($($rest: Default::default(),)+)?
                };
                values.next().is_none().then_some(loaded)
            }
        }
    };
}

/// Implements [`Persist`] for an enum. Members of a tuple are written with their numbers: `Guest { 0: guest }`.
macro_rules! persist_enum {
    ($type:ident { $($variant:ident { $($member:tt: $name:ident),* }),+ $(,)? }) => {
        impl $crate::persist::Persist for $type {
            fn layout(into: &mut String) {
                into.push_str(concat!(stringify!($type), "<"));
                $(
                    into.push_str(concat!(stringify!($variant), "{"));
                    $(
                        $crate::persist::layout_of_variant(
                            |this: &Self| match this {
                                Self::$variant { $member: $name, .. } => Some($name),
                                _ => None,
                            },
                            into,
                        );
                    )*
                    into.push('}');
                )+
                into.push('>');
            }

            fn save(&self) -> serde_json::Value {
                serde_json::Value::Array(match self {
                    $(Self::$variant { $($member: $name),* } => vec![
                        stringify!($variant).into(),
                        $($crate::persist::Persist::save($name)),*
                    ],)+
                })
            }

            fn load(value: serde_json::Value) -> Option<Self> {
                let serde_json::Value::Array(values) = value else { return None };
                let mut values = values.into_iter();
                let variant = values.next()?;
                $(if variant == stringify!($variant) {
                    let loaded = Self::$variant {
                        $($member: $crate::persist::Persist::load(values.next()?)?),*
                    };
                    return values.next().is_none().then_some(loaded);
                })+
                None
            }
        }
    };
}

pub(super) use {persist, persist_enum};
