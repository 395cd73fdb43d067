//! Trays of removable media.

use qmp_events::EventKind;
use qmp_server::{ObjectType, Refusal, Type};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    commands::Entry,
    devices::{bus::Device, power::expect_running},
    refusals::{device_not_found, generic},
    vm::Vm,
};

#[derive(Deserialize)]
struct Drive {
    device: Option<Box<str>>,
    id: Option<Box<str>>,
}

#[derive(Deserialize)]
struct Insert {
    id: Box<str>,
    #[serde(rename = "node-name")]
    node_name: Box<str>,
}

#[derive(Deserialize)]
struct Change {
    #[serde(flatten)]
    drive: Drive,
    filename: Box<str>,
}

#[derive(Deserialize)]
struct OlderChange {
    device: Box<str>,
    target: Box<str>,
}

pub(super) fn commands() -> Vec<Entry> {
    trays().into_iter().chain(media()).collect()
}

/// Adds the arguments that name a drive.
fn describe(arguments: ObjectType) -> ObjectType {
    arguments.optional("device", Type::Str).optional("id", Type::Str).optional("force", Type::Bool)
}

fn media() -> Vec<Entry> {
    let change = |arguments: ObjectType| {
        let arguments = describe(arguments).required("filename", Type::Str).optional("format", Type::Str);
        arguments.optional("read-only-mode", Type::Str)
    };
    let older_change = |arguments: ObjectType| {
        arguments.required("device", Type::Str).required("target", Type::Str).optional("arg", Type::Str)
    };
    vec![
        Entry::new("blockdev-change-medium", change, |vm, Change { drive, filename }| {
            change_medium(vm, &drive, &filename)
        })
        .since(2, 5),
        Entry::new("change", older_change, |vm, OlderChange { device, target }| {
            change_medium(vm, &Drive { device: Some(device), id: None }, &target)
        })
        .removed(6, 0),
    ]
}

fn trays() -> Vec<Entry> {
    let insert = |arguments: ObjectType| arguments.required("id", Type::Str).required("node-name", Type::Str);
    let id = |arguments: ObjectType| arguments.required("id", Type::Str);
    vec![
        Entry::new("blockdev-open-tray", describe, |vm, drive| turn(vm, &drive, true)).since(2, 5),
        Entry::new("blockdev-close-tray", describe, |vm, drive| turn(vm, &drive, false)).since(2, 5),
        Entry::new("eject", describe, |vm, drive| {
            turn(vm, &drive, true)?;
            set_medium(vm, &drive, None)
        }),
        Entry::new("blockdev-insert-medium", insert, |vm, Insert { id, node_name }| {
            super::nodes::expect(vm, &node_name)?;
            let drive = Drive { device: None, id: Some(id.clone()) };
            if !vm.devices.block.open_trays.contains(&find(vm, &drive)?.path) {
                return Err(generic(format!("Tray of device '{id}' is not open")));
            }
            set_medium(vm, &drive, Some(&node_name))
        })
        .since(2, 12),
        Entry::new("blockdev-remove-medium", id, |vm, drive: Drive| {
            if !vm.devices.block.open_trays.contains(&find(vm, &drive)?.path) {
                return Err(generic(format!("Tray of device '{}' is not open", name(&drive))));
            }
            set_medium(vm, &drive, None)
        })
        .since(2, 12),
        Entry::new("x-guest-eject", id, |vm, drive| {
            expect_running(vm)?;
            turn(vm, &drive, true)
        }),
        Entry::new("x-guest-close-tray", id, |vm, drive| {
            expect_running(vm)?;
            turn(vm, &drive, false)
        }),
    ]
}

fn name(drive: &Drive) -> &str {
    drive.id.as_deref().or(drive.device.as_deref()).unwrap_or_default()
}

fn find<'a>(vm: &'a Vm, drive: &Drive) -> Result<&'a Device, Refusal> {
    if drive.id.is_none() && drive.device.is_none() {
        return Err(generic("Need exactly one of 'device' and 'id'"));
    }
    let wanted_name = name(drive);
    let by_drive = || {
        vm.devices
            .bus
            .iter()
            .find(|device| [device.text("drive"), device.text("x-drive-name")].contains(&Some(wanted_name)))
    };
    let device =
        vm.devices.bus.find(wanted_name).or_else(by_drive).ok_or_else(|| device_not_found(wanted_name))?;
    let has_tray = device.driver.ends_with("-cd") || &*device.driver == "floppy";
    if has_tray { Ok(device) } else { Err(generic(format!("Device '{wanted_name}' is not removable"))) }
}

/// Opens or closes a tray; raises an event only if the tray moves.
fn turn(vm: &mut Vm, drive: &Drive, open: bool) -> Result<(), Refusal> {
    let device = find(vm, drive)?;
    let (path, id) = (device.path.clone(), device.id.clone());
    let name = device.text("x-drive-name").unwrap_or_default().to_owned();
    let trays = &mut vm.devices.block.open_trays;
    let moved = if open { trays.insert(path.clone()) } else { trays.remove(&path) };
    if moved {
        let id = id.unwrap_or(path);
        vm.raise(EventKind::DeviceTrayMoved, json!({"device": name, "id": id, "tray-open": open}));
    }
    Ok(())
}

fn set_medium(vm: &mut Vm, drive: &Drive, node: Option<&str>) -> Result<(), Refusal> {
    let path = find(vm, drive)?.path.clone();
    vm.devices.bus.set_property(&path, "drive", node.map(Value::from));
    Ok(())
}

/// Opens the tray, inserts another medium and closes the tray.
fn change_medium(vm: &mut Vm, drive: &Drive, filename: &str) -> Result<(), Refusal> {
    turn(vm, drive, true)?;
    let node = vm.devices.block.nodes.contains_key(filename).then_some(filename);
    set_medium(vm, drive, node)?;
    turn(vm, drive, false)
}
