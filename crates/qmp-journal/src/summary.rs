//! Summaries: what a sealed segment holds, counted and abridged, so that a reader of a long time need not read the records.
//!
//! A summary has the number of records of each VM, name, class and minute, and the changes of each VM. Both are one blob:
//! rows for each VM and hour would touch a thousand pages a segment. The forms are in `counts.rs` and `changes.rs`.

mod changes;
mod counts;
mod table;
mod standing;
mod builder;

pub(super) use builder::{Summary, SummaryBuilder};
pub(super) use changes::{ChangeOf, are_changes, read_changes};
pub(super) use counts::read_counts;
pub use counts::{CountKey, MinuteCount};
pub(super) use standing::{StandingConditions, is_standing};
pub(super) use table::CountTable;
