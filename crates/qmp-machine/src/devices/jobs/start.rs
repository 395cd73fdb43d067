//! The commands that start jobs.

use qmp_events::EventKind;
use qmp_server::{ObjectType, Refusal, Type};
use serde::Deserialize;
use serde_json::json;

use super::{
    job::{Job, Kind, Policy, Status},
    lifecycle,
};
use crate::{
    commands::{Entry, one_of, optional_any},
    devices::block::expect,
    refusals::generic,
    vm::Vm,
};

/// The arguments of all commands that start block jobs; each command has some of them.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Start {
    job_id: Option<Box<str>>,
    device: Box<str>,
    target: Option<Box<str>>,
    top: Option<Box<str>>,
    top_node: Option<Box<str>>,
    speed: Option<i64>,
    sync: Option<Box<str>>,
    granularity: Option<u32>,
    buf_size: Option<i64>,
    on_error: Option<Policy>,
    on_source_error: Option<Policy>,
    on_target_error: Option<Policy>,
    auto_finalize: Option<bool>,
    auto_dismiss: Option<bool>,
}

/// The arguments of jobs that are not block jobs.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct StartOther {
    job_id: Box<str>,
    node_name: Option<Box<str>>,
    options: Option<Image>,
}

/// An image to create: a file, or a format on a node.
#[derive(Deserialize)]
struct Image {
    filename: Option<Box<str>>,
    file: Option<serde_json::Value>,
    size: Option<u64>,
}

fn policy() -> Type {
    Type::one_of("BlockdevOnError", ["report", "ignore", "enospc", "stop", "auto"])
}

/// The granularities of a mirror, in bytes.
const GRANULARITIES: std::ops::RangeInclusive<u32> = 512..=64 << 20;

/// Adds the arguments of a block job.
fn block_job(arguments: ObjectType, more: &str) -> ObjectType {
    let arguments = arguments
        .optional("job-id", Type::Str)
        .required("device", Type::Str)
        .optional("speed", Type::Int)
        .optional("auto-finalize", Type::Bool)
        .optional("auto-dismiss", Type::Bool);
    more.split_whitespace().fold(arguments, |arguments, name| match name {
        "target" => arguments.required(name, Type::Str),
        "sync" => arguments.required(name, one_of("MirrorSyncMode", SYNC_MODES)),
        "granularity" => arguments.optional(name, Type::Uint32),
        "buf-size" => arguments.optional(name, Type::Int),
        "on-error" | "on-source-error" | "on-target-error" => arguments.optional(name, policy()),
        _ => arguments.optional(name, Type::Any),
    })
}

const SYNC_MODES: &str = "top full none incremental bitmap";

const MIRROR: &str = "\
    target sync on-source-error on-target-error replaces granularity buf-size filter-node-name \
    copy-mode mode format node-name";
const BACKUP: &str = "\
    target sync on-source-error on-target-error bitmap bitmap-mode compress filter-node-name x-perf \
    mode format discard-source";
const STREAM: &str = "\
    base base-node backing-file bottom on-error filter-node-name snapshot-node-name";
const COMMIT: &str = "\
    base base-node top top-node backing-file on-error filter-node-name";

pub(super) fn commands() -> Vec<Entry> {
    let block = |name: &'static str, kind: Kind, more: &'static str| {
        Entry::new(
            name,
            move |arguments| block_job(arguments, more),
            move |vm, start: Start| begin(vm, kind, &start),
        )
    };
    let other = |name: &'static str, kind: Kind, more: &'static str| {
        let describe = move |arguments: ObjectType| {
            let arguments = arguments.required("job-id", Type::Str);
            optional_any(arguments, more)
        };
        Entry::new(name, describe, move |vm, start| begin_other(vm, kind, start))
    };
    const SNAPSHOT: &str = "\
    tag vmstate devices";
    vec![
        block("drive-mirror", Kind::Mirror, MIRROR).since(1, 3),
        block("blockdev-mirror", Kind::Mirror, MIRROR).since(2, 6),
        block("drive-backup", Kind::Backup, BACKUP).since(1, 6),
        block("blockdev-backup", Kind::Backup, BACKUP).since(2, 3),
        block("block-stream", Kind::Stream, STREAM).since(1, 1),
        block("block-commit", Kind::Commit, COMMIT).since(1, 3),
        other("blockdev-create", Kind::Create, "options").since(3, 0),
        other("x-blockdev-amend", Kind::Amend, "node-name options force").since(5, 1),
        other("snapshot-save", Kind::SnapshotSave, SNAPSHOT).since(6, 0),
        other("snapshot-load", Kind::SnapshotLoad, SNAPSHOT).since(6, 0),
        other("snapshot-delete", Kind::SnapshotDelete, SNAPSHOT).since(6, 0),
    ]
}

/// Returns the node of a name: a node name, or a device whose medium is the node.
fn node_of(vm: &Vm, name: &str) -> Result<Box<str>, Refusal> {
    let medium = vm.devices.bus.find(name).and_then(|device| device.text("drive"));
    Ok(expect(vm, medium.unwrap_or(name))?.name.clone())
}

