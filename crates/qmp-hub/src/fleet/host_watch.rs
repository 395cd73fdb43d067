//! The watch for silent hosts: records when a host is not heard any more, and when it is heard again.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use qmp_findings::{HOST_ANSWERS_AGAIN, HOST_SILENT, assert_listed};
use qmp_host::{clock, lock};
use qmp_journal::{
    Appender, Batch, Draft, Feed, Globs, JournalEnded, JournalError, Query, Reader, RecordKind,
};
use qmp_settings::span;
use qmp_wire::{Body, Offset, UnixMicros};
use serde_json::{Value, json};
use tokio::sync::{Notify, watch};

use super::host_silence::{HostSilences, SilentHost};
use super::status::FleetStatuses;
use crate::observer::VmStates;

/// The interval in which the silence of hosts is looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// A look that comes later than that shows that this program was stopped, and could not hear.
const LOOK_LATE_MAX: Duration = Duration::from_secs(10);

/// Findings of this hub that are read at the start for the silences that are not over, the last ones.
const RECORDED_MAX: usize = 4_096;

/// VMs that the record of a silent host names; the others are counted.
const VMS_NAMED_MAX: usize = 32;

/// The hosts as the sources hear them. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct HostWatch {
    shared: Arc<Shared>,
    vm_states: VmStates,
    silent_after: Duration,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    heard_again: Notify,
}

#[derive(Debug)]
struct State {
    silences: HostSilences,
    /// Silences that are over and not recorded as such.
    over: Vec<SilentHost>,
    /// Sources whose server does not let them hear signs of life.
    deaf: HashSet<Box<str>>,
}

impl HostWatch {
    pub(super) fn new(vm_states: VmStates, silent_after: Duration) -> Self {
        let silences = HostSilences::new(silent_after);
        let state = Mutex::new(State { silences, over: Vec::new(), deaf: HashSet::new() });
        Self { shared: Arc::new(Shared { state, heard_again: Notify::new() }), vm_states, silent_after }
    }

    /// Adds the hosts of an earlier run of the hub, and the silences that it has recorded.
    pub(super) fn restore(&self, feeds: &[Feed], reader: &Reader) -> Result<(), JournalError> {
        let recorded = recorded_silences(reader)?;
        let mut feeds: Vec<&Feed> = feeds.iter().collect();
        // Of the journals of one host, the one that was read last is its present one.
        feeds.sort_by_key(|feed| feed.received);
        let mut state = lock(&self.shared.state);
        for Feed { host, received, .. } in feeds {
            let silent = recorded.get(host);
            state.silences.restore(host, silent.copied().unwrap_or(*received), silent.is_some());
        }
        Ok(())
    }

    /// Takes a record or a sign of life of a host.
    pub(super) fn heard(&self, host: &str) {
        let mut state = lock(&self.shared.state);
        if let Some(over) = state.silences.heard(host, (Instant::now(), clock::now())) {
            state.over.push(over);
            self.shared.heard_again.notify_one();
        }
    }

    /// Takes that everything which a host received before `upto` is committed, up to `committed`.
    pub(super) fn heard_upto(&self, host: &str, upto: UnixMicros, committed: Offset) {
        self.vm_states.host_heard(host, upto, committed);
    }

    /// Takes whether a source cannot hear signs of life.
    pub(super) fn set_deaf(&self, source: &str, is_deaf: bool) {
        let deaf = &mut lock(&self.shared.state).deaf;
        if !is_deaf {
            deaf.remove(source);
        } else if !deaf.contains(source) {
            deaf.insert(source.into());
        }
    }

