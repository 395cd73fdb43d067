//! A hub that follows real libvirtds, and its records.

use qmp_daemon::{Daemon, DaemonConfig};
use qmp_hub::discovery::{DiscoveryRule, Source};
use qmp_journal::{Cursor, Query};
use qmp_testing::{Libvirt, PATIENCE};
use qmp_wire::{Body, Offset, Record};
use serde_json::Value;

/// A hub with one rule for each libvirtd.
pub(crate) struct WatchedHub {
    pub(crate) hub: Daemon,
    cursor: Cursor,
    ready: Vec<Record<'static>>,
}

/// An event in the journal or on a raw monitor: name, time and data.
pub(crate) type PlainEvent = (String, i64, u32, Value);

impl WatchedHub {
    /// Starts a hub that follows this libvirtd.
    pub(crate) async fn start(libvirt: &Libvirt) -> Self {
        Self::start_with(&[libvirt], |_| {}).await
    }

    /// Starts a hub that follows these libvirtds; its journal is in the directory of the first.
    pub(crate) async fn start_with(libvirts: &[&Libvirt], change: impl FnOnce(&mut DaemonConfig)) -> Self {
        let mut config = DaemonConfig::new(libvirts[0].path("journal.db"));
        let rule = |libvirt: &&Libvirt| {
            let daemon = format!("unix:{}", libvirt.socket().display());
            DiscoveryRule::new(Source::Libvirt(daemon.parse().expect("a source")))
        };
        config.discover = libvirts.iter().map(rule).collect();
        change(&mut config);
        let hub = Daemon::start(config).await.expect("starts");
        let cursor = hub.journal().reader().cursor(Query::default(), Offset(0));
        Self { hub, cursor, ready: Vec::new() }
    }

    /// Reads up to the record that `is_last` accepts.
    pub(crate) async fn until(&mut self, is_last: impl Fn(&Record<'_>) -> bool) -> Vec<Record<'static>> {
        let mut taken = Vec::new();
        loop {
            while !self.ready.is_empty() {
                taken.push(self.ready.remove(0));
                if taken.last().is_some_and(&is_last) {
                    return taken;
                }
            }
            self.ready = self.cursor.next_batch(1000).expect("readable").into_iter().collect();
            if self.ready.is_empty() && tokio::time::timeout(PATIENCE, self.cursor.wait()).await.is_err() {
                let known: Vec<_> =
                    taken.iter().filter_map(|record| words(record).or_else(|| why(record))).collect();
                let vms: Vec<_> = self.vms().into_iter().map(|vm| (self.error(&vm), vm)).collect();
                panic!("waited {PATIENCE:?} for a record behind {known:#?}; {vms:?}");
            }
        }
    }

    /// The error in the status of the VM, if it has one.
    pub(crate) fn error(&self, vm: &str) -> Option<String> {
        let vm = self.hub.registry().vms().get(vm)?;
        vm.status().error.map(String::from)
    }

    /// The names of the VMs that the hub follows.
    pub(crate) fn vms(&self) -> Vec<String> {
        self.hub.registry().list().into_iter().map(|vm| vm.name.to_string()).collect()
    }
}

pub(crate) fn is_attached(record: &Record<'_>) -> bool {
    matches!(record.body, Body::Attached { .. })
}

pub(crate) fn is_detached(record: &Record<'_>) -> bool {
    matches!(record.body, Body::Detached { .. })
}

/// The snapshot in a record.
pub(crate) fn snapshot(record: &Record<'_>) -> Value {
    let Body::Attached { snapshot } = &record.body else { panic!("{record:?}") };
    serde_json::from_str(snapshot).expect("JSON")
}

/// The events among records.
pub(crate) fn events(records: &[Record<'_>]) -> Vec<PlainEvent> {
    let event = |record: &Record<'_>| match &record.body {
        Body::Event { name, timestamp, data, .. } => {
            let data = data.as_deref().map(|data| serde_json::from_str(data).expect("JSON"));
            let at = timestamp.expect("a time");
            Some((name.to_string(), at.seconds(), at.microseconds(), data.unwrap_or_default()))
        }
        _ => None,
    };
    records.iter().filter_map(event).collect()
}

/// A record on one line; `None` for what the firmware and the clock do, and for the hub's own questions.
pub(crate) fn words(record: &Record<'_>) -> Option<String> {
    Some(match &record.body {
        Body::Attached { .. } => {
            let snapshot = snapshot(record);
            let libvirt = &snapshot["libvirt"];
            let word = |member: &str| libvirt[member].as_str().unwrap_or("-").to_owned();
            format!("attached {} {}: {} {}", word("began"), word("started"), word("state"), word("reason"))
        }
        Body::Detached { reason, detail, .. } => {
            format!("detached {reason:?}: {}", detail.as_deref().unwrap_or_default())
        }
        Body::Event { name, data, .. } => {
            let data: Value =
                data.as_deref().map(|data| serde_json::from_str(data).expect("JSON")).unwrap_or_default();
            let by_firmware = name == "RESET" && data["reason"] == "guest-reset";
            if by_firmware || matches!(&**name, "RTC_CHANGE" | "NIC_RX_FILTER_CHANGED" | "MIGRATION_PASS") {
                return None;
            }
            let word = ["reason", "action", "status"].iter().find_map(|member| data[*member].as_str());
            format!("{name} {}", word.unwrap_or_default()).trim().to_owned()
        }
        _ => return None,
    })
}

/// A finding about why something happened: its kind, the cause, and its summary.
pub(crate) fn why(record: &Record<'_>) -> Option<String> {
    let Body::Finding { finding, summary, data, .. } = &record.body else { return None };
    let data: Value =
        data.as_deref().map(|data| serde_json::from_str(data).expect("JSON")).unwrap_or_default();
    let cause = data["cause"].as_str().unwrap_or_default();
    // As in `words`: the firmware resets a machine without a system, also after S3.
    let by_firmware = finding == "why-reset" && cause == "guest-reset";
    (finding.starts_with("why-") && !by_firmware).then(|| format!("{finding} {cause}: {summary}"))
}
