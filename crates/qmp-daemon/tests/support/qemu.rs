//! The real QEMU that some tests need.

use std::process::{Command, Stdio};

/// What it is called.
pub(crate) const PROGRAM: &str = "qemu-system-x86_64";

/// Whether it is not installed, after saying so; in CI that is a failure.
pub(crate) fn is_missing() -> bool {
    let found = Command::new(PROGRAM).arg("--version").stdout(Stdio::null()).status().is_ok();
    assert!(found || std::env::var_os("CI").is_none(), "{PROGRAM} is missing; install qemu-system-x86");
    if !found {
        eprintln!("skipped: {PROGRAM} is missing; install qemu-system-x86");
    }
    !found
}
