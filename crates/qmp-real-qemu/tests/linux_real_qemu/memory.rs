//! Memory that comes and goes.

use qmp_real_qemu::{Scenario, Vm};

use crate::rates::keep_their_distance;

const SIZE: u64 = 128 << 20;

/// Plugs in a module of memory, which the guest takes.
fn plug(vm: &mut Vm) {
    vm.execute(&format!("object-add qom-type=memory-backend-ram id=backend size={SIZE}"));
    vm.send("device_add driver=pc-dimm id=dimm0 memdev=backend");
    vm.in_any_order(&[
        "reply",
        "ACPI_DEVICE_OST info.device=dimm0 info.slot-type=DIMM info.source=1 info.status=0",
    ]);
}

#[test]
fn dimm_unplugged() {
    let scenario = Scenario::new(
        "acpi-device-ost",
        "A module of memory is plugged in and, by `device_del`, unplugged; the guest's kernel answers.",
    )
    .shows(&["ACPI_DEVICE_OST"]);
    let Some((mut vm, mut linux)) = scenario.start_linux(&[]) else { return };
    linux.runs("echo online_movable >/sys/devices/system/memory/auto_online_blocks");
    plug(&mut vm);
    vm.send("device_del id=dimm0");
    vm.in_any_order(&["reply", "ACPI_DEVICE_OST info.device=dimm0 info.source=3 info.status=132"]);
    vm.lines(&[
        "DEVICE_DELETED device=dimm0 path=/machine/peripheral/dimm0",
        "ACPI_DEVICE_OST !info.device info.source=3 info.status=0",
    ]);
    vm.finds("hot-unplug device=dimm0 result=unplugged guest_statuses=[132]");
    vm.end();
}

/// The kernel has put things there that it cannot move.
#[test]
fn dimm_kept() {
    let scenario = Scenario::new(
        "acpi-device-ost-busy",
        "`device_del` asks for a module of memory that the guest's kernel uses for itself: it is kept.",
    )
    .shows(&["ACPI_DEVICE_OST"]);
    let Some((mut vm, mut linux)) = scenario.start_linux(&[]) else { return };
    linux.runs("echo online_kernel >/sys/devices/system/memory/auto_online_blocks");
    plug(&mut vm);
    linux.runs("i=0; while [ $i -lt 3000 ]; do : >/tmp/$i; i=$((i + 1)); done");
    vm.send("device_del id=dimm0");
    vm.in_any_order(&["reply", "ACPI_DEVICE_OST info.device=dimm0 info.source=3 info.status=132"]);
    vm.next("ACPI_DEVICE_OST info.device=dimm0 info.source=3 info.status=130");
    assert_eq!(vm.quiet(), "running");
    vm.finds("hot-unplug device=dimm0 result=refused guest_statuses=[132,130]");
    vm.end();
}

/// The machine has come to forbid it by the time at which the guest obeys.
#[test]
fn dimm_that_the_machine_keeps() {
    let scenario = Scenario::new(
        "mem-unplug-error-linux",
        "The guest obeys `device_del`, but memory hot-plug was switched off in between (`qom-set`).",
    )
    .options("-M q35");
    let Some((mut vm, mut linux)) = scenario.start_linux(&[]) else { return };
    let chip = chip(&mut vm);
    let properties = vm.execute(&format!("qom-list path={chip}")).to_string();
    if !properties.contains("memory-hotplug-support") {
        eprintln!("skipped: this QEMU has no such switch");
        return;
    }
    linux.runs("echo online_movable >/sys/devices/system/memory/auto_online_blocks");
    plug(&mut vm);
    vm.send("stop");
    vm.lines(&["STOP", "reply"]);
    vm.found("why-paused cause=host-stop by=unknown");
    vm.execute("device_del id=dimm0");
    vm.execute(&format!("qom-set path={chip} property=memory-hotplug-support value=false"));
    vm.send("cont");
    vm.next("RESUME");
    vm.in_any_order(&["reply", "ACPI_DEVICE_OST info.device=dimm0 info.source=3 info.status=132"]);
    if vm.release().major < 9 {
        vm.next("MEM_UNPLUG_ERROR device=dimm0");
    }
    vm.next("DEVICE_UNPLUG_GUEST_ERROR device=dimm0 path=/machine/peripheral/dimm0");
    vm.finds("hot-unplug device=dimm0 result=refused guest_statuses=[132]");
    vm.end();
}

/// Where the chip is that has the switch.
fn chip(vm: &mut Vm) -> String {
    let text = vm.human("info qom-tree");
    let line = text.lines().find(|line| line.contains("(ICH9-LPC)")).expect("q35 has one");
    let name = line.trim().split([' ', '/']).find(|word| word.starts_with("device[")).expect("its name");
    format!("/machine/unattached/{name}")
}

#[test]
fn virtio_mem() {
    let scenario = Scenario::new(
        "memory-device-size-change",
        "virtio-mem is asked for 256 MB (`qom-set … requested-size`), and then for nothing again.",
    )
    .shows(&["MEMORY_DEVICE_SIZE_CHANGE"])
    .options(
        "-object memory-backend-ram,id=backend,size=512M,reserve=off \
         -device virtio-mem-pci,memdev=backend,id=vmem0,requested-size=0",
    );
    let Some((mut vm, mut linux)) = scenario.start_linux(&["virtio_pci"]) else { return };
    linux.runs("echo online_movable >/sys/devices/system/memory/auto_online_blocks; load virtio_mem");
    let mut lines = Vec::new();
    for size in [2 * SIZE, 0] {
        vm.execute(&format!("qom-set path=/machine/peripheral/vmem0 property=requested-size value={size}"));
        lines.extend(vm.until(&format!(
            "MEMORY_DEVICE_SIZE_CHANGE id=vmem0 size={size} qom-path=/machine/peripheral/vmem0"
        )));
    }
    assert!(lines.len() > 2, "the guest adds and takes one block after the other: {lines:#?}");
    keep_their_distance(&lines);
    vm.end();
}
