#![doc = include_str!("../README.md")]
//!
//! # Features
//!
//! This crate does not know monitors, VMs, journals or the configuration. Without the feature `tokio` it has no
//! runtime: the embedded server links that form. The journal has the runtime, and no sockets (`net`). What logs has the
//! feature `tracing`.

#![allow(unsafe_code)]

mod lock;

mod backoff;
#[cfg(feature = "tokio")]
mod blocking;
mod budget;
#[cfg(feature = "tokio")]
pub mod clock;
#[cfg(all(feature = "tokio", feature = "tracing"))]
mod duties;
#[cfg(target_os = "linux")]
mod exit_status;
mod inherited;
mod peer;
pub mod poller;
pub mod process;
mod log_limit;
mod text_file;

#[cfg(feature = "net")]
pub mod handed;
#[cfg(feature = "tracing")]
mod open_files;
#[cfg(feature = "tokio")]
pub mod permissions;
#[cfg(feature = "net")]
pub mod port_holder;
#[cfg(feature = "tokio")]
pub mod reader_memory;
#[cfg(feature = "net")]
mod socket_path;
#[cfg(feature = "net")]
mod socket_access;
#[cfg(feature = "net")]
mod unix_socket;

pub use backoff::Backoff;
#[cfg(feature = "tokio")]
pub use blocking::{BlockingTask, blocking};
pub use budget::{Budget, Share};
#[cfg(all(feature = "tokio", feature = "tracing"))]
pub use duties::{Duties, ends_after, join_all};
#[cfg(target_os = "linux")]
pub use exit_status::exit_status;
pub use inherited::{
    Family, InheritedError, InheritedListener, InheritedSocket, address_family, listens, take,
};
pub use lock::lock;
pub use log_limit::LogLimit;
#[cfg(feature = "tracing")]
pub use open_files::{FILES_OF_A_SOCKET, HTTP_SPARE_MAX, OpenFiles, journal_connections_max};
pub use peer::{PeerCredentials, peer_credentials, peer_groups};
#[cfg(feature = "net")]
pub use socket_access::SocketAccess;
#[cfg(feature = "net")]
pub use socket_path::{SOCKET_PATH_MAX_BYTES, SocketPath, connect_unix};
pub use text_file::{open_regular, read_text};
#[cfg(feature = "net")]
pub use unix_socket::{SocketError, SocketFile, listen_unix, listen_unix_unlocked};
