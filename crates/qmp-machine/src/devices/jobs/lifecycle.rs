//! The lifecycle of a job: start, work, completion.

use qmp_events::{EventKind, Release};
use serde_json::{Value, json};

use super::{
    job::{Job, Kind, Policy, Status},
    work::{skip, work, work_on},
};
use crate::{
    devices::block::{Errno, Operation, access},
    vm::Vm,
};

/// Bytes of a node without data that a job processes before the reply to its command.
const QUICK_BYTES: u64 = 16 << 20;

/// Source: measured; 7.2 pauses jobs once before it cancels them at its exit, 11.1 twice.
const EXIT_PAUSES_TWICE_SINCE: Release = Release::new(8, 0);

/// Enters a state and raises the event for it.
pub(super) fn enter(vm: &mut Vm, number: u64, status: Status) {
    let Some(job) = vm.devices.jobs.by_number(number) else { return };
    job.status = status;
    let id = job.id.clone();
    vm.raise(EventKind::JobStatusChange, json!({"id": id, "status": status.as_str()}));
}

fn job(vm: &mut Vm, number: u64) -> Option<&mut Job> {
    vm.devices.jobs.by_number(number)
}

/// Starts a job that is in the list.
pub(super) fn start(vm: &mut Vm, number: u64) {
    enter(vm, number, Status::Created);
    enter(vm, number, Status::Running);
    let Some(Job { kind, source, len, speed, .. }) = job(vm, number).cloned() else { return };
    if kind == Kind::Backup {
        // A backup stops the input and output of its source while it inserts its filter node.
        enter(vm, number, Status::Paused);
        enter(vm, number, Status::Running);
    }
    let holds_no_data =
        vm.devices.block.nodes.get(&source).is_some_and(|node| node.driver.starts_with("null-"));
    if holds_no_data && len <= QUICK_BYTES && speed == 0 {
        work(vm, number, len);
    } else {
        work_on(vm, number);
    }
}

pub(super) fn get_ready(vm: &mut Vm, number: u64) {
    enter(vm, number, Status::Ready);
    raise_ready(vm, number);
}

fn raise_ready(vm: &mut Vm, number: u64) {
    let Some(job) = job(vm, number) else { return };
    let data = block_job(job);
    vm.raise(EventKind::BlockJobReady, data);
}

/// Returns the members that most events of block jobs share.
fn block_job(job: &Job) -> Value {
    json!({
        "type": job.kind.as_str(), "device": job.id, "len": job.len, "offset": job.offset, "speed": job.speed,
        "error": job.error,
    })
}

/// Applies the error policy after the source or the target failed.
pub(super) fn fail(vm: &mut Vm, number: u64, operation: Operation, error: Errno, bytes: u64) {
    let Some(job) = job(vm, number) else { return };
    let policy = if operation == Operation::Read { job.on_source_error } else { job.on_target_error };
    let action = match policy {
        Policy::Ignore => "ignore",
        Policy::Stop => "stop",
        Policy::Enospc if error == Errno::NoSpace => "stop",
        Policy::Report | Policy::Enospc | Policy::Auto => "report",
    };
    let data = json!({"device": job.id, "operation": operation.as_str(), "action": action});
    if action == "stop" {
        job.paused = true;
        job.io_failed = true;
    }
    vm.raise(EventKind::BlockJobError, data);
    match action {
        "stop" => pause(vm, number),
        "ignore" => vm.soon(move |vm| skip(vm, number, bytes)),
        _ => vm.soon(move |vm| abort(vm, number, error.text())),
    }
}

/// Fails a mirror that was ready because its target refused a write.
pub(in crate::devices) fn mirror_write(vm: &mut Vm, node: &str) {
    let jobs = vm.devices.jobs.jobs.iter();
    let ready =
        jobs.filter(|job| *job.source == *node && job.status == Status::Ready && job.kind.gets_ready());
    for (number, target) in ready.map(|job| (job.number, job.target.clone())).collect::<Vec<_>>() {
        let Some(target) = target else { continue };
        if let Err(error) = access(vm, &target, Operation::Write) {
            fail(vm, number, Operation::Write, error, 0);
        }
    }
}

pub(super) fn pause(vm: &mut Vm, number: u64) {
    let ready = job(vm, number).is_some_and(|job| job.status == Status::Ready);
    enter(vm, number, if ready { Status::Standby } else { Status::Paused });
}

