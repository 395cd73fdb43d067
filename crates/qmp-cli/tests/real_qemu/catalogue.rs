//! The catalogue against what a real QEMU says of itself.

use tempfile::TempDir;

use crate::{
    hub::{Place, lines_of},
    qemu::{Qemu, RawMonitor},
};

/// `qmp check` finds nothing wrong with a live QEMU, and its events and the catalogue's are the same.
#[test]
fn check_finds_nothing_on_a_live_monitor() {
    let folder = TempDir::new().unwrap();
    let Some(qemu) = Qemu::start(&folder, &["vm1"], &["-S"]) else { return };
    let place = Place::new(&folder);
    let output = place.run(&["check", &qemu.address("vm1"), "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
    let differences: Vec<String> = lines_of(&output);
    assert!(differences.iter().all(|line| line.contains(r#""severity":"note""#)), "{differences:#?}");
}

/// A capture of a life, written down as it came, passes `qmp check` as a file; a wrong line in it does not.
#[test]
fn check_reads_a_capture() {
    let folder = TempDir::new().unwrap();
    let Some(qemu) = Qemu::start(&folder, &["vm1"], &[]) else { return };
    let place = Place::new(&folder);
    let mut monitor = RawMonitor::connect(&qemu.socket("vm1"));
    let mut capture = monitor.greeting.clone() + "\r\n{\"return\": {}}\r\n";
    for command in ["query-qmp-schema", "stop", "cont", "system_reset", "quit"] {
        monitor.send(&format!(r#"{{"execute": "{command}"}}"#));
    }
    while let Some(line) = monitor.next_line() {
        capture += &line;
        capture += "\r\n";
    }
    let file = folder.path().join("capture.json");
    std::fs::write(&file, &capture).unwrap();
    let output = place.run(&["check", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));

    let broken = capture.replace(r#""guest": false, "reason": "host-qmp-quit""#, r#""reason": "boredom""#);
    assert_ne!(broken, capture);
    std::fs::write(&file, broken).unwrap();
    let output = place.run(&["check", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    let violations = lines_of(&output);
    assert!(
        violations.iter().any(|line| line.contains("SHUTDOWN") && line.contains("guest")),
        "{violations:#?}"
    );
    assert!(violations.iter().any(|line| line.contains("boredom")), "{violations:#?}");
}
