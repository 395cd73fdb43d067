//! Network backends of type `stream`.

use std::os::unix::net::UnixStream;

use qmp_real_qemu::Scenario;

#[test]
fn stream_backend() {
    let scenario =
        Scenario::new("netdev-stream", "A peer connects to a network backend of type `stream`, and leaves.")
            .shows(&["NETDEV_STREAM_CONNECTED", "NETDEV_STREAM_DISCONNECTED"])
            .options("-netdev stream,id=net0,server=on,addr.type=unix,addr.path=net.sock");
    let Some(mut vm) = scenario.start() else { return };
    for _ in 0..2 {
        let peer = UnixStream::connect(vm.home().path().join("net.sock")).expect("QEMU listens");
        vm.next("NETDEV_STREAM_CONNECTED netdev-id=net0 addr.type=unix addr.path=net.sock");
        drop(peer);
        vm.next("NETDEV_STREAM_DISCONNECTED netdev-id=net0");
    }
    vm.end();
}
