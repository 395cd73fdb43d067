//! Power buttons and `device_del` without any sign of the guest afterwards.

use super::super::testing::{findings, found, story};

/// The findings of these two kinds, in an epoch that begins with a running VM.
fn ignored(text: &str) -> Vec<String> {
    let mut found = found(&format!("0 attached running\n{text}"));
    found.retain(|finding| finding.contains("-ignored"));
    found
}

#[test]
fn powerdown_without_a_sign_of_the_guest_is_reported_after_60_s() {
    let one: &[&str] = &["powerdown-ignored - 1.1"];
    let cases: [(&str, &str, &[&str]); 17] = [
        ("nothing", "1 POWERDOWN\n61.5 passes", one),
        ("not yet", "1 POWERDOWN\n60.9 passes", &[]),
        (
            "shutdown of the guest",
            "1 POWERDOWN\n9 SHUTDOWN {\"guest\": true, \"reason\": \"guest-shutdown\"}\n9.1 STOP\n99 passes",
            &[],
        ),
        ("sleep", "1 POWERDOWN\n2 SUSPEND\n99 passes", &[]),
        ("hibernation", "1 POWERDOWN\n2 SUSPEND_DISK\n99 passes", &[]),
        ("reset", "1 POWERDOWN\n2 RESET {\"guest\": true, \"reason\": \"guest-reset\"}\n99 passes", &[]),
        (
            "the agent leaves",
            "1 POWERDOWN\n2 VSERPORT_CHANGE {\"id\": \"p\", \"open\": false}\n99 passes",
            &[],
        ),
        ("the network goes down", "1 POWERDOWN\n2 NIC_RX_FILTER_CHANGED {\"path\": \"/n\"}\n99 passes", &[]),
        ("too late", "1 POWERDOWN\n62 SUSPEND", one),
        (
            "a sign from before",
            "0.5 RTC_CHANGE {\"offset\": 1}\n1 POWERDOWN\n99 passes",
            &["powerdown-ignored - 1.2"],
        ),
        ("events that the host can cause", "1 POWERDOWN\n2 STOP\n3 RESUME\n99 passes", one),
        (
            "a tray that the host opened",
            "1 POWERDOWN\n2 DEVICE_TRAY_MOVED {\"id\": \"c\", \"tray-open\": true}\n99 passes",
            one,
        ),
        (
            "the watchdog pressed it",
            "1 WATCHDOG {\"action\": \"shutdown\"}\n1 POWERDOWN\n99 passes",
            &["powerdown-ignored - 1.2"],
        ),
        ("pressed twice", "1 POWERDOWN\n50 POWERDOWN\n61.5 passes", &["powerdown-ignored - 1.1,1.2"]),
        (
            "pressed again afterwards",
            "1 POWERDOWN\n70 POWERDOWN\n199 passes",
            &["powerdown-ignored - 1.1", "powerdown-ignored - 1.2"],
        ),
        ("the epoch ends first", "1 POWERDOWN\n5 detached hub stopped\n99 passes", &[]),
        ("QEMU ends first", "1 POWERDOWN\n5 detached\n6 attached running\n99 passes", &[]),
    ];
    for (name, text, expected) in cases {
        assert_eq!(ignored(text), expected, "{name}");
    }
}

const DELETE: &str = "command {\"execute\": \"device_del\", \"arguments\": {\"id\": \"net0\"}, \"client\": \"uid 0\", \"result\": \"done\"}";

