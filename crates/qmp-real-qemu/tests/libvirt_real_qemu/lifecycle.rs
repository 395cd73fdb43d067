//! Starts and ends of a domain, as the items of a follower.

use qmp_testing::{DomainXml, Libvirt};
use rustix::process::{Signal, kill_process};

use crate::follower::Follower;

/// The reset of a machine by its firmware, which does not always happen before the test goes on.
const FIRMWARE: &str = r#"RESET {"guest":true,"reason":"guest-reset"}"#;

/// What the host does to a domain, and the item that ends it.
type Step = (&'static [&'static str], &'static str);

/// The items of these steps.
fn items(steps: &[Step]) -> Option<Vec<String>> {
    let libvirt = Libvirt::start(&DomainXml::default())?;
    let mut follower = Follower::connect(&libvirt);
    follower.until("listed");
    let mut items = Vec::new();
    for (command, last) in steps {
        match command {
            ["kill"] => kill_process(libvirt.qemu(), Signal::KILL).expect("permitted"),
            command => drop(libvirt.virsh(command)),
        }
        if !last.is_empty() {
            items.extend(follower.until(last));
        }
    }
    items.retain(|item| item != FIRMWARE && !item.starts_with("NIC_RX") && !item.starts_with("RTC_CHANGE"));
    follower.close();
    assert_eq!(libvirt.virsh(&["dominfo", "vm1"]).matches("tainted").count(), 0);
    let log = std::fs::read_to_string(libvirt.path("libvirtd.log")).expect("reads");
    assert!(!log.contains("End of file"), "{log}");
    Some(items)
}

#[test]
fn start_and_destroy_give_one_epoch() {
    let Some(items) = items(&[
        (&["start", "vm1"], "attached vm1 booted: running booted"),
        (&["suspend", "vm1"], "STOP"),
        (&["resume", "vm1"], "RESUME"),
        (&["destroy", "vm1"], "detached destroyed"),
        (&["undefine", "vm1"], "gone"),
        (&["define", "HOME/vm1.xml"], ""),
    ]) else {
        return;
    };
    let shutdown = r#"SHUTDOWN {"guest":false,"reason":"host-signal"}"#;
    let expected = [
        "running vm1",
        "attached vm1 booted: running booted",
        "RESUME",
        "STOP",
        "RESUME",
        shutdown,
        "detached destroyed",
        "gone",
    ];
    assert_eq!(items, expected);
}

#[test]
fn paused_start_is_killed_and_fails() {
    let Some(items) = items(&[
        (&["start", "vm1", "--paused"], "attached vm1 booted: paused user"),
        (&["kill"], "detached failed"),
    ]) else {
        return;
    };
    assert_eq!(items, ["running vm1", "attached vm1 booted: paused user", "detached failed"]);
}

#[test]
fn saved_domain_is_restored_as_another_run() {
    let Some(items) = items(&[
        (&["start", "vm1"], "attached vm1 booted: running booted"),
        (&["save", "vm1", "HOME/saved"], "detached saved"),
        (&["restore", "HOME/saved"], "attached vm1 restored: running restored"),
    ]) else {
        return;
    };
    let ends = items.iter().position(|item| item == "detached saved").expect("saved");
    let restored = &items[ends + 1..];
    assert_eq!(restored, ["running vm1", "attached vm1 restored: running restored"]);
}

#[test]
fn transient_domain_is_gone_after_its_run() {
    let Some(items) = items(&[
        (&["undefine", "vm1"], ""),
        (&["create", "HOME/vm1.xml"], "attached vm1 booted: running booted"),
        (&["destroy", "vm1"], "gone"),
        (&["define", "HOME/vm1.xml"], ""),
    ]) else {
        return;
    };
    assert_eq!(items[items.len() - 2..], ["detached destroyed", "gone"]);
}
