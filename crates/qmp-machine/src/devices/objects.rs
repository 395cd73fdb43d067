//! Objects that are not devices: memory back ends, managers, servers (`object-add`).

use qmp_events::{EventKind, Release};
use qmp_server::{ObjectType, Refusal, Type};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::{
    commands::{Entry, optional_any},
    devices::memory,
    refusals::generic,
    vm::Vm,
};

/// The objects, in the order in which they were added.
#[derive(Debug, Default)]
pub(crate) struct Objects {
    objects: Vec<Object>,
}

/// An object.
#[derive(Clone, Debug)]
pub(crate) struct Object {
    pub(crate) id: Box<str>,
    pub(crate) kind: Box<str>,
    pub(crate) properties: Map<String, Value>,
}

impl Objects {
    /// Returns the number of objects.
    pub(super) fn len(&self) -> usize {
        self.objects.len()
    }

    /// Returns the object of that identifier.
    pub(crate) fn find(&self, id: &str) -> Option<&Object> {
        self.objects.iter().find(|object| *object.id == *id)
    }
}

#[derive(Deserialize)]
struct Add {
    #[serde(rename = "qom-type")]
    kind: Box<str>,
    id: Box<str>,
    #[serde(flatten)]
    properties: Map<String, Value>,
}

#[derive(Deserialize)]
struct Id {
    id: Box<str>,
}

#[derive(Deserialize)]
struct SetConnected {
    id: Box<str>,
    connected: bool,
}

/// Properties that `object-add` accepts; a QEMU accepts those of the type.
const PROPERTIES: &str = "\
    data device discard-data file fd format host-nodes mem-path merge path policy prealloc reserve share size \
    socket type";

/// Source: since 9.0 memory back ends word the error about memory in use, measured on 7.2 and 11.1.
const NAMES_MAPPED_SINCE: Release = Release::new(9, 0);

pub(crate) fn commands() -> Vec<Entry> {
    let add = |arguments: ObjectType| {
        let arguments = arguments.required("qom-type", Type::Str).required("id", Type::Str);
        optional_any(arguments, PROPERTIES)
    };
    let connected =
        |arguments: ObjectType| arguments.required("id", Type::Str).required("connected", Type::Bool);
    vec![
        Entry::new("object-add", add, object_add).since(2, 0),
        Entry::new(
            "object-del",
            |arguments| arguments.required("id", Type::Str),
            |vm, Id { id }| object_del(vm, &id),
        )
        .since(2, 0),
        Entry::new("x-host-pr-helper", connected, |vm, SetConnected { id, connected }| {
            expect(vm, &id, "pr-manager-helper")?;
            vm.raise(EventKind::PrManagerStatusChanged, json!({"id": id, "connected": connected}));
            Ok(())
        }),
        Entry::new(
            "x-host-vfu-hangup",
            |arguments| arguments.required("id", Type::Str),
            |vm, Id { id }| vfu_hangup(vm, &id),
        ),
    ]
}

fn object_add(vm: &mut Vm, Add { kind, id, properties }: Add) -> Result<(), Refusal> {
    vm.expect_room()?;
    if vm.devices.objects.find(&id).is_some() {
        return Err(generic(format!(
            "attempt to add duplicate property '{id}' to object (type 'container')"
        )));
    }
    vm.devices.objects.objects.push(Object { id, kind, properties });
    Ok(())
}

fn object_del(vm: &mut Vm, id: &str) -> Result<(), Refusal> {
    let Some(index) = vm.devices.objects.objects.iter().position(|object| *object.id == *id) else {
        return Err(generic(format!("object '{id}' not found")));
    };
    if memory::is_mapped(vm, id) {
        return Err(generic(if vm.release >= NAMES_MAPPED_SINCE {
            format!("Cannot delete host memory backend '{id}' which is mapped")
        } else {
            format!("object '{id}' is in use, can not be deleted")
        }));
    }
    vm.devices.objects.objects.remove(index);
    Ok(())
}

fn expect<'a>(vm: &'a Vm, id: &str, kind: &str) -> Result<&'a Object, Refusal> {
    let object = vm.devices.objects.find(id).filter(|object| *object.kind == *kind);
    object.ok_or_else(|| generic(format!("there is no {kind} object '{id}'")))
}

/// Hangs up the client of a device that is served to another process.
fn vfu_hangup(vm: &mut Vm, id: &str) -> Result<(), Refusal> {
    let served = expect(vm, id, "x-vfio-user-server")?.properties.get("device").and_then(Value::as_str);
    let device = vm.devices.bus.expect(served.unwrap_or_default())?;
    let data = json!({
        "vfu-id": id, "vfu-qom-path": format!("/objects/{id}"),
        "dev-id": device.id.as_deref().unwrap_or_default(), "dev-qom-path": device.path,
    });
    vm.raise(EventKind::VfuClientHangup, data);
    Ok(())
}
