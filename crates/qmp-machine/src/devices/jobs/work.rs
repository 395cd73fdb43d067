//! The work of a job: what it copies, how fast, and what comes when all is copied.

use std::time::Duration;

use super::{Job, Status, course};
use crate::{
    devices::block::{Operation, access},
    vm::Vm,
};

/// How fast a job works that has no limit.
const BYTES_PER_SECOND: u64 = 1 << 30;

/// What a job with a speed limit does at least before it rests: it works first and pays for it later.
///
/// Source: measured; a mirror of 1 MiB limited to 1 KiB a second has copied all of it at once.
const PIECE_BYTES: u64 = 1 << 20;

/// How often a job makes progress.
///
/// Source: QEMU's jobs sleep in slices of 100 ms when their speed is limited.
const SLICE: Duration = Duration::from_millis(100);

/// Goes on working, as fast as it may.
pub(super) fn work_on(vm: &mut Vm, number: u64) {
    let Some(Job { len, offset, speed, .. }) = vm.devices.jobs.by_number(number).cloned() else { return };
    let left = len.saturating_sub(offset);
    if speed != 0 {
        return work_ahead(vm, number, left.min((speed / 10).max(PIECE_BYTES)), speed);
    }
    let whole = time_for(left, BYTES_PER_SECOND);
    let (after, bytes) = if whole <= SLICE { (whole, left) } else { (SLICE, BYTES_PER_SECOND / 10) };
    vm.later(after, move |vm| {
        if works(vm, number) {
            work(vm, number, bytes);
        }
    });
}

/// Does a piece of the work at once, and then rests for as long as its speed asks for.
fn work_ahead(vm: &mut Vm, number: u64, bytes: u64, speed: u64) {
    vm.soon(move |vm| {
        if !works(vm, number) || !copy(vm, number, bytes) {
            return;
        }
        vm.later(time_for(bytes, speed), move |vm| {
            if works(vm, number) {
                proceed(vm, number);
            }
        });
    });
}

fn time_for(bytes: u64, bytes_per_second: u64) -> Duration {
    Duration::from_micros(bytes.saturating_mul(1_000_000) / bytes_per_second)
}

fn works(vm: &mut Vm, number: u64) -> bool {
    vm.devices.jobs.by_number(number).is_some_and(|job| job.status == Status::Running && !job.paused)
}

/// Does a piece of the work and goes on.
pub(super) fn work(vm: &mut Vm, number: u64, bytes: u64) {
    if copy(vm, number, bytes) {
        proceed(vm, number);
    }
}

/// Does a piece of the work; `false` if that failed.
fn copy(vm: &mut Vm, number: u64, bytes: u64) -> bool {
    let Some(Job { kind, source, target, .. }) = vm.devices.jobs.by_number(number).cloned() else {
        return false;
    };
    let mut copied = if kind.is_block_job() { access(vm, &source, Operation::Read) } else { Ok(()) };
    let mut operation = Operation::Read;
    if let (Ok(()), Some(target)) = (copied, &target) {
        copied = access(vm, target, Operation::Write);
        operation = Operation::Write;
    }
    match copied {
        Ok(()) => advance(vm, number, bytes),
        Err(error) => course::fail(vm, number, operation, error, bytes),
    }
    copied.is_ok()
}

pub(super) fn advance(vm: &mut Vm, number: u64, bytes: u64) {
    let Some(job) = vm.devices.jobs.by_number(number) else { return };
    job.offset = job.offset.saturating_add(bytes).min(job.len);
}

/// What comes after a piece of the work.
pub(super) fn proceed(vm: &mut Vm, number: u64) {
    let Some(job) = vm.devices.jobs.by_number(number) else { return };
    if job.offset < job.len {
        work_on(vm, number);
    } else if job.kind.gets_ready() {
        course::get_ready(vm, number);
    } else {
        course::finish(vm, number);
    }
}