/// Resumes a job after a pause.
pub(super) fn resume(vm: &mut Vm, number: u64) {
    let Some(job) = job(vm, number) else { return };
    let (was_ready, had_failed) = (job.status == Status::Standby, job.io_failed);
    job.paused = false;
    job.io_failed = false;
    if !was_ready {
        enter(vm, number, Status::Running);
        let done = vm.devices.jobs.by_number(number).map_or(0, |job| job.len.saturating_sub(job.offset));
        // A failed piece is retried at once.
        if had_failed {
            work(vm, number, done.min(QUICK_BYTES));
        } else {
            work_on(vm, number);
        }
        return;
    }
    enter(vm, number, Status::Ready);
    if had_failed {
        raise_ready(vm, number);
    }
    complete_soon(vm, number);
}

/// Finishes a ready job that was asked to complete and is not paused, after the reply to the current command.
pub(super) fn complete_soon(vm: &mut Vm, number: u64) {
    vm.soon(move |vm| {
        if job(vm, number).is_some_and(|job| job.status == Status::Ready && job.completes) {
            finish(vm, number);
        }
    });
}

/// Ends the work of a job; only the final changes remain.
pub(super) fn finish(vm: &mut Vm, number: u64) {
    enter(vm, number, Status::Waiting);
    enter(vm, number, Status::Pending);
    let Some(job) = job(vm, number) else { return };
    if job.auto_finalize {
        return complete(vm, number);
    }
    if job.kind.is_block_job() {
        let data = json!({"type": job.kind.as_str(), "id": job.id});
        vm.raise(EventKind::BlockJobPending, data);
    }
}

/// Makes the final changes.
pub(super) fn complete(vm: &mut Vm, number: u64) {
    let Some(job) = job(vm, number) else { return };
    let (is_block_job, data) = (job.kind.is_block_job(), block_job(job));
    if is_block_job {
        vm.raise(EventKind::BlockJobCompleted, data);
    }
    conclude(vm, number);
}

/// Rolls the job back after an error.
pub(super) fn abort(vm: &mut Vm, number: u64, error: &str) {
    let Some(job) = job(vm, number) else { return };
    job.error = Some(error.into());
    enter(vm, number, Status::Aborting);
    complete(vm, number);
}

/// Rolls the job back because a command cancelled it.
pub(super) fn cancel(vm: &mut Vm, number: u64) {
    let Some(job) = job(vm, number) else { return };
    match job.status {
        Status::Paused => {
            let (retries, target) = (job.io_failed, job.target.clone());
            enter(vm, number, Status::Running);
            // The failed piece is retried before the job notices that it is cancelled.
            let succeeds = target.is_none_or(|target| access(vm, &target, Operation::Write).is_ok());
            if let Some(job) = vm.devices.jobs.by_number(number).filter(|_| retries && succeeds) {
                job.offset = job.offset.saturating_add(QUICK_BYTES).min(job.len);
            }
        }
        Status::Standby => enter(vm, number, Status::Ready),
        Status::Aborting | Status::Concluded | Status::Null => return,
        _ => {}
    }
    enter(vm, number, Status::Aborting);
    let Some(job) = vm.devices.jobs.by_number(number) else { return };
    // The event has no error.
    let data = job.kind.is_block_job().then(|| block_job(job));
    job.error = Some("Operation canceled".into());
    if let Some(data) = data {
        vm.raise(EventKind::BlockJobCancelled, data);
    }
    conclude(vm, number);
}

fn conclude(vm: &mut Vm, number: u64) {
    enter(vm, number, Status::Concluded);
    if job(vm, number).is_some_and(|job| job.auto_dismiss) {
        dismiss(vm, number);
    }
}

/// Removes a job from the list.
pub(super) fn dismiss(vm: &mut Vm, number: u64) {
    enter(vm, number, Status::Null);
    vm.devices.jobs.jobs.retain(|job| job.number != number);
}

/// Pauses and cancels every job when the process exits.
pub(in crate::devices) fn at_exit(vm: &mut Vm) {
    let pauses = if vm.release >= EXIT_PAUSES_TWICE_SINCE { 2 } else { 1 };
    for number in vm.devices.jobs.jobs.iter().map(|job| job.number).collect::<Vec<_>>() {
        let Some(Job { status, .. }) = job(vm, number).cloned() else { continue };
        if matches!(status, Status::Running | Status::Ready) {
            for _ in 0..pauses {
                pause(vm, number);
                enter(vm, number, status);
            }
        }
        cancel(vm, number);
    }
}
