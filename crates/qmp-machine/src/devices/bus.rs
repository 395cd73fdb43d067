//! Devices: plugging in, requests to unplug, and the guest's reaction to them.
//!
//! Some devices are removed at once; PCI devices and memory modules wait for the guest, at the latest until a
//! reset.

use qmp_events::EventKind;
use qmp_server::{ObjectType, Refusal, Type};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::{
    commands::{Entry, optional_any},
    devices::{
        memory,
        power::{self, guest},
    },
    guest::UNPLUG_AFTER,
    refusals::{device_not_found, generic},
    vm::Vm,
};

/// The devices of a machine, in the order in which they were added.
#[derive(Debug, Default)]
pub(crate) struct Bus {
    devices: Vec<Device>,
    /// Number of devices without identifier so far.
    anonymous: usize,
}

/// A device.
#[derive(Clone, Debug)]
pub(crate) struct Device {
    pub(crate) id: Option<Box<str>>,
    pub(crate) driver: Box<str>,
    /// Its path in the object tree.
    pub(crate) path: Box<str>,
    /// The properties it was created with.
    pub(crate) properties: Map<String, Value>,
    /// Whether an unplug request waits for the guest.
    pub(crate) leaving: bool,
    /// Whether the device was plugged in while the machine existed.
    pub(crate) hotplugged: bool,
}

/// How a device is unplugged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unplug {
    AtOnce,
    /// When the guest releases it, or at a reset.
    ByGuest,
    /// When the guest releases it; a reset does not remove it.
    ByGuestOnly,
    /// Never: its bus does not support hotplugging.
    Never,
}

impl Device {
    /// Returns the property of that name if it is a string.
    pub(crate) fn text(&self, property: &str) -> Option<&str> {
        self.properties.get(property)?.as_str()
    }

    /// Returns whether the driver belongs to this family: `virtio-mem` includes `virtio-mem-pci`.
    pub(crate) fn is(&self, family: &str) -> bool {
        self.driver.strip_prefix(family).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    }

    fn unplug(&self) -> Unplug {
        match &*self.driver {
            driver if driver.starts_with("usb-") || driver.starts_with("scsi-") => Unplug::AtOnce,
            "virtserialport" | "virtconsole" => Unplug::AtOnce,
            driver if driver.starts_with("ide-") => Unplug::Never,
            "ib700" | "pvpanic" | "isa-serial" => Unplug::Never,
            "pc-dimm" | "nvdimm" => Unplug::ByGuestOnly,
            _ if self.is_processor() => Unplug::ByGuestOnly,
            _ => Unplug::ByGuest,
        }
    }

    /// Returns whether the device is a processor.
    pub(crate) fn is_processor(&self) -> bool {
        self.driver.ends_with("-cpu")
    }

    /// Returns whether the device is a proxy that holds a back-end device, which is removed first.
    fn has_backend(&self) -> bool {
        self.driver.starts_with("virtio-")
    }
}

impl Bus {
    /// Returns the number of devices.
    pub(super) fn len(&self) -> usize {
        self.devices.len()
    }

    /// Returns the device of that identifier or path.
    pub(crate) fn find(&self, id: &str) -> Option<&Device> {
        self.devices.iter().find(|device| device.id.as_deref() == Some(id) || *device.path == *id)
    }

    fn find_mut(&mut self, id: &str) -> Option<&mut Device> {
        self.devices.iter_mut().find(|device| device.id.as_deref() == Some(id) || *device.path == *id)
    }

    /// Returns the device of that identifier.
    ///
    /// # Errors
    ///
    /// `DeviceNotFound`.
    pub(crate) fn expect(&self, id: &str) -> Result<&Device, Refusal> {
        self.find(id).ok_or_else(|| device_not_found(id))
    }

    /// Returns the first device of a family of drivers.
    pub(crate) fn first(&self, family: &str) -> Option<&Device> {
        self.devices.iter().find(|device| device.is(family))
    }

    /// Sets a property of the device with that path, or removes it.
    pub(crate) fn set_property(&mut self, path: &str, name: &str, value: Option<Value>) {
        let Some(device) = self.find_mut(path) else { return };
        match value {
            Some(value) => device.properties.insert(name.into(), value),
            None => device.properties.remove(name),
        };
    }

    /// Iterates over all devices, in the order in which they were added.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Device> {
        self.devices.iter()
    }
}

#[derive(Deserialize)]
struct Add {
    driver: Box<str>,
    id: Option<Box<str>>,
    #[serde(flatten)]
    properties: Map<String, Value>,
}

#[derive(Deserialize)]
struct Id {
    id: Box<str>,
}

/// Properties that `device_add` accepts; a QEMU accepts those of the driver.
const PROPERTIES: &str = "\
    addr apic-id bootindex bus chardev chassis core-id device_id disable-legacy drive failover \
    failover_pair_id fw-version host hotplug iothread lun mac max-size memdev migration-events \
    multifunction name netdev node node-id nr num-queues port q-zone removable requested-size rerror \
    scsi-id serial share-rw slot socket-id sysfsdev thread-id unit werror x-drive-name";

pub(crate) fn commands() -> Vec<Entry> {
    let add = |arguments: ObjectType| {
        let arguments = arguments.required("driver", Type::Str).optional("id", Type::Str);
        optional_any(arguments, PROPERTIES)
    };
    let with_id = |arguments: ObjectType| arguments.required("id", Type::Str);
    vec![
        Entry::new("device_add", add, device_add),
        Entry::new("device_del", with_id, |vm, Id { id }| device_del(vm, &id)),
        Entry::new("x-guest-release-device", with_id, |vm, Id { id }| release(vm, &id)),
        Entry::new("x-guest-refuse-unplug", with_id, |vm, Id { id }| refuse(vm, &id)),
        guest("x-guest-release-all", |vm| release_leaving(vm, |_| true)),
    ]
}

