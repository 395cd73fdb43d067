//! Memory: hotplugged modules with the guest's ACPI reports, and devices that resize memory.

use qmp_events::EventKind;
use qmp_server::{ObjectType, Refusal, Type};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{bus::Device, power::expect_running};
use crate::{
    commands::Entry,
    refusals::{device_not_found, generic},
    vm::Vm,
};

/// Memory back ends, and the current sizes of devices.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    /// Sizes in bytes of `virtio-mem` devices, by path.
    sizes: std::collections::BTreeMap<Box<str>, u64>,
    /// Paths of modules, by slot.
    slots: Vec<Option<Box<str>>>,
}

/// Address at which hotplugged memory begins.
const BASE: u64 = 4 << 30;

#[derive(Deserialize)]
struct Ost {
    device: Option<Box<str>>,
    slot: Option<Box<str>>,
    #[serde(rename = "slot-type")]
    slot_type: Option<Box<str>>,
    source: i64,
    status: i64,
}

#[derive(Deserialize)]
struct Resize {
    id: Box<str>,
    size: u64,
}

#[derive(Deserialize)]
struct HvReport {
    committed: u64,
    available: u64,
}

pub(crate) fn commands() -> Vec<Entry> {
    let ost = |arguments: ObjectType| {
        arguments
            .optional("device", Type::Str)
            .optional("slot", Type::Str)
            .optional("slot-type", Type::one_of("ACPISlotType", ["DIMM", "CPU"]))
            .required("source", Type::Int)
            .required("status", Type::Int)
    };
    let resize = |arguments: ObjectType| arguments.required("id", Type::Str).required("size", Type::Size);
    let report =
        |arguments: ObjectType| arguments.required("committed", Type::Size).required("available", Type::Size);
    vec![
        Entry::plain("query-memory-size-summary", |vm| {
            let plugged: u64 = modules(vm).iter().map(|(_, size)| size).sum();
            Ok(json!({"base-memory": vm.config.memory_bytes, "plugged-memory": plugged}))
        })
        .since(2, 11),
        Entry::plain("query-memory-devices", |vm| Ok(query_modules(vm))).since(2, 1),
        Entry::plain("query-acpi-ospm-status", |vm| Ok(query_slots(vm))).since(2, 1),
        Entry::new("x-guest-acpi-ost", ost, acpi_ost),
        Entry::new("x-guest-resize-memory", resize, |vm, Resize { id, size }| resize_memory(vm, &id, size)),
        Entry::new("x-guest-hv-balloon-report", report, |vm, HvReport { committed, available }| {
            expect_running(vm)?;
            vm.raise(
                EventKind::HvBalloonStatusReport,
                json!({"committed": committed, "available": available}),
            );
            Ok(())
        }),
    ]
}

/// Refuses a module whose memory back end does not exist or is in use.
pub(super) fn check_plug(vm: &Vm, device: &Device) -> Result<(), Refusal> {
    if !is_module(device) {
        return Ok(());
    }
    let Some(memdev) = device.text("memdev") else { return Err(generic("'memdev' property is not set")) };
    let Some(object) = vm.devices.objects.find(memdev) else {
        return Err(generic(format!("Device '{memdev}' not found")));
    };
    if is_mapped(vm, &object.id) {
        return Err(generic(format!("can't use already busy memdev: {}", object.id)));
    }
    Ok(())
}

/// Returns whether a module uses the memory back end.
pub(super) fn is_mapped(vm: &Vm, id: &str) -> bool {
    vm.devices.bus.iter().any(|device| device.text("memdev") == Some(id))
}

fn is_module(device: &Device) -> bool {
    matches!(&*device.driver, "pc-dimm" | "nvdimm")
}

/// Assigns the first free slot to a module that was plugged in.
pub(super) fn at_plug(vm: &mut Vm, device: &Device) {
    let memory = &mut vm.devices.memory;
    if is_module(device) {
        match memory.slots.iter_mut().find(|slot| slot.is_none()) {
            Some(slot) => *slot = Some(device.path.clone()),
            None => memory.slots.push(Some(device.path.clone())),
        }
    }
}

/// Frees the slot of a module that was unplugged.
pub(super) fn at_unplug(vm: &mut Vm, device: &Device) {
    let memory = &mut vm.devices.memory;
    memory.sizes.remove(&device.path);
    for slot in &mut memory.slots {
        if slot.as_ref() == Some(&device.path) {
            *slot = None;
        }
    }
}

