//! The QEMU program, and its availability.

use std::process::{Command, Stdio};

/// Returns the program of QEMU: `QMP_QEMU`, or else `qemu-system-x86_64`.
#[must_use]
pub fn program() -> String {
    std::env::var("QMP_QEMU").unwrap_or_else(|_| "qemu-system-x86_64".to_owned())
}

/// Whether it cannot be run, after saying so.
///
/// # Panics
///
/// With `CI` set in the environment: there it has to be installed.
#[must_use]
pub fn is_missing() -> bool {
    let program = program();
    let version = Command::new(&program).arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).status();
    let is_missing = !version.is_ok_and(|status| status.success());
    if is_missing {
        assert!(std::env::var_os("CI").is_none(), "{program} cannot be run; install qemu-system-x86");
        eprintln!("skipped: {program} cannot be run; install qemu-system-x86");
    }
    is_missing
}