fn device_add(vm: &mut Vm, Add { driver, id, properties }: Add) -> Result<(), Refusal> {
    vm.expect_room()?;
    if let Some(id) = &id
        && vm.devices.bus.devices.iter().any(|device| device.id.as_ref() == Some(id))
    {
        return Err(generic(format!("Duplicate device ID '{id}'")));
    }
    if !is_driver(&driver) {
        return Err(generic(format!("'{driver}' is not a valid device model name")));
    }
    let bus = &mut vm.devices.bus;
    let path: Box<str> = match &id {
        Some(id) => format!("/machine/peripheral/{id}").into(),
        None => {
            bus.anonymous += 1;
            format!("/machine/peripheral-anon/device[{}]", bus.anonymous - 1).into()
        }
    };
    let hotplugged = !vm.runs.is_empty();
    let device = Device { id, driver, path: path.clone(), properties, leaving: false, hotplugged };
    memory::check_plug(vm, &device)?;
    vm.devices.bus.devices.push(device);
    vm.at_plug(&path);
    Ok(())
}

/// Returns whether a name may be a driver's: the families that exist.
fn is_driver(name: &str) -> bool {
    const FAMILIES: &str = "\
    ac97 cxl- e1000 hv- i6300esb ib700 ich9- ide- igb intel- ioh3420 isa- ivshmem megasas nvdimm nvme \
    pc- pci- pcie- piix pvpanic qemu-xhci qxl rtl8139 sclp scsi- usb- vfio- vhost- virtcon virtio- \
    virtserialport x3130-";
    name.ends_with("-cpu") || FAMILIES.split_whitespace().any(|family| name.starts_with(family))
}

fn device_del(vm: &mut Vm, id: &str) -> Result<(), Refusal> {
    let device = vm.devices.bus.find_mut(id).ok_or_else(|| device_not_found(id))?;
    let (path, driver) = (device.path.clone(), device.driver.clone());
    match device.unplug() {
        Unplug::Never => {
            let bus = if driver.starts_with("ide-") { "ide" } else { "main-system-bus" };
            Err(generic(format!("Bus '{bus}' does not support hotplugging")))
        }
        Unplug::AtOnce => {
            // The device is removed from lookups at once; the event follows when its last user releases it.
            let at_once = &*driver == "virtserialport" && vm.release >= qmp_events::Release::new(8, 0);
            if at_once {
                remove(vm, &path);
            } else {
                remove_soon(vm, &path);
            }
            Ok(())
        }
        Unplug::ByGuest | Unplug::ByGuestOnly => {
            device.leaving = true;
            if vm.guest_listens() {
                vm.later(UNPLUG_AFTER, move |vm| {
                    if vm.guest_listens() {
                        release_leaving(vm, |device| device.path == path);
                    }
                });
            }
            Ok(())
        }
    }
}

/// Releases a device on behalf of the guest, requested or not.
fn release(vm: &mut Vm, id: &str) -> Result<(), Refusal> {
    power::expect_running(vm)?;
    let path = vm.devices.bus.expect(id)?.path.clone();
    remove(vm, &path);
    Ok(())
}

/// Refuses the unplug request of a device on behalf of the guest.
fn refuse(vm: &mut Vm, id: &str) -> Result<(), Refusal> {
    power::expect_running(vm)?;
    let device = vm.devices.bus.find_mut(id).ok_or_else(|| device_not_found(id))?;
    device.leaving = false;
    let device = device.clone();
    memory::raise_refusal(vm, &device);
    vm.raise(EventKind::DeviceUnplugGuestError, json!({"device": device.id, "path": device.path}));
    Ok(())
}

/// Removes the devices that wait for the guest, after a reset.
pub(super) fn at_reset(vm: &mut Vm) {
    vm.soon(|vm| release_leaving(vm, |device| device.unplug() == Unplug::ByGuest));
}

fn release_leaving(vm: &mut Vm, which: impl Fn(&Device) -> bool) {
    let leaving = vm.devices.bus.devices.iter().filter(|device| device.leaving && which(device));
    for path in leaving.map(|device| device.path.clone()).collect::<Vec<_>>() {
        remove(vm, &path);
    }
}

fn take(vm: &mut Vm, path: &str) -> Option<Device> {
    let index = vm.devices.bus.devices.iter().position(|device| *device.path == *path)?;
    let device = vm.devices.bus.devices.remove(index);
    vm.at_unplug(&device);
    Some(device)
}

fn remove(vm: &mut Vm, path: &str) {
    if let Some(device) = take(vm, path) {
        raise_deleted(vm, &device);
    }
}

fn remove_soon(vm: &mut Vm, path: &str) {
    if let Some(device) = take(vm, path) {
        vm.soon(move |vm| raise_deleted(vm, &device));
    }
}

fn raise_deleted(vm: &mut Vm, device: &Device) {
    // An emulated processor is never freed: only the removal of its interrupt controller raises an event.
    //
    // Source: measured on 7.2, without KVM.
    if device.is_processor() {
        return vm.raise(EventKind::DeviceDeleted, json!({"path": format!("{}/lapic", device.path)}));
    }
    if device.has_backend() {
        vm.raise(EventKind::DeviceDeleted, json!({"path": format!("{}/virtio-backend", device.path)}));
    }
    vm.raise(EventKind::DeviceDeleted, json!({"device": device.id, "path": device.path}));
}
