//! Jobs: background operations on block devices.
//!
//! A job goes through QEMU's states. On a node that holds no data (`null-co`) a small job is done before the reply
//! to the command that started it, as in a QEMU; others take the time that follows from their speed.

mod job;
mod lifecycle;
mod work;
mod start;
mod verbs;
mod query;

pub(crate) use job::Jobs;
pub(super) use lifecycle::{at_exit, mirror_write};

use crate::commands::Entry;

pub(crate) fn commands() -> Vec<Entry> {
    [start::commands(), verbs::commands(), query::commands()].into_iter().flatten().collect()
}
