//! What the connections of one door share.

use std::sync::Arc;

use qmp_host::reader_memory::ReaderMemory;
use qmp_host::{Budget, Rarely};
use tokio::sync::watch;

use super::door::{HttpDoor, Keys, Strangers};

/// What the connections of one door share.
#[derive(Debug)]
pub(super) struct Hall {
    pub(super) door: HttpDoor,
    pub(super) keys: watch::Receiver<Keys>,
    /// Requests that were not let in.
    pub(super) refused: Rarely,
    /// Handshakes that failed.
    pub(super) failed: Rarely,
    pub(super) strangers: Arc<Strangers>,
    pub(super) spare: Arc<Strangers>,
    /// Connections that the system refused.
    pub(super) not_accepted: Rarely,
    /// Clients that were closed because they did not read while memory was short.
    pub(super) evicted: Rarely,
    pub(super) memory: ReaderMemory,
    /// The connections of clients that may be open.
    pub(super) open_files: Arc<Budget>,
}
