//! Events between the machine and its monitor.

use qmp_events::EventKind;
use qmp_server::EmitEvent;
use qmp_wire::dialect::{self, Hidden, write_object};
use serde_json::Value;

/// An event that the machine raised.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RaisedEvent {
    pub(crate) name: Box<str>,
    pub(crate) data: Option<Value>,
}

impl RaisedEvent {
    /// Creates an event of the catalogue. Members that are `null` are left out: no event has a null value.
    pub(crate) fn new(kind: EventKind, mut data: Value) -> Self {
        strip_nulls(&mut data);
        Self { name: kind.name().into(), data: data.is_object().then_some(data) }
    }
}

impl EmitEvent for RaisedEvent {
    fn name(&self) -> &str {
        &self.name
    }

    fn write_data(&self, hidden: &[Hidden], out: &mut Vec<u8>) -> bool {
        let data = self.data.as_ref().map(printable);
        data.is_some_and(|data| write_object(&data, hidden, out).unwrap_or(false))
    }
}

/// Converts a value as QEMU holds it, where `null` differs from an object without members.
pub(crate) fn printable(value: &Value) -> dialect::Value {
    dialect::Value::read(value.to_string().as_bytes())
}

/// Removes the members that are `null`, at any depth.
pub(crate) fn strip_nulls(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|_, value| !value.is_null());
            members.values_mut().for_each(strip_nulls);
        }
        Value::Array(elements) => elements.iter_mut().for_each(strip_nulls),
        _ => {}
    }
}
