//! Shared code of the tests: a machine for a monitor, a client, a real QEMU, recorded exchanges.
#![allow(dead_code, reason = "each test binary uses a part of it")]
#![allow(unreachable_pub, reason = "modules of test binaries")]

pub mod client;
pub mod compare;
pub mod exchange;
pub mod machine;
pub mod qemu;