#[test]
fn unplug_without_a_sign_of_the_device_is_reported_after_60_s() {
    let one: &[&str] = &["unplug-ignored - 1.1"];
    let with = |what: &str| DELETE.replace("\"result\": \"done\"", what);
    let of =
        |event: &str| format!("{event} {{\"device\": \"net0\", \"path\": \"/machine/peripheral/net0\"}}");
    let ost = "ACPI_DEVICE_OST {\"info\": {\"device\": \"net0\", \"slot\": \"3\", \"slot-type\": \"DIMM\", \"source\": 3, \"status\": 132}}";
    let by_path = DELETE.replace("net0", "/machine/peripheral/net0");
    let cases: [(&str, String, &[&str]); 17] = [
        ("nothing", format!("1 {DELETE}\n61.5 passes"), one),
        ("not yet", format!("1 {DELETE}\n60.9 passes"), &[]),
        ("deleted", format!("1 {DELETE}\n9 {}\n99 passes", of("DEVICE_DELETED")), &[]),
        ("deleted, by path", format!("1 {by_path}\n9 {}\n99 passes", of("DEVICE_DELETED")), &[]),
        ("a part of it deleted", format!("1 {DELETE}\n9 DEVICE_DELETED {{\"path\": \"/machine/peripheral/net0/virtio-backend\"}}\n99 passes"), one),
        ("another deleted", format!("1 {DELETE}\n9 DEVICE_DELETED {{\"device\": \"net1\", \"path\": \"/machine/peripheral/net1\"}}\n99 passes"), one),
        ("refused", format!("1 {DELETE}\n9 {}\n99 passes", of("DEVICE_UNPLUG_GUEST_ERROR")), &[]),
        ("refused, memory", format!("1 {DELETE}\n9 MEM_UNPLUG_ERROR {{\"device\": \"net0\", \"msg\": \"x\"}}\n99 passes"), &[]),
        ("the guest reports progress", format!("1 {DELETE}\n9 {ost}\n99 passes"), &[]),
        ("deleted before the reply", format!("1 {}\n1.01 {DELETE}\n99 passes", of("DEVICE_DELETED")), &[]),
        ("deleted before a slow reply", format!("1 {}\n9 {}\n99 passes", of("DEVICE_DELETED"), with("\"took_ms\": 8000, \"result\": \"done\"")), &[]),
        ("an earlier device of that name", format!("1 {}\n9 {DELETE}\n99 passes", of("DEVICE_DELETED")), &["unplug-ignored - 1.2"]),
        ("refused by QEMU", format!("1 {}\n99 passes", with("\"result\": \"failed\"")), &[]),
        ("no reply", format!("1 {}\n99 passes", with("\"result\": \"unknown\"")), &[]),
        ("asked twice", format!("1 {DELETE}\n30 {DELETE}\n61.5 passes"), one),
        ("another command", "1 command {\"execute\": \"blockdev-del\", \"arguments\": {\"node-name\": \"n\"}, \"result\": \"done\"}\n99 passes".to_owned(), &[]),
        ("the epoch ends first", format!("1 {DELETE}\n5 detached hub stopped\n99 passes"), &[]),
    ];
    for (name, text, expected) in cases {
        assert_eq!(ignored(&text), expected, "{name}");
    }
}

#[test]
fn summaries_of_ignored_requests() {
    let summary = |text: &str| findings(&story(text))[0].summary.clone();
    insta::assert_snapshot!(summary("0 attached running\n1 POWERDOWN\n99 passes"), @"The power button was pressed, and no sign of the guest came within 60 s.");
    insta::assert_snapshot!(summary("0 attached paused\n1 POWERDOWN\n2 POWERDOWN\n99 passes"), @"The power button was pressed 2 times, and no sign of the guest came within 60 s; the VM is paused, and its guest cannot react.");
    insta::assert_snapshot!(summary(&format!("0 attached running\n1 {DELETE}\n99 passes")), @"QEMU accepted the unplug of device net0, which uid 0 asked for, and no event about the device came within 60 s.");
    insta::assert_snapshot!(summary(&format!("0 attached prelaunch\n1 {}\n99 passes", DELETE.replace("\"client\": \"uid 0\", ", ""))), @"QEMU accepted the unplug of device net0, and no event about the device came within 60 s; the VM is paused, and its guest cannot react.");
}
