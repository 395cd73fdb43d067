//! Objects of the wire: members of the catalogue, and any other members.

/// Defines an object type: members that every release has, those that only the newest releases always have, those
/// that may be absent, and unknown ones.
///
/// The known ones are listed a second time as `printed`, in the order in which a QEMU prints them.
macro_rules! wire_struct {
    (
        $(#[$meta:meta])*
        $name:ident {
            required { $($(#[$required_meta:meta])* $required:ident: $required_ty:ty = $required_wire:literal,)* }
            recent { $($(#[$recent_meta:meta])* $recent:ident: $recent_ty:ty = $recent_wire:literal,)* }
            optional { $($(#[$optional_meta:meta])* $optional:ident: $optional_ty:ty = $optional_wire:literal,)* }
            printed { $($printed:ident = $printed_wire:literal,)* }
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq)]
        #[non_exhaustive]
        pub struct $name {
            $($(#[$required_meta])* pub $required: $required_ty,)*
            $($(#[$recent_meta])* pub $recent: Option<$recent_ty>,)*
            $($(#[$optional_meta])* pub $optional: Option<$optional_ty>,)*
            /// Members that are not in the catalogue, byte for byte.
            pub unknown: $crate::wire::unknown::UnknownMembers,
        }

        impl $name {
            /// Creates the object from the members that the newest release always has; all others are absent.
            ///
            /// A member that an older release does not have is left out when the event is emitted as that release.
            #[allow(clippy::new_without_default, clippy::too_many_arguments)]
            pub fn new($($required: $required_ty,)* $($recent: $recent_ty,)*) -> Self {
                Self {
                    $($required,)*
                    $($recent: Some($recent),)*
                    $($optional: None,)*
                    unknown: $crate::wire::unknown::UnknownMembers::default(),
                }
            }
        }

        impl $crate::wire::object::WireObject for $name {
            fn serialize_members<M: serde::ser::SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
                $(map.serialize_entry($required_wire, &self.$required)?;)*
                $(if let Some(value) = &self.$recent {
                    map.serialize_entry($recent_wire, value)?;
                })*
                $(if let Some(value) = &self.$optional {
                    map.serialize_entry($optional_wire, value)?;
                })*
                self.unknown.serialize_members(map)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let mut map = serializer.serialize_map(None)?;
                $crate::wire::object::WireObject::serialize_members(self, &mut map)?;
                serde::ser::SerializeMap::end(map)
            }
        }

        impl $crate::print::Print for $name {
            /// With unknown members, the printer computes the order.
            fn print<P: $crate::print::Printer>(&self, printer: &mut P) {
                if !self.unknown.is_empty() {
                    return printer.other(self);
                }
                printer.object(|printer| {
                    $($crate::print::Print::print_member(&self.$printed, $printed_wire, printer);)*
                });
            }
        }

        impl $crate::wire::reader::Decode for $name {
            fn decode(reader: &mut $crate::wire::reader::Reader<'_>) -> Result<Self, $crate::wire::reader::DecodeFailure> {
                $(let mut $required: Option<$required_ty> = None;)*
                $(let mut $recent: Option<$recent_ty> = None;)*
                $(let mut $optional: Option<$optional_ty> = None;)*
                let mut unknown = $crate::wire::unknown::UnknownMembers::default();
                let tag = reader.take_tag();
                let mut is_tagged = false;
                let mut is_first = true;
                while let Some(name) = reader.next_name(&mut is_first)? {
                    // A duplicate member does not fit: either value could be meant.
                    let is_repeated = match &*name {
                        $($required_wire => $required.replace($crate::wire::reader::Decode::decode(reader)?).is_some(),)*
                        $($recent_wire => $recent.replace($crate::wire::reader::Decode::decode(reader)?).is_some(),)*
                        $($optional_wire => $optional.replace($crate::wire::reader::Decode::decode(reader)?).is_some(),)*
                        name if tag == Some(name) => {
                            reader.skip()?;
                            std::mem::replace(&mut is_tagged, true)
                        }
                        _ => {
                            unknown.push(name, $crate::wire::reader::Decode::decode(reader)?);
                            false
                        }
                    };
                    if is_repeated {
                        return Err($crate::wire::reader::DecodeFailure);
                    }
                }
                Ok(Self {
                    $($required: $required.ok_or($crate::wire::reader::DecodeFailure)?,)*
                    $($recent,)*
                    $($optional,)*
                    unknown,
                })
            }
        }

        $crate::wire::reader::deserialize_by_text!($name);
    };
}
