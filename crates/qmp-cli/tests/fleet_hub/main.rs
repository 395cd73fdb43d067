//! Fleets of hubs over real servers of NATS: hosts publish, fleet hubs journal, and a terminal follows.

#[path = "../support/mod.rs"]
mod support;

mod cluster;
mod hosts;
mod jetstream;
mod kills;
mod logins;
mod outage;
mod several;
mod tail;
