//! The daemon: the configuration, and the start and stop of a hub's parts.
//!
//! [`Daemon::start`] opens the journal, listens for HTTP, starts the rules, follows every VM of the [`DaemonConfig`],
//! and serves HTTP. Only this crate reads the configuration file; it does not speak QMP, and has no code for the
//! terminal.

mod config;
mod warnings;
mod restart_only;
mod daemon;
mod reload;

pub use config::{CommandLine, ConfigError, ConfigFile, DaemonConfig, Location, Problem};
pub use daemon::{Daemon, DaemonError};
pub use reload::ReloadReport;
