//! `GET /metrics`: metrics for Prometheus.
//!
//! Labels are names of the operator's configuration, of the catalogue or of this program; text from a VM never becomes a
//! label, except in `qmp_vm_info`. Samples of VMs of other hosts have the label `host`. Counters begin when the hub starts. [`qmp_hub::VmCounts`] and [`qmp_journal`] count; this module names the
//! metrics.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use qmp_host::blocking;
use qmp_hub::{Counter, VmCounts};
use qmp_hub::{FollowedVm, MonitorState};
use qmp_journal::{Health, JournalVm};
use qmp_wire::QualifiedName;

use super::exposition::{Exposition, MEDIA_TYPE, Type};
use super::{foreign, relays, run_states, sinks, sources};
use crate::state::ApiState;

/// Bytes of a label that a VM reports: its own name.
const VM_LABEL_MAX_BYTES: usize = 128;

pub(super) async fn metrics(State(api): State<ApiState>) -> Response {
    let text = blocking(move || text(&api)).await;
    ([(header::CONTENT_TYPE, MEDIA_TYPE), (header::CACHE_CONTROL, "no-store")], text).into_response()
}

fn text(api: &ApiState) -> String {
    let mut to = Exposition::default();
    // Listed once, so that all families have the same VMs.
    let all = api.vms.all();
    let in_journal = api.reader.vms().unwrap_or_default();
    let of_other_hosts = foreign::of_other_hosts(&in_journal);
    api.vm_states.recall(of_other_hosts.iter().map(|vm| &*vm.vm));
    hub(api, &mut to);
    vms(&all, &of_other_hosts, &mut to);
    run_states::metrics(api, &all, &of_other_hosts, &mut to);
    infos(api, &all, &of_other_hosts, &mut to);
    events(&all, &mut to);
    findings(api, &all, &mut to);
    relays::figures(api, &mut to);
    journal(api, &mut to);
    sinks::metrics(api, &mut to);
    sources::metrics(api, &mut to);
    to.into_text()
}

fn hub(api: &ApiState, to: &mut Exposition) {
    to.family("qmp_build_info", Type::Gauge, "The hub that runs, by version.")
        .sample(&[("version", env!("CARGO_PKG_VERSION"))], 1);
    let started = format!("{}.{:06}", api.started.0 / 1_000_000, api.started.0 % 1_000_000);
    to.family(
        "qmp_start_time_seconds",
        Type::Gauge,
        "When the hub started, in seconds since the Unix epoch.",
    )
    .sample(&[], started);
    to.family("qmp_http_readers", Type::Gauge, "Clients that read records at the moment.")
        .sample(&[], api.reader_count.readers());
    let lag = api.head().0.saturating_sub(api.vm_states.position().0);
    to.family("qmp_findings_lag_records", Type::Gauge, "Records that the correlators have not seen yet.")
        .sample(&[], lag);
}

fn vms(all: &[Arc<FollowedVm>], of_other_hosts: &[&JournalVm], to: &mut Exposition) {
    let mut attached = to.family("qmp_vm_attached", Type::Gauge, "Whether the VM's monitor is followed.");
    for vm in all {
        let is_attached = vm.status().state == MonitorState::Attached;
        attached.sample(&[("vm", vm.name.as_str())], u8::from(is_attached));
    }
    for vm in of_other_hosts {
        attached.sample(&foreign::labels(&vm.vm), u8::from(vm.attached));
    }
    let mut taken = to.family("qmp_vm_taken", Type::Gauge, "Whether the VM's monitor accepts connections and does not greet: another client holds it, QEMU hangs, or it is no monitor.");
    for vm in all {
        taken.sample(&[("vm", vm.name.as_str())], u8::from(vm.status().state == MonitorState::InUse));
    }
    let help = "Whether the VM's monitor is followed and does not answer.";
    let mut silent = to.family("qmp_vm_silent", Type::Gauge, help);
    for vm in all {
        silent.sample(&[("vm", vm.name.as_str())], u8::from(vm.silence.since().is_some()));
    }
    let help = "Attempts to attach to the VM's monitor that failed.";
    by_vm(all, to, "qmp_vm_attach_failures_total", help, |counts| &counts.attach_failures);
    let help = "Spans of certainty that were opened.";
    by_vm(all, to, "qmp_epochs_total", help, |counts| &counts.epochs);
    let help = "Spans of certainty that ended, so that something may be lost, by reason.";
    let mut gaps = to.family("qmp_gaps_total", Type::Counter, help);
    for vm in all {
        for (reason, count) in vm.counts.gaps() {
            gaps.sample(&[("vm", vm.name.as_str()), ("reason", reason)], count);
        }
    }
}