    /// Records silences until `stop` is true.
    pub(super) async fn run(
        self,
        statuses: FleetStatuses,
        appender: Appender,
        mut stop: watch::Receiver<bool>,
    ) {
        let mut looked = Instant::now();
        loop {
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return,
                () = tokio::time::sleep(LOOK_INTERVAL) => {}
                () = self.shared.heard_again.notified() => {}
            }
            let now = Instant::now();
            let is_late = now.saturating_duration_since(looked) > LOOK_LATE_MAX;
            looked = now;
            if self.look(now, is_late, &statuses, &appender).await.is_err() {
                return;
            }
        }
    }

    async fn look(
        &self,
        now: Instant,
        is_late: bool,
        statuses: &FleetStatuses,
        appender: &Appender,
    ) -> Result<(), JournalEnded> {
        let is_read =
            statuses.read().iter().all(|status| status.state == "reading" && status.lag_records == 0);
        let (over, due) = {
            let mut state = lock(&self.shared.state);
            let is_listening = is_read && !is_late && state.deaf.is_empty();
            state.silences.set_listening(is_listening, now);
            (std::mem::take(&mut state.over), state.silences.due(now))
        };
        for (host, last_heard) in over {
            self.record_heard_again(&host, last_heard, appender).await?;
        }
        if !due.is_empty() {
            self.look_at_silent(due, now, appender).await?;
        }
        statuses.set_silent_hosts(lock(&self.shared.state).silences.silent().collect());
        Ok(())
    }

    /// Records the silence of hosts with VMs.
    async fn look_at_silent(
        &self,
        due: Vec<SilentHost>,
        now: Instant,
        appender: &Appender,
    ) -> Result<(), JournalEnded> {
        let running = self.vm_states.running_on(due.iter().map(|(host, _)| &**host));
        for (host, last_heard) in due {
            // A hub that was stopped has closed the epochs of its VMs.
            let Some(running) = running.get(&host) else {
                lock(&self.shared.state).silences.postpone(&host, now);
                continue;
            };
            self.record_silent(&host, last_heard, running, appender).await?;
            lock(&self.shared.state).silences.set_recorded(&host);
        }
        Ok(())
    }

    async fn record_silent(
        &self,
        host: &str,
        last_heard: UnixMicros,
        running: &[Box<str>],
        appender: &Appender,
    ) -> Result<(), JournalEnded> {
        let shown = &running[..running.len().min(VMS_NAMED_MAX)];
        let names = shown.join(", ");
        let vms = match running.len() {
            0 => "No VM was running there.".to_owned(),
            1 => format!("One VM was running there: {names}."),
            count if count > shown.len() => format!("{count} VMs were running there, among them {names}."),
            count => format!("{count} VMs were running there: {names}."),
        };
        let after = span::describe(u64::try_from(self.silent_after.as_micros()).unwrap_or(u64::MAX));
        let summary = format!(
            "{host} has not been heard for {after}: the host, its hub or its connection is down. {vms}"
        );
        tracing::warn!(host, "a host is silent");
        let data = json!({
            "hosts": [host],
            "last_heard": last_heard.to_string(),
            "running": shown,
            "running_count": running.len(),
        });
        append(appender, host, HOST_SILENT, summary, &data).await
    }

    async fn record_heard_again(
        &self,
        host: &str,
        last_heard: UnixMicros,
        appender: &Appender,
    ) -> Result<(), JournalEnded> {
        let silent_us = clock::now().0.saturating_sub(last_heard.0).max(0);
        let after = span::describe(silent_us.unsigned_abs());
        tracing::info!(host, "a host is heard again");
        #[allow(clippy::cast_precision_loss, reason = "a span for people")]
        let seconds = (silent_us / 1_000) as f64 / 1e3;
        let data = json!({"hosts": [host], "last_heard": last_heard.to_string(), "seconds": seconds});
        append(appender, host, HOST_ANSWERS_AGAIN, format!("{host} is heard again, after {after}."), &data)
            .await
    }
}

/// The hosts whose silence is recorded and not over, each with the time at which it was heard last.
fn recorded_silences(reader: &Reader) -> Result<HashMap<Box<str>, UnixMicros>, JournalError> {
    let vm = Globs::parse(["/*"]).unwrap_or_default();
    let query = Query { vm, kind: vec![RecordKind::Finding], ..Query::default() };
    let mut silent = HashMap::new();
    for record in reader.last(&query, RECORDED_MAX)?.records {
        let Body::Finding { finding, data, .. } = &record.body else { continue };
        match &**finding {
            HOST_SILENT => {
                let data: Value =
                    data.as_deref().and_then(|data| serde_json::from_str(data).ok()).unwrap_or_default();
                let last = data.get("last_heard").and_then(Value::as_str).and_then(|text| text.parse().ok());
                silent.insert(Box::from(&*record.vm), last.unwrap_or(record.received));
            }
            HOST_ANSWERS_AGAIN => _ = silent.remove(&*record.vm),
            _ => {}
        }
    }
    Ok(silent)
}

/// Appends a finding about a host, by its name.
async fn append(
    appender: &Appender,
    host: &str,
    kind: &'static str,
    summary: String,
    data: &Value,
) -> Result<(), JournalEnded> {
    data.as_object().into_iter().for_each(|data| assert_listed(kind, data));
    let (summary, data) = (summary.into(), Some(data.to_string().into()));
    let body = Body::Finding { finding: kind.into(), summary, causes: Vec::new(), data };
    let mut batch = Batch::new();
    batch.push(&Draft { vm: host, received: clock::now(), body });
    appender.append_when_room(&mut batch).await.map(drop)
}
