//! Lists of jobs.

use qmp_events::Release;
use serde_json::{Value, json};

use super::job::{Job, Kind, Status};
use crate::{commands::Entry, event::strip_nulls, vm::Vm};

/// Source: measured; the member exists since 8.2.
const ACTIVELY_SYNCED_SINCE: Release = Release::new(8, 2);

pub(super) fn commands() -> Vec<Entry> {
    vec![
        Entry::plain("query-jobs", |vm| Ok(list(vm, |_| true, of_job))).since(3, 0),
        Entry::plain("query-block-jobs", |vm| {
            let release = vm.release;
            Ok(list(vm, |job| job.kind.is_block_job(), |job| of_block_job(job, release)))
        })
        .since(1, 1),
    ]
}

/// Lists the jobs, the newest first.
fn list(vm: &Vm, which: impl Fn(&Job) -> bool, print: impl Fn(&Job) -> Value) -> Value {
    let mut list =
        Value::Array(vm.devices.jobs.jobs.iter().rev().filter(|job| which(job)).map(print).collect());
    strip_nulls(&mut list);
    list
}

fn of_job(job: &Job) -> Value {
    json!({
        "id": job.id, "type": job.kind.as_str(), "status": job.status.as_str(),
        "current-progress": job.offset, "total-progress": job.len, "error": job.error,
    })
}

fn of_block_job(job: &Job, release: Release) -> Value {
    // A mirror that has only its final step left blocks its source, and counts as paused.
    let blocks_source = job.kind.gets_ready() && job.status == Status::Pending;
    let active = job.kind == Kind::Mirror && release >= ACTIVELY_SYNCED_SINCE;
    json!({
        "type": job.kind.as_str(), "device": job.id, "len": job.len, "offset": job.offset, "speed": job.speed,
        "busy": false, "paused": job.paused || blocks_source, "io-status": if job.io_failed { "failed" } else { "ok" },
        "ready": matches!(job.status, Status::Ready | Status::Standby), "status": job.status.as_str(),
        "auto-finalize": job.auto_finalize, "auto-dismiss": job.auto_dismiss, "error": job.error,
        "actively-synced": active.then_some(false),
    })
}
