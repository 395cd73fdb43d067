//! The hub, in this process, and its journal.

use std::collections::VecDeque;
use std::path::Path;

use qmp_hub::journal::{Cursor, Query};
use qmp_hub::{Hub, HubConfig};
use qmp_wire::{Body, Offset, Record};
use tokio::runtime::Runtime;

use crate::expected::Words;
use crate::{PATIENCE, judge};

/// What the VM is called in the journal.
const VM: &str = "vm1";

/// A hub that follows one monitor, and what its journal has shown so far.
pub(crate) struct Watching {
    runtime: Runtime,
    hub: Hub,
    cursor: Cursor,
    ready: VecDeque<Record<'static>>,
    pub(crate) seen: Vec<Record<'static>>,
}

/// The events that a hub has in its journal of a monitor that it follows to its end, as they were sent.
#[must_use]
pub fn events_in_the_journal(socket: &Path, journal: &Path) -> Vec<String> {
    let mut hub = Watching::start(socket, journal);
    hub.until("the end", judge::is_end);
    hub.stop().iter().filter_map(|record| judge::as_sent(&record.body)).collect()
}

impl Watching {
    /// Starts a hub and waits until it has attached itself.
    pub(crate) fn start(socket: &Path, journal: &Path) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let mut config = HubConfig::new(journal);
        let address = format!("unix:{}", socket.display());
        config.attach.push((VM.parse().expect("a name"), address.parse().expect("an address")));
        config.findings = true;
        let hub = runtime.block_on(Hub::start(config)).expect("the hub starts");
        let cursor = hub.journal().reader().cursor(Query::default(), Offset(0));
        let mut watching = Self { runtime, hub, cursor, ready: VecDeque::new(), seen: Vec::new() };
        watching.until("attached", |record| matches!(record.body, Body::Attached { .. }));
        watching
    }

    /// Reads up to a finding, unless it has been read; see [`Words`] for the notation.
    pub(crate) fn until_found(&mut self, finding: &str) {
        let words = Words::read(finding);
        let is_it = |record: &Record<'_>| match &record.body {
            Body::Finding { finding, data, .. } if finding == words.name => {
                let data = serde_json::from_str(data.as_deref().unwrap_or("{}")).expect("JSON");
                words.hold_of(&data)
            }
            _ => false,
        };
        if !self.seen.iter().any(is_it) {
            self.until(finding, is_it);
        }
    }

    /// Reads up to a record that is wanted.
    pub(crate) fn until(&mut self, what: &str, wanted: impl Fn(&Record<'_>) -> bool) {
        loop {
            let Some(record) = self.next() else {
                let told: Vec<String> = self.seen.iter().map(|record| short(&record.body)).collect();
                panic!("the journal never had {what}:\n{}", told.join("\n"));
            };
            let is_it = wanted(&record);
            self.seen.push(record);
            if is_it {
                return;
            }
        }
    }

    /// The next record; `None` if none comes in time.
    fn next(&mut self) -> Option<Record<'static>> {
        while self.ready.is_empty() {
            self.ready.extend(self.cursor.next_batch(1_000).expect("the journal is readable"));
            if self.ready.is_empty() {
                let waiting = async { tokio::time::timeout(PATIENCE, self.cursor.wait()).await };
                self.runtime.block_on(waiting).ok()?.expect("the journal goes on");
            }
        }
        self.ready.pop_front()
    }

    /// Stops the hub and returns everything that its journal has.
    pub(crate) fn stop(self) -> Vec<Record<'static>> {
        let Self { runtime, hub, mut cursor, ready, mut seen } = self;
        runtime.block_on(hub.stop()).expect("the hub stops");
        seen.extend(ready);
        loop {
            let more = cursor.next_batch(1_000).expect("the journal is readable");
            if more.is_empty() {
                return seen;
            }
            seen.extend(more);
        }
    }
}

/// A record in one line, for a failure's message.
fn short(body: &Body<'_>) -> String {
    match body {
        Body::Event { name, data, .. } => format!("{name} {}", data.as_deref().unwrap_or_default()),
        Body::Finding { finding, data, .. } => format!("{finding}: {}", data.as_deref().unwrap_or_default()),
        Body::Attached { .. } => "attached".to_owned(),
        Body::Detached { reason, .. } => format!("detached: {reason}"),
    }
}
