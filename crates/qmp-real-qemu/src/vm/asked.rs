//! Queries to the hub while the scenario runs.

use serde_json::{Value, json};

use super::Vm;
use crate::expected::request;
use crate::qemu::wait_for;

impl Vm {
    /// Makes the hub execute a command, as `qmp exec` does; it has no return value.
    ///
    /// # Panics
    ///
    /// If it is refused.
    pub fn execute_by_hub(&self, command: &str) {
        assert_eq!(self.hub.execute(&request(command))["return"], json!({}), "{command}");
    }

    /// The hub says that the VM is in this run state, for this cause, when it is asked (`/v1/vms/NAME`).
    ///
    /// It may not have read yet what QEMU has said to the scenario.
    ///
    /// # Panics
    ///
    /// If it goes on to say something else.
    pub fn stands(&self, run_state: &str, cause: &str) {
        let is_so = |vm: &Value| vm["run_state"] == run_state && vm["why"]["cause"] == cause;
        wait_for(&format!("{run_state} {cause}"), || Some(self.hub.vm()).filter(is_so));
    }
}

/// Whether this Linux tells strangers how a process ended: 6.15 and later do.
#[must_use]
pub fn tells_how_processes_end() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let numbers: Vec<u32> = release.split(['.', '-']).map_while(|part| part.parse().ok()).collect();
    numbers.as_slice() >= [6, 15].as_slice()
}
