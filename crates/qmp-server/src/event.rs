//! Events of an embedder: of the catalogue, of the embedder's types, or as text.

use qmp_events::{DatalessEvent, Event, EventKind, Print, Printer};
use qmp_wire::dialect::{self, Hidden};
use serde::Serialize;

/// An event that can be emitted.
///
/// An event that has data cannot be emitted by its kind alone:
///
/// ```compile_fail
/// # let monitor = qmp_server::Monitor::builder(9, 2, 0).build().unwrap();
/// monitor.emitter().emit(&qmp_events::EventKind::Shutdown);
/// ```
///
/// Implemented by [`qmp_events::Event`], by [`DatalessEvent`] for events without data, by [`NamedEvent`] for data
/// of any type, and by [`TextEvent`] for data as JSON text.
pub trait EmitEvent {
    /// Returns the name on the wire.
    fn name(&self) -> &str;

    /// Returns the kind in the catalogue; `None` for an event of the embedder.
    fn kind(&self) -> Option<EventKind> {
        EventKind::from_name(self.name())
    }

    /// Appends `data` as QEMU prints it, without the members that are [`Hidden`] from the claimed release. Appends
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
        let start = out.len();
        self.print_data(&mut DialectPrinter { hidden, out });
        // Data of an undecodable event may have any form.
        let has_members = out[start..].starts_with(b"{\"");
        if !has_members {
            out.truncate(start);
        }
        has_members
    }
}

impl EmitEvent for DatalessEvent {
    fn name(&self) -> &str {
        EventKind::from(*self).name()
    }

    fn kind(&self) -> Option<EventKind> {
        Some((*self).into())
    }

    fn write_data(&self, _: &[Hidden], _: &mut Vec<u8>) -> bool {
        false
    }
}

/// An event by its name, with data of any type that serializes as an object; `()` for none.
#[derive(Clone, Copy, Debug)]
pub struct NamedEvent<'a, T> {
    /// Name on the wire.
    pub name: &'a str,
    /// Its data.
    pub data: T,
}

impl<T: Serialize> EmitEvent for NamedEvent<'_, T> {
    fn name(&self) -> &str {
        self.name
    }

    fn write_data(&self, hidden: &[Hidden], out: &mut Vec<u8>) -> bool {
        write(&self.data, hidden, out)
    }
}

/// An event by its name, with data as JSON text; the text is parsed and printed again, since QEMU prints in its own
/// order.
#[derive(Clone, Copy, Debug)]
pub struct TextEvent<'a> {
    /// Name on the wire.
    pub name: &'a str,
    /// The JSON text of its data, an object. Any other text counts as no data.
    pub data: Option<&'a str>,
}

impl EmitEvent for TextEvent<'_> {
    fn name(&self) -> &str {
        self.name
    }

    fn write_data(&self, hidden: &[Hidden], out: &mut Vec<u8>) -> bool {
        self.data.is_some_and(|data| write(&dialect::Value::read(data.as_bytes()), hidden, out))
    }
}

/// Prints the types of the catalogue.
struct DialectPrinter<'a> {
    hidden: &'a [Hidden],
    out: &'a mut Vec<u8>,
}

impl Printer for DialectPrinter<'_> {
    #[inline]
    fn object(&mut self, members: impl FnOnce(&mut Self)) {
        const SEPARATOR: &[u8] = b", ";
        self.out.push(b'{');
        members(self);
        // Each member is followed by a separator.
        if self.out.ends_with(SEPARATOR) {
            self.out.truncate(self.out.len() - SEPARATOR.len());
        }
        self.out.push(b'}');
    }

    #[inline]
    fn member(&mut self, name: &'static str, value: &impl Print) {
        let hidden = self.hidden.iter().find(|hidden| *hidden.name == *name);
        let within = hidden.map_or(&[][..], |hidden| &hidden.within);
        if hidden.is_some() && within.is_empty() {
            return;
        }
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\": ");
        value.print(&mut DialectPrinter { hidden: within, out: self.out });
        self.out.extend_from_slice(b", ");
    }

    fn other(&mut self, value: &impl Serialize) {
        if dialect::write(value, self.hidden, self.out).is_err() {
            // No type of the catalogue fails to serialize; a value is required here in any case.
            self.out.extend_from_slice(b"null");
        }
    }
}

fn write(data: &impl Serialize, hidden: &[Hidden], out: &mut Vec<u8>) -> bool {
    dialect::write_object(data, hidden, out).unwrap_or(false)
}
