//! An emulated machine `web1`, and a hub with a configuration for it.

use std::fs;
use std::path::Path;

use qmp_testing::wait_for;
use serde_json::Value;

use crate::support::{Process, run, start_hub_with};

/// An emulated machine, and the address of its monitor.
pub(crate) fn machine(home: &Path, name: &str) -> (Process, String) {
    let socket = home.join(format!("{name}.sock")).display().to_string();
    let machine = Process::start(home, &["emulate", "--listen", &socket]);
    machine.wait_for("Ctrl-C ends the machine");
    (machine, format!("unix:{socket}"))
}

/// Writes a configuration, and returns its path.
pub(crate) fn config(home: &Path, text: &str) -> String {
    let path = home.join("hub.toml");
    fs::write(&path, text).expect("writes");
    path.display().to_string()
}

/// A hub that has attached the machine, with this configuration.
pub(crate) fn hub(home: &Path, address: &str, text: &str) -> Process {
    start_hub_with(home, address, &["--config", &config(home, text)])
}

/// Waits until the hub has attached the VM.
pub(crate) fn attached(home: &Path, vm: &str) {
    wait_for(&format!("{vm} to be attached"), || {
        (run(home, &["exec", vm, "query-status"]).code == Some(0)).then_some(())
    });
}

/// Waits until the file has so many lines.
pub(crate) fn lines(path: &Path, count: usize) -> Vec<Value> {
    wait_for(&format!("{count} lines in {}", path.display()), || {
        let text = fs::read_to_string(path).unwrap_or_default();
        let lines: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        (lines.len() >= count).then_some(lines)
    })
}

/// Executes a command on `web1`.
pub(crate) fn exec(home: &Path, command: &str) {
    let ran = run(home, &["exec", "web1", command]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
}

/// The JSON Lines that the program prints.
pub(crate) fn json(home: &Path, arguments: &[&str]) -> Vec<Value> {
    let ran = run(home, arguments);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    ran.stdout.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}
