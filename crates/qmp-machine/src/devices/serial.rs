//! Character devices, and the virtio-serial ports that the guest opens.

use std::collections::BTreeSet;

use qmp_events::EventKind;
use qmp_server::{ObjectType, Refusal, Type};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{bus::Device, power::expect_running};
use crate::{commands::Entry, refusals::generic, vm::Vm};

/// Character devices by name, and the open ports.
#[derive(Debug, Default)]
pub(crate) struct Serial {
    chardevs: Vec<(Box<str>, Box<str>)>,
    open: BTreeSet<Box<str>>,
}

impl Serial {
    /// Returns the number of character devices.
    pub(super) fn len(&self) -> usize {
        self.chardevs.len()
    }
}

#[derive(Deserialize)]
struct Add {
    id: Box<str>,
    backend: Backend,
}

#[derive(Deserialize)]
struct Backend {
    #[serde(rename = "type")]
    kind: Box<str>,
}

#[derive(Deserialize)]
struct Id {
    id: Box<str>,
}

pub(crate) fn commands() -> Vec<Entry> {
    let backend =
        || ObjectType::new("ChardevBackend").required("type", Type::Str).optional("data", Type::Any);
    let id = |arguments: ObjectType| arguments.required("id", Type::Str);
    vec![
        Entry::new(
            "chardev-add",
            |arguments| id(arguments).required("backend", backend()),
            |vm, Add { id, backend }| {
                vm.expect_room()?;
                let chardevs = &mut vm.devices.serial.chardevs;
                if chardevs.iter().any(|(other, _)| *other == id) {
                    return Err(generic(format!("Chardev with id '{id}' already exists")));
                }
                chardevs.push((id, backend.kind));
                Ok(json!({}))
            },
        )
        .since(1, 4),
        Entry::new("chardev-remove", id, |vm, Id { id }| {
            let chardevs = &mut vm.devices.serial.chardevs;
            let Some(index) = chardevs.iter().position(|(other, _)| *other == id) else {
                return Err(generic(format!("Chardev '{id}' not found")));
            };
            chardevs.remove(index);
            Ok(())
        })
        .since(1, 4),
        Entry::plain("query-chardev", |vm| Ok(query(vm))),
        Entry::new("x-guest-open-port", id, |vm, Id { id }| set_open(vm, &id, true)),
        Entry::new("x-guest-close-port", id, |vm, Id { id }| set_open(vm, &id, false)),
    ]
}

fn query(vm: &Vm) -> Value {
    let serial = &vm.devices.serial;
    let ports = || vm.devices.bus.iter().filter(|device| device.is("virtserialport"));
    let chardevs = serial.chardevs.iter().map(|(id, kind)| {
        let port = ports().find(|port| port.text("chardev") == Some(id));
        let open = port.is_some_and(|port| serial.open.contains(&port.path));
        json!({"label": id, "filename": kind, "frontend-open": open})
    });
    let monitor = json!({"label": "compat_monitor0", "filename": "socket", "frontend-open": true});
    Value::Array(chardevs.chain([monitor]).collect())
}

/// Opens or closes a port on behalf of the guest; raises an event each time, unless the port has no identifier.
fn set_open(vm: &mut Vm, id: &str, open: bool) -> Result<(), Refusal> {
    expect_running(vm)?;
    let device = vm.devices.bus.expect(id)?;
    if !matches!(&*device.driver, "virtserialport" | "virtconsole") {
        return Err(generic(format!("Device '{id}' is no serial port")));
    }
    let (path, id) = (device.path.clone(), device.id.clone());
    if open {
        vm.devices.serial.open.insert(path);
    } else {
        vm.devices.serial.open.remove(&path);
    }
    if let Some(id) = id {
        vm.raise(EventKind::VserportChange, json!({"id": id, "open": open}));
    }
    Ok(())
}

/// Closes the port of an unplugged device.
pub(super) fn at_unplug(vm: &mut Vm, device: &Device) {
    vm.devices.serial.open.remove(&device.path);
}
