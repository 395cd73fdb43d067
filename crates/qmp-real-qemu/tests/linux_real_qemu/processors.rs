//! Processors that come and go.

use qmp_real_qemu::Scenario;

#[test]
fn plugged_and_unplugged() {
    let scenario = Scenario::new(
        "acpi-device-ost-cpu",
        "A processor is plugged in, used, and by `device_del` unplugged; the guest's kernel answers.",
    )
    .shows(&["ACPI_DEVICE_OST"])
    .options("-smp 1,maxcpus=2");
    let Some((mut vm, mut linux)) = scenario.start_linux(&[]) else { return };
    let kind = vm.execute("query-hotpluggable-cpus")[0]["type"].as_str().expect("a type").to_owned();
    vm.send(&format!("device_add driver={kind} id=cpu1 socket-id=0 core-id=1 thread-id=0"));
    let of_it = "info.slot=\"1\" info.slot-type=CPU";
    vm.in_any_order(&[
        "reply",
        &format!("ACPI_DEVICE_OST info.device=cpu1 info.source=1 info.status=0 {of_it}"),
    ]);
    linux.runs("echo 1 >/sys/devices/system/cpu/cpu1/online");
    assert_eq!(linux.runs("grep -c processor /proc/cpuinfo").trim(), "2");
    vm.send("device_del id=cpu1");
    vm.in_any_order(&[
        "reply",
        &format!("ACPI_DEVICE_OST info.device=cpu1 info.source=3 info.status=132 {of_it}"),
    ]);
    // Under emulation QEMU sends the event of the processor's interrupt controller, and never of the processor itself.
    vm.next("DEVICE_DELETED !device path=/machine/peripheral/cpu1/lapic");
    vm.next(&format!("ACPI_DEVICE_OST !info.device info.source=3 info.status=0 {of_it}"));
    assert_eq!(linux.runs("grep -c processor /proc/cpuinfo").trim(), "1");
    vm.finds("hot-unplug device=cpu1 result=unplugged");
    vm.end();
}
