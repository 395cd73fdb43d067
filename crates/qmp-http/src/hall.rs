//! State that the connections of one endpoint share.

use std::sync::Arc;

use qmp_host::reader_memory::ReaderMemory;
use qmp_host::{Budget, Rarely};
use tokio::sync::watch;

use super::door::{HttpDoor, Keys, Strangers};

/// State that the connections of one endpoint share.
#[derive(Debug)]
pub(super) struct Hall {
    pub(super) door: HttpDoor,
    pub(super) keys: watch::Receiver<Keys>,
    /// Limits the log lines about requests that were not authorized.
    pub(super) refused: Rarely,
    /// Limits the log lines about TLS handshakes that failed.
    pub(super) failed: Rarely,
    pub(super) strangers: Arc<Strangers>,
    pub(super) spare: Arc<Strangers>,
    /// Limits the log lines about connections that the system refused.
    pub(super) not_accepted: Rarely,
    /// Limits the log lines about clients that were evicted: they did not read while memory was short.
    pub(super) evicted: Rarely,
    pub(super) memory: ReaderMemory,
    /// The open files that connections of clients may use.
    pub(super) open_files: Arc<Budget>,
}
