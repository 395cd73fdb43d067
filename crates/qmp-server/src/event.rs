//! Events as an embedder has them: typed, of its own types, or as text.

use qmp_events::{Event, EventKind};
use qmp_wire::dialect::{self, Hidden};
use serde::{Serialize, Serializer};

/// An event that can be emitted.
///
/// Implemented by [`qmp_events::Event`], by [`EventKind`] for events without data, by [`Named`] for data of any type, and by [`RawEvent`] for data as JSON text.
pub trait EmitEvent {
    /// Name on the wire.
    fn name(&self) -> &str;

    /// Which event of the catalogue it is; `None` if it is one of the embedder's own.
    fn kind(&self) -> Option<EventKind> {
        EventKind::from_name(self.name())
    }

    /// Appends `data` as QEMU prints it, without the members that are `hidden` from the claimed release. Appends
    /// nothing and returns `false` if there is no member: an event never has empty data.
    fn write_data(&self, hidden: &[Hidden], out: &mut Vec<u8>) -> bool;
}

impl EmitEvent for Event {
    fn name(&self) -> &str {
        self.name()
    }

    fn kind(&self) -> Option<EventKind> {
        self.kind()
    }

    fn write_data(&self, hidden: &[Hidden], out: &mut Vec<u8>) -> bool {
        write(&Data(self), hidden, out)
    }
}

/// An event without data, such as `EventKind::Stop`.
impl EmitEvent for EventKind {
    fn name(&self) -> &str {
        (*self).name()
    }

    fn kind(&self) -> Option<EventKind> {
        Some(*self)
    }

    fn write_data(&self, _: &[Hidden], _: &mut Vec<u8>) -> bool {
        false
    }
}

/// The data of a typed event.
struct Data<'a>(&'a Event);

impl Serialize for Data<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize_data(serializer)
    }
}

/// An event by its name, with data of any type that serializes as an object; `()` for none.
#[derive(Clone, Copy, Debug)]
pub struct Named<'a, T> {
    /// Name on the wire.
    pub name: &'a str,
    /// Its data.
    pub data: T,
}

impl<T: Serialize> EmitEvent for Named<'_, T> {
    fn name(&self) -> &str {
        self.name
    }

    fn write_data(&self, hidden: &[Hidden], out: &mut Vec<u8>) -> bool {
        write(&self.data, hidden, out)
    }
}

/// An event by its name, with data as JSON text; it is read and printed again, since QEMU prints in an order of its own.
#[derive(Clone, Copy, Debug)]
pub struct RawEvent<'a> {
    /// Name on the wire.
    pub name: &'a str,
    /// The JSON text of its data, an object. What is none counts as no data.
    pub data: Option<&'a str>,
}

impl EmitEvent for RawEvent<'_> {
    fn name(&self) -> &str {
        self.name
    }

    fn write_data(&self, hidden: &[Hidden], out: &mut Vec<u8>) -> bool {
        self.data.is_some_and(|data| write(&dialect::Value::read(data.as_bytes()), hidden, out))
    }
}

fn write(data: &impl Serialize, hidden: &[Hidden], out: &mut Vec<u8>) -> bool {
    dialect::write_object(data, hidden, out).unwrap_or(false)
}
