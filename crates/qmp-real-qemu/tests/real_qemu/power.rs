//! Power management: the power button, ACPI's sleep states, and waking up.

use qmp_real_qemu::{Boot, Scenario};

const POWER_OFF: Boot = Boot::new().sleep(0);
const SUSPEND: Boot = Boot::new().sleep(1);
const HIBERNATE: Boot = Boot::new().sleep(2);

/// The alarm of the clock at every second, allowed to wake the machine (`PM1_EN`, bit 10), then S3.
const SUSPEND_WITH_ALARM: Boot =
    Boot::new().cmos(1, 0xc0).cmos(3, 0xc0).cmos(5, 0xc0).cmos(0x0b, 0x22).out_word(0x602, 0x0400).sleep(1);

#[test]
fn powerdown_that_nobody_obeys() {
    let scenario = Scenario::new("powerdown", "The command `system_powerdown`; the guest does not obey.")
        .shows(&["POWERDOWN"]);
    let Some(mut vm) = scenario.start() else { return };
    vm.send("system_powerdown");
    vm.lines(&["POWERDOWN", "reply"]);
    assert_eq!(vm.quiet(), "prelaunch");
    vm.cont();
    vm.send("system_powerdown");
    vm.lines(&["POWERDOWN", "reply"]);
    assert_eq!(vm.quiet(), "running");
    vm.stands("running", "resume");
    vm.finds("why-ended cause=host-qmp-quit");
    vm.end();
}

#[test]
fn guest_shuts_down() {
    let scenario = Scenario::new("shutdown-guest", "The guest switches itself off (ACPI S5).")
        .shows(&["SHUTDOWN"])
        .boots(POWER_OFF);
    let Some(mut vm) = scenario.start() else { return };
    vm.cont();
    vm.next("SHUTDOWN guest=true reason=guest-shutdown");
    assert!(vm.ends().success());
    vm.finds("why-ended cause=guest-shutdown by=guest");
    vm.end();
}

#[test]
fn guest_shuts_down_and_qemu_stays() {
    let scenario = Scenario::new(
        "shutdown-no-shutdown",
        "The guest switches itself off, QEMU stays; it can go on after `system_reset`.",
    )
    .options("-no-shutdown")
    .boots(POWER_OFF);
    let Some(mut vm) = scenario.start() else { return };
    vm.cont();
    vm.lines(&["SHUTDOWN guest=true reason=guest-shutdown", "STOP"]);
    vm.finds("why-paused cause=guest-shutdown");
    assert_eq!(vm.quiet(), "shutdown");
    let error = vm.refused("cont");
    assert_eq!(error["desc"], "Resetting the Virtual Machine is required");
    vm.send("system_reset");
    vm.lines(&["RESET guest=false reason=host-qmp-system-reset", "reply"]);
    assert_eq!(vm.quiet(), "prelaunch");
    vm.cont();
    // The firmware may reset the machine once more.
    vm.until("SHUTDOWN guest=true reason=guest-shutdown");
    vm.next("STOP");
    vm.send("quit");
    vm.lines(&["SHUTDOWN guest=false reason=host-qmp-quit", "reply"]);
    vm.finds("why-reset cause=guest-shutdown ended_by=host-qmp-system-reset run_state_before=shutdown");
    vm.finds("why-ended cause=guest-shutdown by=guest ended_by=host-qmp-quit run_state_before=shutdown");
    vm.end();
}

#[test]
fn guest_hibernates() {
    let scenario = Scenario::new("suspend-disk", "The guest hibernates (ACPI S4).")
        .shows(&["SUSPEND_DISK"])
        .options("-global PIIX4_PM.disable_s4=0")
        .boots(HIBERNATE);
    let Some(mut vm) = scenario.start() else { return };
    vm.cont();
    vm.lines(&["SUSPEND_DISK", "SHUTDOWN guest=true reason=guest-shutdown"]);
    assert!(vm.ends().success());
    vm.finds("why-ended cause=guest-hibernate");
    vm.end();
}

#[test]
fn guest_hibernates_and_qemu_stays() {
    let scenario =
        Scenario::new("suspend-disk-no-shutdown", "The guest hibernates (ACPI S4), and QEMU stays, stopped.")
            .options("-no-shutdown -global PIIX4_PM.disable_s4=0")
            .boots(HIBERNATE);
    let Some(mut vm) = scenario.start() else { return };
    vm.cont();
    vm.lines(&["SUSPEND_DISK", "SHUTDOWN guest=true reason=guest-shutdown", "STOP"]);
    assert_eq!(vm.quiet(), "shutdown");
    vm.finds("why-paused cause=guest-hibernate");
    vm.end();
}

#[test]
fn guest_is_woken_from_outside() {
    let scenario = Scenario::new(
        "suspend",
        "The guest goes to sleep with its memory powered (ACPI S3); the command `system_wakeup` wakes it.",
    )
    .shows(&["SUSPEND", "WAKEUP"])
    .options("-global PIIX4_PM.disable_s3=0")
    .boots(SUSPEND);
    let Some(mut vm) = scenario.start() else { return };
    vm.cont();
    vm.next("SUSPEND");
    assert_eq!(vm.quiet(), "suspended");
    vm.send("system_wakeup");
    vm.lines(&["WAKEUP", "reply"]);
    assert_eq!(vm.quiet(), "running");
    vm.stands("running", "wakeup");
    vm.finds("why-suspended cause=guest-suspend");
    let error = vm.refused("system_wakeup");
    assert_eq!(error["desc"], "Unable to wake up: guest is not in suspended state");
    vm.end();
}

#[test]
fn guest_is_woken_by_its_clock() {
    let scenario = Scenario::new(
        "wakeup-alarm",
        "The guest sets the alarm of its clock and goes to sleep (ACPI S3); the alarm wakes it.",
    )
    .options("-global PIIX4_PM.disable_s3=0")
    .boots(SUSPEND_WITH_ALARM);
    let Some(mut vm) = scenario.start() else { return };
    vm.cont();
    vm.lines(&["SUSPEND", "WAKEUP"]);
    vm.finds("why-suspended cause=guest-suspend");
    vm.end();
}
