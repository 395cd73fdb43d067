//! Tests of the crate as a whole: the two state machines over a stream that loses messages, and the drivers over real
//! servers.

mod chain;
mod confirmations;
mod faults;
mod follow;
mod losses;
mod manual;
mod records;
mod signs;
