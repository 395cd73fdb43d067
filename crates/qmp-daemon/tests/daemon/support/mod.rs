//! Shared code of the hub's tests: a hub over scripted monitors, and an HTTP client.

pub(crate) mod client;
pub(crate) mod endpoints;
pub(crate) mod fleet_host;
pub(crate) mod qemu;
pub(crate) mod qmp;
pub(crate) mod receiver;
pub(crate) mod schema;

use std::path::Path;

use qmp_daemon::{ConfigFile, Daemon, DaemonConfig};
use qmp_http::HttpEndpoint;
use qmp_journal::{Batch, Cursor, Draft, Query};
use qmp_sinks::RuleConfig;
use qmp_wire::{Body, Offset, Record, UnixMicros};
use serde_json::Value;

/// A hub's configuration with all its files in `home`: journal, HTTP socket, and the monitors `NAME.sock`.
pub(crate) fn config(home: &Path, vms: &[&str]) -> DaemonConfig {
    let mut config = DaemonConfig::new(home.join("journal.db"));
    // Most tests count records.
    config.findings = false;
    config.http = vec![HttpEndpoint::unix(home.join("hub.sock"))];
    for name in vms {
        let address = format!("unix:{}", home.join(format!("{name}.sock")).display());
        config.attach.push((name.parse().expect("a name"), address.parse().expect("an address")));
    }
    config
}

/// The rules of a configuration.
pub(crate) fn rules(text: &str) -> Vec<RuleConfig> {
    ConfigFile::parse(text, Path::new("hub.toml")).expect(text).rules().to_vec()
}

/// Reads a hub's journal from its beginning, and waits for new records.
pub(crate) struct Watcher {
    cursor: Cursor,
    ready: std::collections::VecDeque<Record<'static>>,
}

impl Watcher {
    pub(crate) fn new(hub: &Daemon) -> Self {
        Self { cursor: hub.journal().reader().cursor(Query::default(), Offset(0)), ready: Default::default() }
    }

    pub(crate) async fn next(&mut self) -> Record<'static> {
        loop {
            if let Some(record) = self.ready.pop_front() {
                return record;
            }
            self.ready.extend(self.cursor.next_batch(1_000).expect("readable"));
            if self.ready.is_empty() {
                self.cursor.wait().await.expect("an open journal");
            }
        }
    }

    /// The next `count` records in short, see [`short`].
    pub(crate) async fn take(&mut self, count: usize) -> Vec<String> {
        let mut taken = Vec::with_capacity(count);
        for _ in 0..count {
            taken.push(short(&self.next().await));
        }
        taken
    }

    /// The next finding of `kind`: its summary, causes and data.
    pub(crate) async fn finding(&mut self, kind: &str) -> (String, Vec<(u32, u64)>, Value) {
        loop {
            let record = self.next().await;
            if let Body::Finding { finding, summary, causes, data } = record.body
                && finding == kind
            {
                let causes = causes.iter().map(|(epoch, seq)| (epoch.0, seq.0)).collect();
                let data = serde_json::from_str(data.as_deref().expect("data")).expect("JSON");
                return (summary.into_owned(), causes, data);
            }
        }
    }

    /// Reads until the record whose [`short`] form is `expected`.
    pub(crate) async fn until(&mut self, expected: &str) -> Vec<String> {
        let mut taken = Vec::new();
        while taken.last().is_none_or(|last| last != expected) {
            taken.push(short(&self.next().await));
        }
        taken
    }
}

/// A record in short: `web1 2.7 STOP {"a": 1}` is the event with epoch 2, sequence number 7.
pub(crate) fn short(record: &Record<'_>) -> String {
    let what = match &record.body {
        Body::Attached { .. } => "attached".to_owned(),
        Body::Event { name, data: None, .. } => name.to_string(),
        Body::Event { name, data: Some(data), .. } => format!("{name} {data}"),
        Body::Finding { finding, .. } => format!("finding {finding}"),
        Body::Detached { reason, .. } => format!("detached {reason:?}"),
    };
    format!("{} {}.{} {what}", record.vm, record.epoch.0, record.seq.0)
}

/// The event of the records that [`fill`] appends.
pub(crate) const FILLER: &str = "F";

/// Fills the journal's queue, so that no event fits; returns the number of appended records.
pub(crate) fn fill(hub: &Daemon) -> u32 {
    let appender = hub.journal().appender();
    let mut kept = 0;
    loop {
        // Smaller than any event of a VM.
        let body = Body::Event { name: FILLER.into(), sent_name: None, timestamp: None, data: None };
        let mut batch = Batch::new();
        batch.push(&Draft { vm: "f", received: UnixMicros(1), body });
        if appender.append(&mut batch).is_err() {
            return kept;
        }
        kept += 1;
    }
}
