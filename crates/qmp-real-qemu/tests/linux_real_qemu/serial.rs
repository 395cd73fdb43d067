//! Ports of virtio-serial that the guest opens and closes.

use qmp_real_qemu::{MonitorLine, Scenario};

use crate::rates::{at_once, keyed};

const PORTS: &str = "-device virtio-serial-pci \
    -chardev null,id=c1 -device virtserialport,chardev=c1,id=port1 \
    -chardev null,id=c2 -device virtserialport,chardev=c2,id=port2 \
    -chardev null,id=c3 -device virtserialport,chardev=c3,id=port3";

/// The guest's actions within a few milliseconds: which port, and whether it is open then.
const CAUSES: [(&str, bool); 11] = [
    ("port1", true),
    ("port2", true),
    ("port1", false),
    ("port1", true),
    ("port2", false),
    ("port1", false),
    ("port3", true),
    ("port3", false),
    ("port3", true),
    ("port3", false),
    ("port3", true),
];

/// Each port is limited by itself: its first change comes at once and the last when the window closes, even if it is
/// the same as the first.
#[test]
fn ports_open_and_close() {
    let scenario = Scenario::new(
        "vserport-change",
        "The guest opens and closes ports of virtio-serial (`/dev/vport0p1`), more often than once a second.",
    )
    .shows(&["VSERPORT_CHANGE"])
    .options(PORTS);
    let Some((mut vm, mut linux)) = scenario.start_linux(&["virtio_pci", "virtio_console"]) else { return };
    let lines: Vec<String> = CAUSES.iter().map(|(port, open)| shell(port, *open)).collect();
    // A port that cannot be opened would end the shell.
    linux.runs("until [ -c /dev/vport0p1 -a -c /dev/vport0p2 -a -c /dev/vport0p3 ]; do usleep 50000; done");
    linux.runs(&lines.join("; "));

    let predicted = keyed("VSERPORT_CHANGE", &at_once(&CAUSES), |(port, _)| port);
    let came: Vec<MonitorLine> = predicted.iter().map(|_| vm.next("VSERPORT_CHANGE")).collect();
    for port in ["port1", "port2", "port3"] {
        let of_it: Vec<&MonitorLine> =
            came.iter().filter(|line| line.message["data"]["id"] == port).collect();
        let predicted: Vec<_> = predicted.iter().filter(|(_, (id, _))| *id == port).collect();
        assert_eq!(of_it.len(), predicted.len(), "{port}");
        for (line, (at, (_, open))) in of_it.iter().zip(predicted) {
            assert_eq!(line.message["data"]["open"], *open, "{}", line.text());
            crate::rates::arrived(line, of_it[0], *at);
        }
    }
    // A held event keeps the time at which it happened.
    assert!(came.last().expect("one").timestamp_us() < came[0].timestamp_us() + 900_000, "{came:#?}");
    vm.end();
}

/// Descriptor 3 is of port 1, and so on.
fn shell(port: &str, open: bool) -> String {
    let number: u32 = port["port".len()..].parse().expect("a number");
    let descriptor = number + 2;
    if open { format!("exec {descriptor}<>/dev/vport0p{number}") } else { format!("exec {descriptor}>&-") }
}
