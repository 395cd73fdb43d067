//! History: states, gaps, findings and counts of VMs, read from a journal.
//!
//! The journal keeps a summary of each segment and does not know what is in it. This crate does: [`DIGEST`] derives the
//! words of the summaries from records when a journal is written, and the functions here read them.
//!
//! | function | result |
//! |---|---|
//! | [`timeline`] | the lanes of VMs in a window: run state, gaps, findings, records by severity |
//! | [`counts`] | how many records by event, VM, kind, severity, hour or weekday |
//! | [`findings`] | findings as intervals |
//! | [`gaps`] | the spans in which a VM was not watched |
//! | [`detail`] | one record, with what caused it and what it caused |
//!
//! All of them block on the disk. The results serialize to the JSON of the hub's interface. Times are microseconds since
//! the Unix epoch.
//!
//! The crate must never know HTTP, monitors or the terminal: the hub and a program that reads a file use the same.

mod severity;
mod words;
mod interner;
mod window;
mod coverage;
mod damaged;
mod selection;
mod intervals;
mod fold;
mod reading;
mod marks;
mod lanes;
mod timeline;
mod counts;
mod findings;
mod gaps;
mod detail;

pub use counts::{Counts, CountsRequest, Facet, FacetName, NO_HOST, Other, counts};
pub use coverage::Coverage;
pub use damaged::DamagedRecords;
pub use detail::{Detail, Neighbours, detail};
pub use findings::{FindingEntry, Findings, FindingsRequest, findings};
pub use gaps::{GapEntry, Gaps, GapsRequest, gaps};
pub use lanes::{BucketCounts, Lane};
pub use marks::Mark;
pub use severity::Severity;
pub use timeline::{LaneOrder, Timeline, TimelineRequest, timeline};
pub use window::{BUCKETS_MAX, SETTLED_AFTER, Scope, is_settled};
pub use words::DIGEST;
