//! Power management by the guest: ACPI's sleep states, and waking up.

use qmp_real_qemu::{Boot, Scenario};

#[test]
fn suspend_and_wakeup() {
    let scenario = Scenario::new(
        "suspend",
        "The guest goes to sleep with its memory powered (ACPI S3); the command `system_wakeup` wakes it.",
    )
    .shows(&["SUSPEND", "WAKEUP"])
    .options("-global PIIX4_PM.disable_s3=0")
    .boots(Boot::new().sleep(1));
    let Some(mut vm) = scenario.start() else { return };
    vm.cont();
    vm.next("SUSPEND");
    assert_eq!(vm.quiet(), "suspended");
    vm.send("system_wakeup");
    vm.lines(&["WAKEUP", "reply"]);
    assert_eq!(vm.quiet(), "running");
    vm.finds("why-suspended cause=guest-suspend");
    vm.end();
}