fn begin(vm: &mut Vm, kind: Kind, start: &Start) -> Result<(), Refusal> {
    let source = node_of(vm, &start.device)?;
    match kind {
        Kind::Mirror | Kind::Commit if vm.devices.jobs.users(&source).next().is_some() => {
            return Err(generic("Need a root block node"));
        }
        _ => vm.devices.jobs.expect_unblocked(&source)?,
    }
    let by_device = vm.devices.bus.find(&start.device).map(|device| device.id.clone().unwrap_or_default());
    // A node that is the medium of no device provides no default identifier.
    let id = start.job_id.clone().or(by_device).unwrap_or_default();
    let len = expect(vm, &source)?.size_bytes;
    let target = match (kind, &start.target) {
        (Kind::Mirror | Kind::Backup, Some(target)) => Some(target_node(vm, target)?),
        _ => None,
    };
    let kind = if kind == Kind::Commit && start.top.is_none() && start.top_node.is_none() {
        Kind::ActiveCommit
    } else {
        kind
    };
    check_copy(kind, start, target.as_ref() == Some(&source))?;
    if let Some(target) = &target {
        vm.devices.jobs.expect_unblocked(target)?;
    }
    check_id(vm, &id)?;
    let speed = speed(start.speed).inspect_err(|_| {
        // QEMU makes the job, and then sets its speed.
        for status in [Status::Created, Status::Null] {
            vm.raise(EventKind::JobStatusChange, json!({"status": status.as_str(), "id": id}));
        }
    })?;
    let on_error = start.on_error.unwrap_or_default();
    let job = Job {
        id,
        number: 0,
        kind,
        status: Status::Created,
        source,
        target,
        len,
        offset: 0,
        speed,
        auto_finalize: start.auto_finalize.unwrap_or(true),
        auto_dismiss: start.auto_dismiss.unwrap_or(true),
        on_source_error: start.on_source_error.unwrap_or(on_error),
        on_target_error: start.on_target_error.unwrap_or(on_error),
        error: None,
        paused: false,
        io_failed: false,
        completes: false,
        cancelled: false,
    };
    enlist(vm, job)
}

/// Refuses what a mirror or a backup cannot do, in QEMU's order.
fn check_copy(kind: Kind, start: &Start, is_same: bool) -> Result<(), Refusal> {
    match kind {
        Kind::Backup if is_same => Err(generic("Source and target cannot be the same")),
        Kind::Mirror => {
            if let Some(granularity) = start.granularity.filter(|granularity| *granularity != 0) {
                let refuse = |expected| Err(generic(format!("Parameter 'granularity' expects {expected}")));
                if !GRANULARITIES.contains(&granularity) {
                    return refuse("a value in range [512B, 64MB]");
                }
                if !granularity.is_power_of_two() {
                    return refuse("a power of 2");
                }
            }
            match start.sync.as_deref() {
                Some(sync @ ("incremental" | "bitmap")) => {
                    Err(generic(format!("Sync mode '{sync}' not supported")))
                }
                _ if start.buf_size.is_some_and(|bytes| bytes < 0) => {
                    Err(generic("Invalid parameter 'buf-size'"))
                }
                _ if is_same => Err(generic("Can't mirror node into itself")),
                _ => Ok(()),
            }
        }
        _ => Ok(()),
    }
}

/// Returns the speed of a job; 0 for no limit.
pub(super) fn speed(speed: Option<i64>) -> Result<u64, Refusal> {
    let speed = u64::try_from(speed.unwrap_or(0));
    speed.map_err(|_| generic("Parameter 'speed' expects a non-negative value"))
}

/// Returns the node of a target. A target that is a file and no node counts as one that has room and never fails.
fn target_node(vm: &Vm, target: &str) -> Result<Box<str>, Refusal> {
    if target.contains('/') { Ok(target.into()) } else { Ok(expect(vm, target)?.name.clone()) }
}

fn begin_other(vm: &mut Vm, kind: Kind, start: StartOther) -> Result<(), Refusal> {
    vm.expect_room()?;
    if let Some(Image { filename, file, size }) = &start.options {
        let (block, size) = (&mut vm.devices.block, size.unwrap_or(0));
        let node = file.as_ref().and_then(|file| file.as_str());
        block.created.extend(filename.iter().map(|name| (name.clone(), size)));
        block.formatted.extend(node.map(|name| (name.into(), size)));
    }
    let job = Job {
        id: start.job_id,
        number: 0,
        kind,
        status: Status::Created,
        source: start.node_name.unwrap_or_default(),
        target: None,
        len: 1,
        offset: 0,
        speed: 0,
        auto_finalize: true,
        auto_dismiss: false,
        on_source_error: Policy::Report,
        on_target_error: Policy::Report,
        error: None,
        paused: false,
        io_failed: false,
        completes: false,
        cancelled: false,
    };
    enlist(vm, job)
}

fn enlist(vm: &mut Vm, mut job: Job) -> Result<(), Refusal> {
    vm.expect_room()?;
    check_id(vm, &job.id)?;
    let jobs = &mut vm.devices.jobs;
    jobs.started += 1;
    let number = jobs.started;
    job.number = number;
    jobs.jobs.push(job);
    lifecycle::start(vm, number);
    Ok(())
}

/// Checks that a new job can have this identifier.
fn check_id(vm: &Vm, id: &str) -> Result<(), Refusal> {
    if vm.devices.jobs.find(id).is_some() {
        return Err(generic(format!("Job ID '{id}' already in use")));
    }
    if !is_well_formed(id) {
        return Err(generic(format!("Invalid job ID '{id}'")));
    }
    Ok(())
}

/// Returns whether an identifier follows QEMU's rule: a letter, then letters, digits and `-._`.
fn is_well_formed(id: &str) -> bool {
    id.starts_with(|first: char| first.is_ascii_alphabetic())
        && id.chars().all(|each| each.is_ascii_alphanumeric() || "-._".contains(each))
}
