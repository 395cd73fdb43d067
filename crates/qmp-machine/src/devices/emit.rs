//! Events without a cause, to test clients with events that are not in the catalogue.

use qmp_events::EventKind;
use qmp_server::{ObjectType, Type, check_event_name};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{commands::Entry, event::RaisedEvent, refusals::generic, vm::Vm};

#[derive(Deserialize)]
struct EmitEvent {
    event: Box<str>,
    data: Option<Value>,
}

#[derive(Deserialize)]
struct DropCommand {
    id: Value,
}

pub(crate) fn commands() -> Vec<Entry> {
    let emit = |arguments: ObjectType| arguments.required("event", Type::Str).optional("data", Type::Any);
    let dropped = |arguments: ObjectType| arguments.required("id", Type::Any);
    vec![
        Entry::new("x-emit", emit, |vm: &mut Vm, EmitEvent { event, data }| {
            check_event_name(&event).map_err(generic)?;
            if data.as_ref().is_some_and(|data| !data.is_object()) {
                return Err(generic("the data of an event is an object"));
            }
            vm.raise_as_is(RaisedEvent { name: event, data });
            Ok(())
        }),
        // Releases 2.12 to 3.1 drop a command when a monitor with out-of-band execution is flooded.
        Entry::new("x-host-drop-command", dropped, |vm, DropCommand { id }| {
            vm.raise(EventKind::CommandDropped, json!({"id": id, "reason": "queue-full"}));
            Ok(())
        }),
    ]
}
