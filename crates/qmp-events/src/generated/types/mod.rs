// Generated from `catalogue/*.toml` by `cargo xtask codegen`; change those files and run it.

//! The types of the wire, by QAPI module.

mod acpi;
mod block_export;
mod char;
mod common;
mod dump;
mod job;
mod block_core;
mod machine_s390x;
mod machine;
mod migration;
mod misc;
mod qdev;
mod rdma;
mod run_state;
mod sockets;
mod net;
mod ui;
mod vfio;

pub use acpi::*;
pub use block_core::*;
pub use block_export::*;
pub use char::*;
pub use common::*;
pub use dump::*;
pub use job::*;
pub use machine::*;
pub use machine_s390x::*;
pub use migration::*;
pub use misc::*;
pub use net::*;
pub use qdev::*;
pub use rdma::*;
pub use run_state::*;
pub use sockets::*;
pub use ui::*;
pub use vfio::*;