/// Raises the older event for a memory module that the guest refuses to release, beside the one for any device.
pub(super) fn raise_refusal(vm: &mut Vm, device: &Device) {
    if is_module(device) {
        let id = device.id.as_deref().unwrap_or_default();
        let msg = format!("acpi: device unplug for not supported device type: {}", device.driver);
        vm.raise(EventKind::MemUnplugError, json!({"device": id, "msg": msg}));
    }
}

fn modules(vm: &Vm) -> Vec<(&Device, u64)> {
    let modules = vm.devices.bus.iter().filter(|device| is_module(device));
    let size = |device: &Device| {
        vm.devices.objects.find(device.text("memdev")?)?.properties.get("size").and_then(Value::as_u64)
    };
    modules.map(|device| (device, size(device).unwrap_or_default())).collect()
}

fn query_modules(vm: &Vm) -> Value {
    let mut address = BASE;
    let entries = modules(vm).into_iter().map(|(device, size)| {
        let data = json!({
            "id": device.id, "addr": address, "size": size, "node": 0, "slot": slot(vm, device),
            "memdev": format!("/objects/{}", device.text("memdev").unwrap_or_default()),
            "hotplugged": device.hotplugged, "hotpluggable": true,
        });
        address += size;
        json!({"type": if &*device.driver == "nvdimm" { "nvdimm" } else { "dimm" }, "data": without_nulls(data)})
    });
    Value::Array(entries.collect())
}

fn query_slots(vm: &Vm) -> Value {
    let slots = vm.devices.memory.slots.iter().enumerate().map(|(number, path)| {
        let id = path.as_ref().and_then(|path| vm.devices.bus.find(path)?.id.clone());
        let entry =
            json!({"device": id, "slot": number.to_string(), "slot-type": "DIMM", "source": 0, "status": 0});
        without_nulls(entry)
    });
    Value::Array(slots.collect())
}

fn without_nulls(mut value: Value) -> Value {
    crate::event::strip_nulls(&mut value);
    value
}

fn slot(vm: &Vm, device: &Device) -> usize {
    let slots = &vm.devices.memory.slots;
    slots.iter().position(|path| path.as_ref() == Some(&device.path)).unwrap_or_default()
}

/// Reports the result of an insertion or ejection on behalf of the guest. A successful ejection removes the device.
fn acpi_ost(
    vm: &mut Vm,
    Ost { device, slot: number, slot_type, source, status }: Ost,
) -> Result<(), Refusal> {
    expect_running(vm)?;
    let found = match &device {
        Some(id) => Some(vm.devices.bus.find(id).ok_or_else(|| device_not_found(id))?.clone()),
        None => None,
    };
    let number = match (&number, &found) {
        (Some(number), _) => number.clone(),
        (None, Some(device)) => slot(vm, device).to_string().into(),
        (None, None) => "0".into(),
    };
    let by_driver = found.as_ref().map(|device| if device.is_processor() { "CPU" } else { "DIMM" });
    let slot_type = slot_type.as_deref().or(by_driver).unwrap_or("DIMM");
    let mut info = Map::new();
    if let Some(device) = found.as_ref().and_then(|device| device.id.as_deref()) {
        info.insert("device".into(), device.into());
    }
    info.insert("slot".into(), (*number).into());
    info.insert("slot-type".into(), slot_type.into());
    info.insert("source".into(), source.into());
    info.insert("status".into(), status.into());
    vm.raise(EventKind::AcpiDeviceOst, json!({"info": info}));
    Ok(())
}

fn resize_memory(vm: &mut Vm, id: &str, size: u64) -> Result<(), Refusal> {
    expect_running(vm)?;
    let device = vm.devices.bus.expect(id)?;
    if !device.is("virtio-mem") && !device.is("hv-balloon") {
        return Err(generic(format!("Device '{id}' does not resize memory")));
    }
    let (path, id) = (device.path.clone(), device.id.clone());
    if vm.devices.memory.sizes.insert(path.clone(), size) != Some(size) {
        vm.raise(EventKind::MemoryDeviceSizeChange, json!({"id": id, "size": size, "qom-path": path}));
    }
    Ok(())
}
