//! Unions of the wire: one member, the tag, determines the other members.
//!
//! The tag may be anywhere in the object: it is searched first, then the branch is read.

/// Defines a union: one variant for each value of the tag in the catalogue, and `Other`.
macro_rules! wire_union {
    (
        $(#[$meta:meta])*
        $name:ident by $tag:literal { $($(#[$branch_meta:meta])* $variant:ident($ty:ty) = $wire:literal,)* }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq)]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$branch_meta])* $variant($ty),)*
            /// A branch that is not in the catalogue.
            Other {
                /// The value of the tag.
                value: Box<str>,
                /// All members but the tag.
                members: $crate::wire::unknown::UnknownMembers,
            },
        }

        impl $name {
            /// Returns the value of the tag on the wire.
            pub fn tag(&self) -> &str {
                match self {
                    $(Self::$variant(_) => $wire,)*
                    Self::Other { value, .. } => value,
                }
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                use $crate::wire::object::WireObject as _;

                let mut map = serializer.serialize_map(None)?;
                serde::ser::SerializeMap::serialize_entry(&mut map, $tag, self.tag())?;
                match self {
                    $(Self::$variant(branch) => branch.serialize_members(&mut map)?,)*
                    Self::Other { members, .. } => members.serialize_members(&mut map)?,
                }
                serde::ser::SerializeMap::end(map)
            }
        }

        // The position of the tag depends on the branch: the printer computes the order.
        impl $crate::print::Print for $name {}

        impl $crate::wire::reader::Decode for $name {
            fn decode(reader: &mut $crate::wire::reader::Reader<'_>) -> Result<Self, $crate::wire::reader::DecodeFailure> {
                let value = reader.tag($tag)?;
                match &*value {
                    $($wire => $crate::wire::reader::Decode::decode(reader).map(Self::$variant),)*
                    _ => {
                        let members = $crate::wire::reader::Decode::decode(reader)?;
                        Ok(Self::Other { value: value.into(), members })
                    }
                }
            }
        }

        $crate::wire::reader::deserialize_by_text!($name);
    };
}
