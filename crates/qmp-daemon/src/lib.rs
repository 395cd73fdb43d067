//! The daemon: configuration, and the order in which a hub's parts start and stop.
//!
//! [`Daemon::start`] opens the journal, listens for HTTP, starts the rules, follows every VM that the [`DaemonConfig`]
//! names, and serves HTTP. The crate is the only one that knows the configuration file; it never speaks QMP, and it never
//! knows the terminal.

mod config;
mod doubts;
mod restart_only;
mod daemon;
mod reload;

pub use config::{CommandLine, ConfigError, ConfigFile, DaemonConfig, Location, Problem};
pub use daemon::{Daemon, DaemonError};
pub use reload::Reloaded;
