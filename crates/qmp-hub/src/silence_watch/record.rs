//! The findings about silence. They are not conclusions from records: the hub itself sent a probe.

use qmp_findings::QUERY;
use qmp_host::clock::Clock;
use qmp_journal::{Appender, Batch, Draft};
use qmp_settings::span;
use qmp_wire::{Body, Causes, UnixMicros};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::commands::CommandInFlight;
use crate::observer::VmStates;
use crate::silence::{ANSWERS_AGAIN, MonitorProcess, SILENT, Spell};
use crate::vm::FollowedVm;

/// Where silences are recorded.
#[derive(Debug)]
pub(crate) struct Recorder {
    pub(crate) appender: Appender,
    pub(crate) vm_states: VmStates,
    /// Whether findings are recorded; silence is always shown.
    pub(crate) records_findings: bool,
    pub(crate) clock: Clock,
}

/// Records that a monitor does not answer. The watch retries if the journal has no room.
pub(crate) fn record_silence(vm: &FollowedVm, spell: Spell, now: Instant, recorder: &Recorder) {
    if !recorder.records_findings {
        tracing::warn!(vm = %vm.name, "the monitor does not answer");
        return vm.silence.recorded(None);
    }
    let length = length(spell, now);
    let seen = MonitorProcess::look(vm.silence.pid());
    let mut summary = format!("The monitor has not answered for {length}: {}", seen.explained());
    let mut data = json!({"silent_since": spell.since.to_string(), "asked": "query-status"});
    if let MonitorProcess { pid: Some(pid), state: Some(state) } = seen {
        data["process"] = json!({"pid": pid, "state": state});
    }
    if let Some(pending) = vm.commands.oldest() {
        let waited = span::describe(micros(now.saturating_duration_since(pending.began_at)));
        let CommandInFlight { execute, identity, .. } = &*pending;
        summary += &format!("; {execute} by {identity} has had no reply for {waited}");
        data["pending"] = json!({"execute": pending.execute, "client": pending.identity.to_string()});
    }
    summary.push('.');
    let last = recorder.vm_states.last(vm.name.as_str());
    let (received, causes) = (recorder.clock.now(), last.into_iter().collect());
    if append(&recorder.appender, vm, received, SILENT, summary, causes, &data) {
        tracing::warn!(vm = %vm.name, "the monitor does not answer");
        vm.silence.recorded(last);
    }
}

/// Records that a monitor answers again after a silence that was recorded.
pub(crate) fn record_answer(
    vm: &FollowedVm,
    spell: Spell,
    now: Instant,
    received: UnixMicros,
    appender: &Appender,
) {
    tracing::info!(vm = %vm.name, "the monitor answers again");
    if !spell.is_recorded {
        return;
    }
    let summary = format!("The monitor answers again, after {}.", length(spell, now));
    let seconds = now.saturating_duration_since(spell.heard_at).as_secs_f64();
    let data = json!({"silent_since": spell.since.to_string(), "seconds": (seconds * 1e3).round() / 1e3});
    // Without room the epoch ends with an overrun, which is recorded.
    let _ = append(appender, vm, received, ANSWERS_AGAIN, summary, spell.last.into_iter().collect(), &data);
}

/// Records the run state in the reply to a probe, if it differs from the run state by the records. An event that is being
/// appended precedes the record, so the run state after it decides.
pub(crate) fn record_run_state(vm: &FollowedVm, run_state: &str, recorder: &Recorder) {
    let name = vm.name.as_str();
    let vm_states = &recorder.vm_states;
    let is_known = vm_states.run_states([name].into_iter(), |known| known == Some(run_state)).contains(&true);
    if !recorder.records_findings || is_known {
        return;
    }
    let data = json!({"execute": "query-status", "return": {"status": run_state}});
    let causes = vm_states.last(name).into_iter().collect();
    // Without room the epoch ends with an overrun, which is recorded.
    let (received, summary) = (recorder.clock.now(), format!("query-status: {run_state}"));
    let _ = append(&recorder.appender, vm, received, QUERY, summary, causes, &data);
}

/// Appends a finding about `vm`. Returns whether the journal had room.
fn append(
    appender: &Appender,
    vm: &FollowedVm,
    received: UnixMicros,
    kind: &'static str,
    summary: String,
    causes: Causes,
    data: &Value,
) -> bool {
    data.as_object().into_iter().for_each(|data| qmp_findings::assert_listed(kind, data));
    let (summary, data) = (summary.into(), Some(data.to_string().into()));
    let body = Body::Finding { finding: kind.into(), summary, causes, data };
    let mut batch = Batch::new();
    batch.push(&Draft { vm: vm.name.as_str(), received, body });
    appender.append(&mut batch).is_ok()
}

fn length(spell: Spell, now: Instant) -> String {
    span::describe(micros(now.saturating_duration_since(spell.heard_at)))
}

fn micros(span: std::time::Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}
