//! The commands that control jobs: pause, resume, cancel, complete, finalize, dismiss, set the speed.

use qmp_server::{ObjectType, Refusal, Type};
use serde::Deserialize;

use super::{
    job::{Job, Status},
    lifecycle, start,
};
use crate::{
    commands::Entry,
    refusals::{device_not_active, generic},
    vm::Vm,
};

/// An operation on a job, and the states in which it is allowed.
///
/// Source: the replies of QEMU's `job.c`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    Cancel,
    Pause,
    Resume,
    SetSpeed,
    Complete,
    Finalize,
    Dismiss,
}

impl Verb {
    fn as_str(self) -> &'static str {
        match self {
            Self::Cancel => "cancel",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::SetSpeed => "set-speed",
            Self::Complete => "complete",
            Self::Finalize => "finalize",
            Self::Dismiss => "dismiss",
        }
    }

    fn is_allowed(self, status: Status) -> bool {
        use Status::{Concluded, Created, Paused, Pending, Ready, Running, Standby, Waiting};
        match self {
            Self::Cancel => {
                matches!(status, Created | Running | Paused | Ready | Standby | Waiting | Pending)
            }
            Self::Pause | Self::Resume | Self::SetSpeed => {
                matches!(status, Created | Running | Paused | Ready | Standby)
            }
            Self::Complete => matches!(status, Created | Ready | Standby),
            Self::Finalize => status == Pending,
            Self::Dismiss => status == Concluded,
        }
    }
}

/// The family of commands that controls a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    /// `job-…`, for all jobs.
    Job,
    /// `block-job-…`, for block jobs.
    BlockJob,
}

#[derive(Deserialize)]
struct Steer {
    #[serde(alias = "device")]
    id: Box<str>,
    force: Option<bool>,
    speed: Option<i64>,
}

#[derive(Deserialize)]
struct FailJob {
    id: Box<str>,
    error: Option<Box<str>>,
}

pub(super) fn commands() -> Vec<Entry> {
    let job = |name: &'static str, verb: Verb| {
        let describe = |arguments: ObjectType| arguments.required("id", Type::Str);
        Entry::new(name, describe, move |vm, order| steer(vm, Family::Job, verb, &order)).since(3, 0)
    };
    let block = |name: &'static str, verb: Verb| {
        let describe = move |arguments: ObjectType| match verb {
            Verb::Finalize | Verb::Dismiss => arguments.required("id", Type::Str),
            Verb::Cancel => arguments.required("device", Type::Str).optional("force", Type::Bool),
            Verb::SetSpeed => arguments.required("device", Type::Str).required("speed", Type::Int),
            _ => arguments.required("device", Type::Str),
        };
        Entry::new(name, describe, move |vm, order| steer(vm, Family::BlockJob, verb, &order))
    };
    let fail = |arguments: ObjectType| arguments.required("id", Type::Str).optional("error", Type::Str);
    vec![
        job("job-pause", Verb::Pause),
        job("job-resume", Verb::Resume),
        job("job-cancel", Verb::Cancel),
        job("job-complete", Verb::Complete),
        job("job-finalize", Verb::Finalize),
        job("job-dismiss", Verb::Dismiss),
        block("block-job-pause", Verb::Pause).since(1, 3),
        block("block-job-resume", Verb::Resume).since(1, 3),
        block("block-job-cancel", Verb::Cancel).since(1, 1),
        block("block-job-complete", Verb::Complete).since(1, 3),
        block("block-job-set-speed", Verb::SetSpeed).since(1, 1),
        block("block-job-finalize", Verb::Finalize).since(2, 12),
        block("block-job-dismiss", Verb::Dismiss).since(2, 12),
        Entry::new("x-host-fail-job", fail, |vm, FailJob { id, error }| {
            let number = find(vm, Family::Job, &id)?.number;
            lifecycle::abort(vm, number, error.as_deref().unwrap_or("Input/output error"));
            Ok(())
        }),
    ]
}

fn find<'a>(vm: &'a Vm, family: Family, id: &str) -> Result<&'a Job, Refusal> {
    let job = vm.devices.jobs.find(id);
    match family {
        Family::Job => job.ok_or_else(|| generic("Job not found")),
        Family::BlockJob => job
            .filter(|job| job.kind.is_block_job())
            .ok_or_else(|| device_not_active(format!("Block job '{id}' not found"))),
    }
}

fn steer(vm: &mut Vm, family: Family, verb: Verb, order: &Steer) -> Result<(), Refusal> {
    let job = find(vm, family, &order.id)?.clone();
    // QEMU checks that the job was paused before it checks the state.
    if verb == Verb::Resume && !job.paused {
        return Err(generic("Can't resume a job that was not paused"));
    }
    if !verb.is_allowed(job.status) {
        let (id, status) = (&job.id, job.status.as_str());
        let verb = verb.as_str();
        return Err(generic(format!("Job '{id}' in state '{status}' cannot accept command verb '{verb}'")));
    }
    match verb {
        Verb::Pause => return pause(vm, &job),
        Verb::Complete => return complete(vm, &job),
        Verb::Resume => lifecycle::resume(vm, job.number),
        Verb::Cancel => cancel(vm, &job, family == Family::Job || order.force.unwrap_or(false)),
        Verb::SetSpeed => {
            let speed = start::speed(order.speed)?;
            if let Some(job) = vm.devices.jobs.by_number(job.number) {
                job.speed = speed;
            }
        }
        Verb::Finalize => lifecycle::complete(vm, job.number),
        Verb::Dismiss => lifecycle::dismiss(vm, job.number),
    }
    Ok(())
}

fn pause(vm: &mut Vm, job: &Job) -> Result<(), Refusal> {
    if job.paused {
        return Err(generic("Job is already paused"));
    }
    if let Some(job) = vm.devices.jobs.by_number(job.number) {
        job.paused = true;
    }
    lifecycle::pause(vm, job.number);
    Ok(())
}

fn complete(vm: &mut Vm, job: &Job) -> Result<(), Refusal> {
    if !job.kind.gets_ready() {
        return Err(generic(format!("The active block job '{}' cannot be completed", job.id)));
    }
    if let Some(job) = vm.devices.jobs.by_number(job.number) {
        job.completes = true;
    }
    lifecycle::complete_soon(vm, job.number);
    Ok(())
}

/// Cancels a job; a ready job that is not forced ends successfully, only without its final step.
fn cancel(vm: &mut Vm, job: &Job, force: bool) {
    let number = job.number;
    let ends_well = job.status == Status::Ready && !force;
    let Some(cancelled) = vm.devices.jobs.by_number(number).map(|job| &mut job.cancelled) else { return };
    if std::mem::replace(cancelled, true) {
        return;
    }
    // A sleeping job is woken at once; a working job notices the request at its next check.
    if matches!(job.status, Status::Paused | Status::Standby) {
        return lifecycle::cancel(vm, number);
    }
    vm.soon(move |vm| {
        let Some(job) = vm.devices.jobs.by_number(number) else { return };
        match job.status == Status::Ready && ends_well {
            true => lifecycle::finish(vm, number),
            false => lifecycle::cancel(vm, number),
        }
    });
}
