//! State that the connections of one endpoint share.

use std::sync::Arc;

use qmp_host::reader_memory::ReaderMemory;
use qmp_host::{Budget, LogLimit};
use tokio::sync::watch;

use super::endpoint::{Credentials, EvictionQueue, HttpEndpoint};

/// State that the connections of one endpoint share.
#[derive(Debug)]
pub(super) struct EndpointState {
    pub(super) endpoint: HttpEndpoint,
    pub(super) credentials: watch::Receiver<Credentials>,
    /// Limits the log lines about requests that were not authorized.
    pub(super) refused: LogLimit,
    /// Limits the log lines about TLS handshakes that failed.
    pub(super) failed: LogLimit,
    pub(super) unauthenticated: Arc<EvictionQueue>,
    pub(super) spare: Arc<EvictionQueue>,
    /// Limits the log lines about connections that the system refused.
    pub(super) not_accepted: LogLimit,
    /// Limits the log lines about clients that were evicted: they did not read while memory was short.
    pub(super) evicted: LogLimit,
    pub(super) memory: ReaderMemory,
    /// The open files that connections of clients may use.
    pub(super) open_files: Arc<Budget>,
}
