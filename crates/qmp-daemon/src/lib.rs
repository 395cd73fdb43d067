#![doc = include_str!("../README.md")]
//!
//! # Entry points
//!
//! [`Daemon::start`] opens the journal, listens for HTTP, starts the rules, follows every VM of the [`DaemonConfig`],
//! and serves HTTP.

mod config;
mod warnings;
mod restart_only;
mod new_journal;
mod daemon;
mod reload;

pub use config::{CommandLine, ConfigError, ConfigFile, DaemonConfig, Location, Problem};
pub use config::{config_example, config_reference, config_schema};
pub use daemon::{Daemon, DaemonError};
pub use reload::ReloadReport;
