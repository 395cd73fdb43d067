//! The catalogue compared with a real QEMU.

use tempfile::TempDir;

use crate::{
    hub::{HubHome, lines_of},
    qemu::{Qemu, RawMonitor},
};

/// `qmp check` finds no violation in a live QEMU: it has the events of the catalogue.
#[test]
fn check_finds_no_violation_in_a_live_qemu() {
    let folder = TempDir::new().unwrap();
    let Some(qemu) = Qemu::start(&folder, &["vm1"], &["-S"]) else { return };
    let home = HubHome::new(&folder);
    let output = home.run(&["check", &qemu.address("vm1"), "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
    let differences: Vec<String> = lines_of(&output);
    assert!(differences.iter().all(|line| line.contains(r#""severity":"note""#)), "{differences:#?}");
}

/// A capture of a whole run passes `qmp check` as a file; with an invalid line it does not.
#[test]
fn check_passes_a_capture_and_fails_an_invalid_one() {
    let folder = TempDir::new().unwrap();
    let Some(qemu) = Qemu::start(&folder, &["vm1"], &[]) else { return };
    let home = HubHome::new(&folder);
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
    let output = home.run(&["check", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));

    let broken = capture.replace(r#""guest": false, "reason": "host-qmp-quit""#, r#""reason": "boredom""#);
    assert_ne!(broken, capture);
    std::fs::write(&file, broken).unwrap();
    let output = home.run(&["check", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    let violations = lines_of(&output);
    assert!(
        violations.iter().any(|line| line.contains("SHUTDOWN") && line.contains("guest")),
        "{violations:#?}"
    );
    assert!(violations.iter().any(|line| line.contains("boredom")), "{violations:#?}");
}
