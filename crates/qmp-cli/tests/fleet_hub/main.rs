//! Fleets of hubs over real servers of NATS: hosts publish, and fleet hubs journal.

#[path = "../support/mod.rs"]
mod support;

mod hosts;
mod kills;
