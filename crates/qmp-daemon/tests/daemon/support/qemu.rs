//! The real QEMU of some tests.

use std::process::{Command, Stdio};

/// The name of the program.
pub(crate) const PROGRAM: &str = "qemu-system-x86_64";

/// Whether QEMU is not installed; prints a note then. In CI a missing QEMU is a failure.
pub(crate) fn is_missing() -> bool {
    let found = Command::new(PROGRAM).arg("--version").stdout(Stdio::null()).status().is_ok();
    assert!(found || std::env::var_os("CI").is_none(), "{PROGRAM} is missing; install qemu-system-x86");
    if !found {
        eprintln!("skipped: {PROGRAM} is missing; install qemu-system-x86");
    }
    !found
}
