//! Typed events: decoding from a name and raw data, and encoding.
//!
//! The enum [`Event`](crate::Event) and its table of variants are generated; this module implements their
//! functions.

use serde::Serialize;

use crate::event_kind::EventKind;
use crate::wire::{Decode, RawJson, decode};

/// Errors of decoding an event.
///
/// Only invalid JSON is an error; see [`Event::decode`](crate::Event::decode).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The text of `data` is not one JSON value.
    #[error("data is not JSON: {0}")]
    NotJson(#[source] serde_json::Error),
}

/// Keeps `data` byte for byte.
pub(crate) fn keep(data: Option<&str>) -> Result<Option<RawJson>, DecodeError> {
    data.map(RawJson::new).transpose().map_err(DecodeError::NotJson)
}

/// Decodes `data` as a `T`; `None` if it does not fit. Absent data and `null` count as an object without members.
pub(crate) fn read<T: Decode>(data: Option<&str>) -> Option<T> {
    let data = data.filter(|data| data.trim_ascii() != "null").unwrap_or("{}");
    decode(data).ok()
}

/// Encodes `data`; `None` if there is no member, as QEMU never sends an empty object.
pub(crate) fn write(data: &impl Serialize) -> Option<String> {
    // Writing into memory cannot fail, and all keys are strings.
    serde_json::to_string(data).ok().filter(|data| data != "{}")
}

/// Defines [`Event`](crate::Event) with its variants.
macro_rules! wire_events {
    ($($(#[$meta:meta])* $variant:ident($ty:ty),)*) => {
        /// An event with its data.
        ///
        /// Events without data hold the unknown members that a later QEMU may have added to them.
        #[derive(Clone, Debug, PartialEq)]
        #[non_exhaustive]
        pub enum Event {
            $($(#[$meta])* $variant($ty),)*
            /// An event of the catalogue whose data does not fit it: a mandatory member is missing, a member has
            /// another type or occurs twice.
            Undecodable {
                /// The event.
                kind: EventKind,
                /// Its data, byte for byte; `None` if it has none.
                data: Option<$crate::wire::RawJson>,
            },
            /// An event that is not in the catalogue.
            Unknown {
                /// Its name.
                name: Box<str>,
                /// Its data, byte for byte; `None` if it has none.
                data: Option<$crate::wire::RawJson>,
            },
        }

        impl Event {
            /// Decodes a typed event from a name and the JSON text of its `data`.
            ///
            /// Unknown parts are kept: an event becomes [`Event::Unknown`], an enum value `Other`, a member one of
            /// `unknown`. Data that does not fit its event becomes [`Event::Undecodable`]. Absent data, `null` and
            /// `{}` are equal for an event whose members may all be absent.
            ///
            /// # Errors
            ///
            /// [`DecodeError::NotJson`](crate::DecodeError::NotJson) if `data` is not one JSON value.
            pub fn decode(name: &str, data: Option<&str>) -> Result<Self, $crate::event::DecodeError> {
                let Some(kind) = EventKind::from_name(name) else {
                    return Ok(Self::Unknown { name: name.into(), data: $crate::event::keep(data)? });
                };
                match kind {
                    $(EventKind::$variant => {
                        if let Some(data) = $crate::event::read(data) {
                            return Ok(Self::$variant(data));
                        }
                    })*
                }
                Ok(Self::Undecodable { kind, data: $crate::event::keep(data)? })
            }

            /// Returns the name on the wire.
            pub fn name(&self) -> &str {
                match self {
                    Self::Unknown { name, .. } => name,
                    $(Self::$variant(_) => EventKind::$variant.name(),)*
                    Self::Undecodable { kind, .. } => kind.name(),
                }
            }

            /// Returns the kind; `None` if the event is not in the catalogue.
            pub fn kind(&self) -> Option<EventKind> {
                match self {
                    $(Self::$variant(_) => Some(EventKind::$variant),)*
                    Self::Undecodable { kind, .. } => Some(*kind),
                    Self::Unknown { .. } => None,
                }
            }

            /// Prints `data` as a QEMU does; an event without data prints an object without members, or `null`.
            pub fn print_data<P: $crate::print::Printer>(&self, printer: &mut P) {
                match self {
                    $(Self::$variant(data) => $crate::print::Print::print(data, printer),)*
                    Self::Undecodable { data, .. } | Self::Unknown { data, .. } => printer.other(data),
                }
            }

            /// Returns the JSON text of `data`; `None` if the event has none.
            ///
            /// Known members come first, in the order of the schema; the text contains all of the decoded data.
            pub fn encode_data(&self) -> Option<String> {
                match self {
                    $(Self::$variant(data) => $crate::event::write(data),)*
                    Self::Undecodable { data, .. } | Self::Unknown { data, .. } => {
                        data.as_ref().map(|data| data.get().to_owned())
                    }
                }
            }
        }
    };
}
pub(crate) use wire_events;

/// Defines [`DatalessEvent`](crate::DatalessEvent) with its variants.
macro_rules! dataless_events {
    ($($(#[$meta:meta])* $variant:ident,)*) => {
        /// An event that has no data in any release.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum DatalessEvent {
            $($(#[$meta])* $variant,)*
        }

        impl From<DatalessEvent> for EventKind {
            fn from(event: DatalessEvent) -> Self {
                match event {
                    $(DatalessEvent::$variant => Self::$variant,)*
                }
            }
        }

        impl From<DatalessEvent> for Event {
            fn from(event: DatalessEvent) -> Self {
                match event {
                    $(DatalessEvent::$variant => Self::$variant($crate::wire::UnknownMembers::default()),)*
                }
            }
        }

        impl TryFrom<EventKind> for DatalessEvent {
            type Error = $crate::event::HasData;

            fn try_from(kind: EventKind) -> Result<Self, $crate::event::HasData> {
                match kind {
                    $(EventKind::$variant => Ok(Self::$variant),)*
                    _ => Err($crate::event::HasData { kind }),
                }
            }
        }
    };
}
pub(crate) use dataless_events;

/// The error of converting the kind of an event with data to a [`DatalessEvent`](crate::DatalessEvent).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} has data")]
#[non_exhaustive]
pub struct HasData {
    /// The event.
    pub kind: EventKind,
}
