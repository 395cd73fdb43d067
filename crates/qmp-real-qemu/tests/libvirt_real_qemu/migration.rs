//! A domain that migrates from one libvirtd to another, and a hub that follows both.

use qmp_testing::{DomainXml, Libvirt};
use qmp_wire::Record;

use crate::watched_hub::{WatchedHub, is_detached, why, words};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn migration_ends_one_run_and_begins_another() {
    let Some(source) = Libvirt::start(&DomainXml::default()) else { return };
    let Some(destination) = Libvirt::start_empty() else { return };
    let mut hub = WatchedHub::start_with(&[&source, &destination], |config| {
        for (rule, name) in config.discover.iter_mut().zip(["a-{name}", "b-{name}"]) {
            rule.name = name.parse().expect("a template");
        }
    })
    .await;
    source.virsh(&["start", "vm1"]);
    let mut records = hub.until(|record| words(record).is_some_and(|words| words == "RESUME")).await;
    source.virsh(&["migrate", "vm1", &destination.uri(), "tcp://127.0.0.1", "--live"]);
    records.extend(hub.until(|record| why(record).is_some_and(|why| why.starts_with("why-ended"))).await);
    let found = why(&records[records.len() - 1]).expect("a finding");
    assert!(
        found.starts_with("why-ended migration:") && found.contains("migrated to another host"),
        "{found}"
    );
    destination.virsh(&["destroy", "vm1"]);
    records.extend(hub.until(|record| record.vm == "b-vm1" && is_detached(record)).await);

    let of = |vm: &str| -> Vec<String> {
        let of_vm = records.iter().filter(|record: &&Record<'_>| record.vm == vm).filter_map(words);
        // libvirt stops the source before or behind that point, and may resume the destination before the hub asks for its state.
        let varies = |words: &String| {
            words == "MIGRATION pre-switchover" || words.starts_with("attached started migrated")
        };
        of_vm.filter(|words| !varies(words)).collect()
    };
    let left = [
        "attached started booted: running booted",
        "RESUME",
        "MIGRATION setup",
        "MIGRATION active",
        "STOP",
        "MIGRATION device",
        "MIGRATION completed",
        "detached PeerClosed: libvirt: migrated",
    ];
    let arrived = [
        "MIGRATION setup",
        "MIGRATION active",
        "MIGRATION completed",
        "RESUME",
        "SHUTDOWN host-signal",
        "detached PeerClosed: libvirt: destroyed",
    ];
    assert_eq!(
        (of("a-vm1"), of("b-vm1")),
        (left.map(str::to_owned).into(), arrived.map(str::to_owned).into())
    );
    hub.hub.stop().await.expect("stops");
}
