//! The hub: attaches to monitors, keeps the journal, serves readers.
//!
//! [`Hub::start`] opens the journal, follows every VM that the [`HubConfig`] names, and serves HTTP. Each VM is
//! one task that reads its monitor and hands what it says to the journal; every reader, over HTTP or in the same
//! process, is a cursor on the journal.

mod asking;
mod attach;
mod audit;
mod commands;
mod config;
pub mod discovery;
mod exit;
mod fleet;
mod http;
mod hub;
mod observer;
mod origin;
mod reason;
pub mod relay;
mod reload;
mod silence;
mod taken;
mod vm_counts;
mod vm_name;
mod vms;

pub use config::{CommandLine, ConfigError, ConfigFile, HubConfig, Place, Problem};
pub use fleet::{Fleet, FleetError, Member};
pub use http::{HttpAddress, HttpAddressError, HttpDoor, HttpDoorError, KeyFileError, ListenError, TlsFiles};
pub use hub::{Hub, HubError, STOP_COMMIT_MAX, STOP_HTTP_MAX};
pub use observer::restore_checkpoint;
pub use origin::Origin;
pub use reload::Reloaded;
pub use silence::{
    ANSWERS_AGAIN, SILENT, SILENT_AFTER_DEFAULT, SILENT_AFTER_MAX, SILENT_AFTER_MIN, SilentAfter,
    SilentAfterError,
};
pub use vm_name::{VM_NAME_MAX_BYTES, VmName, VmNameError};