fn events(all: &[Arc<FollowedVm>], to: &mut Exposition) {
    let help = "Events that the VM reported, by name; \"other\" are those that the catalogue lacks.";
    let mut events = to.family("qmp_events_total", Type::Counter, help);
    for vm in all {
        for (event, count) in vm.counts.events() {
            events.sample(&[("vm", vm.name.as_str()), ("event", event)], count);
        }
    }
    let help = "Events that were discarded because the journal had no room.";
    by_vm(all, to, "qmp_events_discarded_total", help, |counts| &counts.events_discarded);
}

/// The names that the VMs have elsewhere.
fn infos(api: &ApiState, all: &[Arc<FollowedVm>], of_other_hosts: &[&JournalVm], to: &mut Exposition) {
    let help = "The VM's own name and UUID, which are those of its libvirt domain.";
    let mut info = to.family("qmp_vm_info", Type::Gauge, help);
    let names = all.iter().map(|vm| vm.name.as_str()).chain(of_other_hosts.iter().map(|vm| &*vm.vm));
    let names: Vec<&str> = names.collect();
    let known = api.vm_states.identities(names.iter().copied(), |name, uuid| {
        let is_known = name.is_some() || uuid.is_some();
        is_known.then(|| [name, uuid].map(|text| cut(text.unwrap_or_default()).to_owned()))
    });
    for (vm, identity) in names.into_iter().zip(known) {
        let Some([domain, uuid]) = identity else { continue };
        let own = [("domain", &*domain), ("uuid", &*uuid)];
        match QualifiedName::divide(vm) {
            (Some(host), vm) => info.sample(&[&[("host", host), ("vm", vm)], &own[..]].concat(), 1),
            (None, vm) => info.sample(&[&[("vm", vm)], &own[..]].concat(), 1),
        }
    }
}

/// The beginning of a text of a VM, as a label.
fn cut(text: &str) -> &str {
    let end = (0..=text.len().min(VM_LABEL_MAX_BYTES)).rev().find(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or(0)]
}

fn findings(api: &ApiState, all: &[Arc<FollowedVm>], to: &mut Exposition) {
    let help = "Findings about the VM, by kind.";
    let mut findings = to.family("qmp_findings_total", Type::Counter, help);
    for vm in all {
        for (finding, count) in api.vm_states.findings(vm.name.as_str()) {
            findings.sample(&[("vm", vm.name.as_str()), ("finding", finding)], count);
        }
    }
}

fn by_vm(
    all: &[Arc<FollowedVm>],
    to: &mut Exposition,
    name: &'static str,
    help: &str,
    counter: fn(&VmCounts) -> &Counter,
) {
    let mut family = to.family(name, Type::Counter, help);
    for vm in all {
        family.sample(&[("vm", vm.name.as_str())], counter(&vm.counts).get());
    }
}

fn journal(api: &ApiState, to: &mut Exposition) {
    let figures = api.gauge.read();
    let mut records = to.family("qmp_journal_records_total", Type::Counter, "Records committed, by kind.");
    for (kind, count) in &figures.records {
        records.sample(&[("kind", kind.name())], count);
    }
    to.family("qmp_journal_head_offset", Type::Gauge, "The offset of the last record that is committed.")
        .sample(&[], api.head().0);
    to.family("qmp_journal_first_offset", Type::Gauge, "The offset of the first record that is kept.")
        .sample(&[], figures.first);
    let help = "Records removed because they were too old or too many.";
    to.family("qmp_journal_records_removed_total", Type::Counter, help).sample(&[], figures.removed);
    to.family("qmp_journal_commits_total", Type::Counter, "Transactions that succeeded.")
        .sample(&[], figures.commits);
    to.family("qmp_journal_commit_failures_total", Type::Counter, "Attempts to write that failed.")
        .sample(&[], figures.commit_failures);
    let is_stalled = *api.health.borrow() != Health::Writing;
    to.family("qmp_journal_stalled", Type::Gauge, "Whether the journal cannot be written.")
        .sample(&[], u8::from(is_stalled));
    to.family("qmp_journal_queue_bytes", Type::Gauge, "Bytes that wait to be written.")
        .sample(&[], figures.queue_bytes);
    to.family(
        "qmp_journal_queue_limit_bytes",
        Type::Gauge,
        "Bytes that may wait before events are discarded.",
    )
    .sample(&[], figures.queue_max_bytes);
    let mut size = to.family("qmp_journal_size_bytes", Type::Gauge, "Size of the journal and its log.");
    size.sample(&[("file", "journal")], figures.file_bytes);
    size.sample(&[("file", "log")], figures.log_bytes);
}
