//! The status of a source, for operators.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use qmp_host::{clock, lock};
use qmp_wire::UnixMicros;
use serde::Serialize;

/// The status of a source.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FleetStatus {
    /// The servers and the stream.
    pub source: Box<str>,
    /// `connecting`, `reading`, or `failing`.
    pub state: &'static str,
    /// Since when it is in that state, in RFC 3339.
    pub since: String,
    /// The version of the server; `None` without a connection.
    pub server_version: Option<Box<str>>,
    /// The number of the last message of the stream that is committed.
    pub position: u64,
    /// The number of the last message of the stream, as far as it is known.
    pub head: u64,
    /// Messages of the stream that were not read.
    pub lag_records: u64,
    /// The age of the last record, while messages wait; else 0.
    pub lag_seconds: f64,
    /// Records that were committed since the hub started.
    pub records: u64,
    /// Journals of hosts that lack records, which their hubs were asked for.
    pub holes: u64,
    /// Holes that were given up since the hub started: their records are lost.
    pub lost: u64,
    /// Messages that were read again and discarded since the hub started.
    pub repeated: u64,
    /// Messages that were discarded since the hub started because they are no records, or because their numbers are taken.
    pub refused: u64,
    /// The fault, with what to do.
    pub problem: Option<Box<str>>,
}

/// The status of each source, and which hosts are silent. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct FleetStatuses {
    sources: Arc<[SharedStatus]>,
    silent_hosts: Arc<Mutex<HashMap<Box<str>, UnixMicros>>>,
}

/// The status that a source updates.
#[derive(Clone, Debug)]
pub(super) struct SharedStatus(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    status: FleetStatus,
    /// The receipt of the last record at its host's hub.
    received: Option<UnixMicros>,
}

impl FleetStatuses {
    pub(super) fn new(statuses: Vec<SharedStatus>) -> Self {
        Self { sources: statuses.into(), silent_hosts: Arc::default() }
    }

    /// The status of each source at present.
    #[must_use]
    pub fn read(&self) -> Vec<FleetStatus> {
        self.sources.iter().map(SharedStatus::read).collect()
    }

    /// When a silent host was heard last; `None` for one that is not silent, and for one that is not known.
    #[must_use]
    pub fn silent_since(&self, host: &str) -> Option<UnixMicros> {
        lock(&self.silent_hosts).get(host).copied()
    }

    /// Sets which hosts are silent.
    pub(super) fn set_silent_hosts(&self, silent: HashMap<Box<str>, UnixMicros>) {
        *lock(&self.silent_hosts) = silent;
    }
}

impl SharedStatus {
    pub(super) fn new(source: &str, position: u64) -> Self {
        let status = FleetStatus {
            source: source.into(),
            state: "connecting",
            since: clock::now().to_string(),
            server_version: None,
            position,
            head: position,
            lag_records: 0,
            lag_seconds: 0.0,
            records: 0,
            holes: 0,
            lost: 0,
            repeated: 0,
            refused: 0,
            problem: None,
        };
        Self(Arc::new(Mutex::new(State { status, received: None })))
    }

    /// Changes the status. The time of the state is set here.
    pub(super) fn update(&self, change: impl FnOnce(&mut FleetStatus)) {
        let mut state = lock(&self.0);
        let before = state.status.state;
        change(&mut state.status);
        if state.status.state != before {
            state.status.since = clock::now().to_string();
        }
    }

    /// Notes the receipt of the last record.
    pub(super) fn received(&self, received: UnixMicros) {
        lock(&self.0).received = Some(received);
    }

    pub(super) fn read(&self) -> FleetStatus {
        let state = lock(&self.0);
        let mut status = state.status.clone();
        if let Some(received) = state.received.filter(|_| status.lag_records > 0) {
            let age_us = clock::now().0.saturating_sub(received.0).max(0);
            #[allow(clippy::cast_precision_loss, reason = "an age for people")]
            let seconds = age_us as f64 / 1e6;
            status.lag_seconds = seconds;
        }
        status
    }
}
