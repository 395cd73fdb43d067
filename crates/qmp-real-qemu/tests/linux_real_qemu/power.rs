//! Power management as an operating system does it.

use qmp_real_qemu::Scenario;

#[test]
fn button_obeyed() {
    let scenario = Scenario::new(
        "powerdown-obeyed",
        "The command `system_powerdown` presses the power button; the guest reads that and powers off.",
    )
    .shows(&["POWERDOWN", "SHUTDOWN"]);
    let Some((mut vm, mut linux)) = scenario.start_linux(&["button", "evdev"]) else { return };
    let button = linux.runs("grep -l 'Power Button' /sys/class/input/event*/device/name");
    let event = button.trim().trim_start_matches("/sys/class/input/").split('/').next().expect("a name");
    // A process of its own, as a daemon would be; the opening of the button is waited for.
    linux.runs(&format!("exec 3</dev/input/{event}; (head -c 24 <&3 >/dev/null; poweroff -f) &"));
    vm.send("system_powerdown");
    vm.lines(&["POWERDOWN", "reply", "SHUTDOWN guest=true reason=guest-shutdown"]);
    assert!(vm.ends().success());
    vm.finds("why-ended cause=guest-shutdown");
    vm.end();
}

#[test]
fn reboot() {
    let scenario =
        Scenario::new("reset-reboot", "The guest reboots (`reboot -f`), and starts again.").shows(&["RESET"]);
    let Some((mut vm, mut linux)) = scenario.start_packed_linux(&[]) else { return };
    linux.begins("reboot -f");
    vm.next("RESET guest=true reason=guest-reset");
    linux.starts_again();
    vm.finds("why-reset cause=guest-reset");
    vm.end();
}

const SLEEP: &str = "-global PIIX4_PM.disable_s3=0 -global PIIX4_PM.disable_s4=0";

/// The guest sleeps, is woken from outside, goes on where it was, and the next time wakes itself.
#[test]
fn suspend() {
    let scenario = Scenario::new(
        "suspend-linux",
        "The guest suspends to memory (`echo mem >/sys/power/state`); `system_wakeup` and then its clock wake it.",
    )
    .shows(&["SUSPEND", "WAKEUP"])
    .options(SLEEP);
    let Some((mut vm, mut linux)) = scenario.start_packed_linux(&[]) else { return };
    let sleep = "echo mem >/sys/power/state";
    linux.begins(sleep);
    vm.next("SUSPEND");
    vm.reaches("suspended");
    vm.send("system_wakeup");
    vm.lines(&["WAKEUP", "reply"]);
    linux.ends(sleep);
    assert_eq!(vm.quiet(), "running");

    let sleep = "echo +3 >/sys/class/rtc/rtc0/wakealarm; echo mem >/sys/power/state";
    linux.begins(sleep);
    vm.lines(&["SUSPEND", "WAKEUP"]);
    linux.ends(sleep);
    assert_eq!(vm.quiet(), "running");
    vm.finds("why-suspended cause=guest-suspend");
    vm.end();
}

#[test]
fn suspend_to_disk() {
    let scenario = Scenario::new(
        "suspend-disk-linux",
        "The guest suspends to its swap disk (`echo disk >/sys/power/state`).",
    )
    .shows(&["SUSPEND_DISK", "SHUTDOWN"])
    .options(&format!(
        "{SLEEP} -blockdev file,node-name=swap,filename=swap.img -device virtio-blk-pci,drive=swap"
    ))
    .image("create -q -f raw swap.img 256M");
    let modules = ["virtio_pci", "virtio_blk"];
    let Some((mut vm, mut linux)) = scenario.start_packed_linux(&modules) else { return };
    linux
        .runs("mkswap /dev/vda >/dev/null; swapon /dev/vda; cat /sys/class/block/vda/dev >/sys/power/resume");
    linux.begins("echo platform >/sys/power/disk; echo disk >/sys/power/state");
    vm.lines(&["SUSPEND_DISK", "SHUTDOWN guest=true reason=guest-shutdown"]);
    assert!(vm.ends().success());
    vm.finds("why-ended cause=guest-hibernate");
    vm.end();
}

const YEAR_SECONDS: i64 = 365 * 86_400;

#[test]
fn clock_set() {
    let scenario =
        Scenario::new("rtc-change-linux", "The guest sets its clock (`hwclock -w`), a year ahead.")
            .shows(&["RTC_CHANGE"])
            .options("-rtc base=2026-01-02T03:04:05");
    let Some((mut vm, mut linux)) = scenario.start_linux(&[]) else { return };
    linux.runs(&format!("date -s @$(($(date +%s) + {YEAR_SECONDS})) >/dev/null; hwclock -u -w"));
    let line = vm.next("RTC_CHANGE");
    let offset = line.message["data"]["offset"].as_i64().expect("seconds");
    // A guest on a busy machine misjudges how fast its processor counts.
    assert!((offset - YEAR_SECONDS).abs() < 3_600, "{offset}");
    vm.end();
}
