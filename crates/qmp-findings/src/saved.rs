//! The state of correlators as a text, and back.
//!
//! A structure is an array of its members in the order of its declaration, an enum an array of its variant's name and
//! members; both are declared by [`saved!`] and [`saved_enum!`], which refuse to compile when a member is left out. The
//! names and types of all members make the layout, which is in the version of a checkpoint: a text of another layout is never read.

use std::hash::{DefaultHasher, Hash, Hasher};

use serde_json::Value;

/// Something that can be written as a text and read back.
pub(super) trait Saved: Sized {
    /// Appends what it is made of.
    fn layout(into: &mut String);

    fn save(&self) -> Value;

    /// Reads what [`save`](Self::save) made; `None` for anything else.
    fn load(value: Value) -> Option<Self>;
}

/// The same for the same value, in programs of one version.
///
/// The hasher of the standard library may change with its release: the version has a hash in it, and would be another.
pub(super) fn hash(value: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// Appends the layout of a member.
pub(super) fn layout_of<T, M: Saved>(_member: impl Fn(&T) -> &M, into: &mut String) {
    M::layout(into);
}

/// Appends the layout of a member of a variant.
pub(super) fn layout_of_variant<T, M: Saved>(_member: impl Fn(&T) -> Option<&M>, into: &mut String) {
    M::layout(into);
}

/// Implements [`Saved`] for a structure: all members, and after `without` those that begin anew.
macro_rules! saved {
    ($type:ident { $($member:tt),* $(,)? } $(without $($rest:ident),+)?) => {
        impl $crate::saved::Saved for $type {
            fn layout(into: &mut String) {
                into.push_str(concat!(stringify!($type), "{"));
                $(
                    into.push_str(concat!(stringify!($member), ":"));
                    $crate::saved::layout_of(|this: &Self| &this.$member, into);
                )*
                into.push('}');
            }

            fn save(&self) -> serde_json::Value {
                serde_json::Value::Array(vec![
                    $($crate::saved::Saved::save(&self.$member)),*
                ])
            }

            fn load(value: serde_json::Value) -> Option<Self> {
                let serde_json::Value::Array(values) = value else { return None };
                let mut values = values.into_iter();
                let loaded = Self {
                    $($member: $crate::saved::Saved::load(values.next()?)?,)*
                    $($($rest: Default::default(),)+)?
                };
                values.next().is_none().then_some(loaded)
            }
        }
    };
}

/// Implements [`Saved`] for an enum. Members of a tuple are written with their numbers: `Guest { 0: guest }`.
macro_rules! saved_enum {
    ($type:ident { $($variant:ident { $($member:tt: $name:ident),* }),+ $(,)? }) => {
        impl $crate::saved::Saved for $type {
            fn layout(into: &mut String) {
                into.push_str(concat!(stringify!($type), "<"));
                $(
                    into.push_str(concat!(stringify!($variant), "{"));
                    $(
                        $crate::saved::layout_of_variant(
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
                        $($crate::saved::Saved::save($name)),*
                    ],)+
                })
            }

            fn load(value: serde_json::Value) -> Option<Self> {
                let serde_json::Value::Array(values) = value else { return None };
                let mut values = values.into_iter();
                let variant = values.next()?;
                $(if variant == stringify!($variant) {
                    let loaded = Self::$variant {
                        $($member: $crate::saved::Saved::load(values.next()?)?),*
                    };
                    return values.next().is_none().then_some(loaded);
                })+
                None
            }
        }
    };
}

pub(super) use {saved, saved_enum};
