//! Findings over hosts: what the records of several hosts tell together, at a fleet hub.
//!
//! ```text
//! records of other hosts ─ Correlators (one state a VM) ─ HostCorrelators: by UUID ─ findings without causes
//! ```
//!
//! Each host has its own clock, and its records arrive late. So a VM counts as running only as far as its host was heard, and
//! what two hosts did at once is concluded when both were heard beyond it.

mod evidence;
mod run;
mod migration_sides;
mod host_vm;
mod overlap;
mod host_findings;
mod correlators;

pub use correlators::HostCorrelators;
