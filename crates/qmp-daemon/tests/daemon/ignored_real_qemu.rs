//! Requests that the guest of a real QEMU ignores. Skipped without QEMU, unless `CI` is set.
//!
//! The guest is a firmware without a system to boot: it neither answers the power button nor releases a PCI device. The
//! 60 s of the findings are measured by the times of the records, so the test does not wait for them.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::support::client::execute;
use crate::support::{Watcher, config};
use qmp_daemon::Daemon;
use qmp_findings::{COMMAND, Correlators, Finding, GUEST_SIGN_MAX};
use qmp_journal::{Query, Reader};
use qmp_wire::{Body, Offset, UnixMicros};
use serde_json::json;

/// A QEMU that is killed at the end of the test.
struct Qemu(Child);

impl Qemu {
    /// Starts a QEMU that runs its firmware, with its monitor at `vm1.sock` in `home`.
    fn start(home: &Path) -> Self {
        let monitor = format!("unix:{},server=on,wait=off", home.join("vm1.sock").display());
        let mut command = Command::new(crate::support::qemu::PROGRAM);
        command.args(["-nodefaults", "-display", "none", "-accel", "tcg", "-qmp", &monitor]);
        command.args(["-device", "virtio-net-pci,id=net0", "-usb", "-device", "usb-tablet,id=tablet0"]);
        Self(command.stdin(Stdio::null()).spawn().expect("QEMU starts"))
    }
}

impl Drop for Qemu {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn request_without_a_reaction_of_the_guest_is_reported() {
    if crate::support::qemu::is_missing() {
        return;
    }
    let home = tempfile::tempdir().expect("a directory");
    let _qemu = Qemu::start(home.path());
    let hub = Daemon::start(config(home.path(), &["vm1"])).await.expect("starts");
    let mut journal = Watcher::new(&hub);
    journal.until("vm1 1.0 attached").await;
    let commands = [
        json!({"execute": "system_powerdown"}),
        json!({"execute": "device_del", "arguments": {"id": "net0"}}),
        // A device that is removed without the guest.
        json!({"execute": "device_del", "arguments": {"id": "tablet0"}}),
        // A refused command requests nothing of the guest.
        json!({"execute": "device_del", "arguments": {"id": "no-such-device"}}),
    ];
    for command in &commands {
        let (status, answer) = execute(home.path(), "vm1", &command.to_string()).await;
        assert_eq!(status, 200, "{answer}");
    }
    let reader = hub.journal().reader();
    // The device that is removed without the guest is deleted before or after the reply.
    let (mut recorded, mut is_deleted) = (0, false);
    while recorded < commands.len() || !is_deleted {
        match &journal.next().await.body {
            Body::Finding { finding, .. } if finding == COMMAND => recorded += 1,
            Body::Event { name, .. } if name == "DEVICE_DELETED" => is_deleted = true,
            _ => {}
        }
    }
    let found = found_after(&reader, GUEST_SIGN_MAX.as_secs() + 1);
    let kinds: Vec<(&str, &str)> = found
        .iter()
        .map(|finding| {
            (finding.kind, finding.data.get("device").and_then(|device| device.as_str()).unwrap_or("-"))
        })
        .collect();
    let ignored: Vec<_> = kinds.iter().filter(|(kind, _)| kind.ends_with("-ignored")).collect();
    assert_eq!(ignored, [&("powerdown-ignored", "-"), &("unplug-ignored", "net0")], "{found:?}");
    assert_eq!(kinds.iter().filter(|(kind, _)| *kind == "hot-unplug").count(), 1, "{found:?}");
    assert_eq!(
        found_after(&reader, 30).iter().filter(|finding| finding.kind.ends_with("-ignored")).count(),
        0
    );
    hub.stop().await.expect("stops");
}

/// The findings if no further record arrives within `seconds` of the last record.
fn found_after(reader: &Reader, seconds: u64) -> Vec<Finding> {
    let mut cursor = reader.cursor(Query::default(), Offset(0));
    let (mut correlators, mut found, mut last) = (Correlators::new(), Vec::new(), UnixMicros(0));
    loop {
        let records = cursor.next_batch(1_000).expect("the journal is readable");
        if records.is_empty() {
            break;
        }
        for record in &records {
            correlators.record(record, &mut found);
            last = last.max(record.received);
        }
    }
    correlators.time_passed(
        UnixMicros(last.0 + i64::try_from(seconds * 1_000_000).expect("a short span")),
        &mut found,
    );
    found
}
