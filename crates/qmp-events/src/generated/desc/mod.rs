// Generated from `catalogue/*.toml` by `cargo xtask codegen`; change those files and run it.

//! The descriptions of events and types, by QAPI module.

pub(crate) mod acpi;
pub(crate) mod block_export;
pub(crate) mod char;
pub(crate) mod common;
pub(crate) mod dump;
pub(crate) mod job;
pub(crate) mod block_core;
pub(crate) mod machine_s390x;
pub(crate) mod machine;
pub(crate) mod migration;
pub(crate) mod misc;
pub(crate) mod qdev;
pub(crate) mod rdma;
pub(crate) mod run_state;
pub(crate) mod sockets;
pub(crate) mod net;
pub(crate) mod ui;
pub(crate) mod vfio;
