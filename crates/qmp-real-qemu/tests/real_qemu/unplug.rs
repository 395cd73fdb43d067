//! Devices that go, or that do not.

use qmp_events::Release;
use qmp_real_qemu::{Scenario, Vm};

#[test]
fn usb_device() {
    let scenario = Scenario::new("unplug-usb", "The command `device_del` of a USB device.")
        .shows(&["DEVICE_DELETED"])
        .options("-usb -device usb-tablet,id=tablet0");
    let Some(mut vm) = scenario.start() else { return };
    vm.send("device_del id=tablet0");
    vm.in_any_order(&["reply", "DEVICE_DELETED device=tablet0 path=/machine/peripheral/tablet0"]);
    vm.finds("hot-unplug device=tablet0 result=unplugged");
    vm.end();
}

/// A PCI device waits for the guest, or for a reset.
#[test]
fn virtio_device_of_a_guest_that_does_not_answer() {
    let scenario = Scenario::new(
        "unplug-virtio",
        "The command `device_del` of a virtio device; the guest does not answer, and is reset.",
    )
    .options("-device virtio-net-pci,id=nic0");
    let Some(mut vm) = scenario.start() else { return };
    vm.execute("device_del id=nic0");
    assert_eq!(vm.quiet(), "prelaunch");
    vm.send("system_reset");
    vm.in_any_order(&[
        "RESET",
        "reply",
        "DEVICE_DELETED !device path=/machine/peripheral/nic0/virtio-backend",
        "DEVICE_DELETED device=nic0 path=/machine/peripheral/nic0",
    ]);
    vm.finds("hot-unplug device=nic0 result=unplugged");
    vm.end();
}

/// A memory module in a machine with the ports of ACPI memory hot-plug at 0xa00.
const MEMORY: &str = "-machine q35 -m 64M,slots=2,maxmem=256M -object memory-backend-ram,id=memory0,size=32M -device pc-dimm,id=dimm0,memdev=memory0";

/// Ejects slot 0 by the port that a guest's ACPI code uses.
fn eject(vm: &mut Vm) {
    assert_eq!(vm.human("o /b 0xa14 8"), "");
}

#[test]
fn memory_module() {
    let scenario =
        Scenario::new("unplug-memory", "The eject bit of the memory module's slot is set.").options(MEMORY);
    let Some(mut vm) = scenario.start() else { return };
    eject(&mut vm);
    vm.next("DEVICE_DELETED device=dimm0 path=/machine/peripheral/dimm0");
    vm.finds("hot-unplug device=dimm0 result=unplugged");
    vm.end();
}

/// A genuine error, with a contrived cause: hot-plug of memory is turned off under the guest.
#[test]
fn memory_module_that_cannot_go() {
    let scenario = Scenario::new(
        "unplug-memory-error",
        "Memory hot-plug is turned off by `qom-set`, then the eject bit of the memory module's slot is set.",
    )
    .shows(&["MEM_UNPLUG_ERROR", "DEVICE_UNPLUG_GUEST_ERROR"])
    .options(MEMORY);
    let Some(mut vm) = scenario.start() else { return };
    if vm.release() >= Release::new(9, 1) {
        eprintln!("skipped: {} has no such property", vm.release());
        return;
    }
    let devices = vm.execute("qom-list path=/machine/unattached");
    let chip_set = devices.as_array().expect("a list").iter().find(|at| at["type"] == "child<ICH9-LPC>");
    let chip_set = chip_set.expect("it is there")["name"].as_str().expect("a name").to_owned();
    vm.execute(&format!(
        "qom-set path=/machine/unattached/{chip_set} property=memory-hotplug-support value=false"
    ));
    eject(&mut vm);
    vm.next("MEM_UNPLUG_ERROR device=dimm0");
    vm.next("DEVICE_UNPLUG_GUEST_ERROR device=dimm0 path=/machine/peripheral/dimm0");
    vm.finds("hot-unplug device=dimm0 result=refused");
    vm.end();
}
