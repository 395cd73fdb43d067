//! The hub, in this process or as the program, and its journal.

mod http;
mod here;
mod program;

use std::path::{Path, PathBuf};

use qmp_wire::{Body, Record};
use serde_json::Value;

use crate::expected::Words;
use crate::judge;
use here::Here;
use program::Program;

/// A hub attached to one monitor, and the part of its journal read so far.
pub(crate) struct WatchingHub {
    hub: Hub,
    /// The socket of its HTTP interface.
    http: PathBuf,
    seen: Vec<Record<'static>>,
}

/// The kind of the hub.
enum Hub {
    Here(Box<Here>),
    Program(Program),
}

/// Returns the events in a hub's journal of a monitor that it follows to its end, as they were sent.
#[must_use]
pub fn events_in_the_journal(socket: &Path, journal: &Path) -> Vec<String> {
    let mut hub = WatchingHub::start(socket, journal);
    hub.until("the end", judge::is_end);
    hub.stop().iter().filter_map(|record| judge::as_sent(&record.body)).collect()
}

impl WatchingHub {
    /// Starts a hub and waits until it has attached.
    pub(crate) fn start(socket: &Path, journal: &Path) -> Self {
        let http = journal.with_extension("sock");
        let hub = match std::env::var_os("QMP_PROGRAM") {
            Some(qmp) => Hub::Program(Program::start(&qmp, socket, journal, &http)),
            None => Hub::Here(Box::new(Here::start(socket, journal, &http))),
        };
        let mut watching = Self { hub, http, seen: Vec::new() };
        watching.until("attached", |record| matches!(record.body, Body::Attached { .. }));
        watching
    }

    /// Reads up to a finding, unless it was already read; see [`Words`] for the notation.
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

    /// Returns the VM's entry of the hub's HTTP interface.
    pub(crate) fn vm(&self) -> Value {
        http::vm(&self.http)
    }

    /// Makes the hub execute a request on the VM, and returns the reply.
    pub(crate) fn execute(&self, request: &Value) -> Value {
        http::execute(&self.http, request)
    }

    /// Reads up to a record for which `wanted` is true.
    pub(crate) fn until(&mut self, what: &str, wanted: impl Fn(&Record<'_>) -> bool) {
        loop {
            let next = match &mut self.hub {
                Hub::Here(hub) => hub.next(),
                Hub::Program(hub) => hub.next(),
            };
            let Some(record) = next else {
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

    /// Stops the hub and returns all records of its journal.
    pub(crate) fn stop(self) -> Vec<Record<'static>> {
        let Self { hub, mut seen, .. } = self;
        seen.extend(match hub {
            Hub::Here(hub) => hub.stop(),
            Hub::Program(hub) => hub.stop(),
        });
        seen
    }
}

/// Formats a record in one line, for the message of a failure.
fn short(body: &Body<'_>) -> String {
    match body {
        Body::Event { name, data, .. } => format!("{name} {}", data.as_deref().unwrap_or_default()),
        Body::Finding { finding, data, .. } => format!("{finding}: {}", data.as_deref().unwrap_or_default()),
        Body::Attached { .. } => "attached".to_owned(),
        Body::Detached { reason, .. } => format!("detached: {reason}"),
    }
}
