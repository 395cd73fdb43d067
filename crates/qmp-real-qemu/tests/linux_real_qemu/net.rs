//! Network cards: filters of what they receive, and one that stands by for another.

use qmp_real_qemu::Scenario;

const CARD: &str = "-netdev user,id=n0,restrict=on -device virtio-net-pci,netdev=n0,id=nic0";

/// After one event no other follows until `query-rx-filter`.
#[test]
fn rx_filter() {
    let scenario = Scenario::new(
        "nic-rx-filter-changed",
        "The guest sets its network card to promiscuous mode and back (`ip link set eth0 promisc on`).",
    )
    .shows(&["NIC_RX_FILTER_CHANGED"])
    .options(CARD);
    let Some((mut vm, mut linux)) = scenario.start_linux(&["virtio_pci", "virtio_net"]) else { return };
    // It would join groups whenever it likes.
    linux.runs("echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6");
    linux.runs("ip link set eth0 up");
    let changed = "NIC_RX_FILTER_CHANGED name=nic0 path=/machine/peripheral/nic0/virtio-backend";
    vm.next(changed);
    linux.runs("ip link set eth0 promisc on");
    assert_eq!(vm.quiet(), "running");
    let filter = vm.execute("query-rx-filter name=nic0");
    assert_eq!(filter[0]["promiscuous"], true, "{filter}");
    linux.runs("ip link set eth0 promisc off");
    vm.next(changed);
    linux.runs("ip link set eth0 promisc on");
    assert_eq!(vm.quiet(), "running");
    vm.end();
}

/// A part of the device goes first: the back-end, which has no id.
#[test]
fn unplugged() {
    let scenario = Scenario::new(
        "device-deleted-virtio",
        "The command `device_del` asks the guest to let a virtio network card go, and it does.",
    )
    .shows(&["DEVICE_DELETED"])
    .options(CARD);
    let Some((mut vm, _linux)) = scenario.start_linux(&["virtio_pci", "virtio_net"]) else { return };
    vm.send("device_del id=nic0");
    vm.in_any_order(&["reply", "DEVICE_DELETED !device path=/machine/peripheral/nic0/virtio-backend"]);
    vm.next("DEVICE_DELETED device=nic0 path=/machine/peripheral/nic0");
    vm.finds("hot-unplug device=nic0 result=unplugged parts=1");
    vm.end();
}

/// A primary card that QEMU takes away before it migrates, and gives back when that fails.
#[test]
fn failover() {
    let scenario = Scenario::new(
        "failover",
        "The guest's driver agrees to a standby card; then the machine is migrated, for which the primary has to go.",
    )
    .shows(&["FAILOVER_NEGOTIATED", "UNPLUG_PRIMARY"])
    .options(
        "-M q35 -device pcie-root-port,id=root0,chassis=1,slot=1 -device pcie-root-port,id=root1,chassis=2,slot=2 \
         -netdev user,id=n0,restrict=on -netdev user,id=n1,restrict=on \
         -device virtio-net-pci,netdev=n0,bus=root0,id=standby,mac=52:54:00:11:22:33,failover=on \
         -device virtio-net-pci,netdev=n1,bus=root1,id=primary,mac=52:54:00:11:22:33,failover_pair_id=standby",
    );
    let Some((mut vm, mut linux)) = scenario.start_linux(&["virtio_pci", "virtio_net"]) else { return };
    vm.next("FAILOVER_NEGOTIATED device-id=standby");
    // The master, the standby card, and the primary, which is plugged in only now.
    linux.runs("until [ -e /sys/class/net/eth2 ]; do usleep 50000; done");
    vm.execute(r#"migrate-set-capabilities capabilities=[{"capability":"events","state":true}]"#);
    vm.send(r#"migrate uri="exec:cat >null""#);
    let lines = vm.until("MIGRATION status=wait-unplug");
    assert!(lines.iter().any(|line| line.event() == Some("UNPLUG_PRIMARY")), "{lines:#?}");
    vm.until("MIGRATION status=completed");
    vm.finds("why-paused cause=migration");
    vm.end();
}
