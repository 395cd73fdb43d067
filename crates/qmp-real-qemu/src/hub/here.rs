//! A hub in this process.

use std::collections::VecDeque;
use std::path::Path;

use qmp_daemon::{Daemon, DaemonConfig};
use qmp_http::HttpEndpoint;
use qmp_journal::{Cursor, Query};
use qmp_testing::PATIENCE;
use qmp_wire::{Offset, Record};
use tokio::runtime::Runtime;

use super::http::VM;

/// The hub, and a cursor on its journal.
pub(super) struct Here {
    runtime: Runtime,
    hub: Daemon,
    cursor: Cursor,
    ready: VecDeque<Record<'static>>,
}

impl Here {
    /// Starts it with one VM.
    pub(super) fn start(socket: &Path, journal: &Path, http: &Path) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let mut config = DaemonConfig::new(journal);
        let address = format!("unix:{}", socket.display());
        config.attach.push((VM.parse().expect("a name"), address.parse().expect("an address")));
        config.findings = true;
        config.http = vec![HttpEndpoint::unix(http)];
        let hub = runtime.block_on(Daemon::start(config)).expect("the hub starts");
        let cursor = hub.journal().reader().cursor(Query::default(), Offset(0));
        Self { runtime, hub, cursor, ready: VecDeque::new() }
    }

    /// The next record; `None` if none comes in time.
    pub(super) fn next(&mut self) -> Option<Record<'static>> {
        while self.ready.is_empty() {
            self.ready.extend(self.cursor.next_batch(1_000).expect("the journal is readable"));
            if self.ready.is_empty() {
                let waiting = async { tokio::time::timeout(PATIENCE, self.cursor.wait()).await };
                self.runtime.block_on(waiting).ok()?.expect("the journal goes on");
            }
        }
        self.ready.pop_front()
    }

    /// Stops it and returns the records after those that [`next`](Self::next) gave.
    pub(super) fn stop(self) -> Vec<Record<'static>> {
        let Self { runtime, hub, mut cursor, ready, .. } = self;
        runtime.block_on(hub.stop()).expect("the hub stops");
        let mut rest = Vec::from(ready);
        loop {
            let more = cursor.next_batch(1_000).expect("the journal is readable");
            if more.is_empty() {
                return rest;
            }
            rest.extend(more);
        }
    }
}
