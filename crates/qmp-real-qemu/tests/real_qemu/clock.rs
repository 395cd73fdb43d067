//! The guest sets its clock.

use qmp_real_qemu::{Boot, Scenario};

#[test]
fn rtc_change() {
    let guest = Boot::new().cmos(0x09, 0x30);
    let scenario = Scenario::new("rtc-change", "The guest sets the year of its clock.")
        .shows(&["RTC_CHANGE"])
        .options("-rtc base=2026-01-02T03:04:05")
        .boots(guest);
    let Some(mut vm) = scenario.start() else { return };
    vm.cont();
    // Four years with one leap day.
    let line = vm.next("RTC_CHANGE");
    assert!(
        line.message["data"]["qom-path"]
            .as_str()
            .is_some_and(|path| path.starts_with("/machine/unattached/"))
    );
    let offset = line.message["data"]["offset"].as_i64().expect("a number");
    assert!((offset - (4 * 365 + 1) * 86_400).abs() <= 2, "{offset}");
    vm.end();
}

/// QEMU 7.2 keeps the offset in 32 bits.
#[test]
fn rtc_change_by_much() {
    let scenario = Scenario::new("rtc-change-wrapped", "The guest sets the year of its clock far ahead.")
        .options("-rtc base=2020-01-02T03:04:05")
        .boots(Boot::new().cmos(0x09, 0x99));
    let Some(mut vm) = scenario.start() else { return };
    vm.cont();
    let line = vm.next("RTC_CHANGE");
    let seconds: i64 = (79 * 365 + 20) * 86_400;
    let expected = if vm.release().major < 10 { seconds - (1 << 32) } else { seconds };
    let offset = line.message["data"]["offset"].as_i64().expect("a number");
    assert!((offset - expected).abs() <= 2, "{offset} is not {expected}");
    vm.end();
}
