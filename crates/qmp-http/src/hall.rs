//! What the connections of one door share.

use std::sync::Arc;

use qmp_host::Rarely;
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
}
