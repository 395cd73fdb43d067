//! The work of a job: which bytes it copies, how fast, and the next state when all are copied.

use std::time::Duration;

use super::{
    job::{Job, Status},
    lifecycle,
};
use crate::{
    devices::block::{Operation, access},
    vm::Vm,
};

/// Speed of a job without a limit, in bytes a second.
const BYTES_PER_SECOND: u64 = 1 << 30;

/// Minimum bytes that a job with a speed limit copies before it sleeps: it works first and sleeps afterwards.
///
/// Source: measured; a mirror of 1 MiB limited to 1 KiB a second has copied all of it at once.
const PIECE_BYTES: u64 = 1 << 20;

/// Interval at which a job makes progress.
///
/// Source: QEMU's jobs sleep in slices of 100 ms when their speed is limited.
const SLICE: Duration = Duration::from_millis(100);

/// Continues the work, as fast as the limit allows.
pub(super) fn work_on(vm: &mut Vm, number: u64) {
    let Some(Job { len, offset, speed, .. }) = vm.devices.jobs.by_number(number).cloned() else { return };
    let remaining = len.saturating_sub(offset);
    if speed != 0 {
        return work_ahead(vm, number, remaining.min((speed / 10).max(PIECE_BYTES)), speed);
    }
    let whole = time_for(remaining, BYTES_PER_SECOND);
    let (after, bytes) = if whole <= SLICE { (whole, remaining) } else { (SLICE, BYTES_PER_SECOND / 10) };
    vm.later(after, move |vm| {
        if works(vm, number) {
            work(vm, number, bytes);
        }
    });
}

/// Copies a piece at once, then sleeps for the time that follows from the speed.
fn work_ahead(vm: &mut Vm, number: u64, bytes: u64, speed: u64) {
    vm.soon(move |vm| {
        if works(vm, number) && copy(vm, number, bytes) {
            sleep(vm, number, bytes, speed);
        }
    });
}

/// Sleeps for the time that follows from a piece and the speed, then continues.
fn sleep(vm: &mut Vm, number: u64, bytes: u64, speed: u64) {
    vm.later(time_for(bytes, speed), move |vm| {
        if works(vm, number) {
            proceed(vm, number);
        }
    });
}

/// Continues after a piece whose error was ignored. A job with a speed limit sleeps as after a copied one.
pub(super) fn skip(vm: &mut Vm, number: u64, bytes: u64) {
    advance(vm, number, bytes);
    match vm.devices.jobs.by_number(number) {
        Some(&mut Job { speed, .. }) if speed != 0 && bytes != 0 => sleep(vm, number, bytes, speed),
        _ => proceed(vm, number),
    }
}

fn time_for(bytes: u64, bytes_per_second: u64) -> Duration {
    Duration::from_micros(bytes.saturating_mul(1_000_000) / bytes_per_second)
}

fn works(vm: &mut Vm, number: u64) -> bool {
    vm.devices.jobs.by_number(number).is_some_and(|job| job.status == Status::Running && !job.paused)
}

/// Copies a piece and continues.
pub(super) fn work(vm: &mut Vm, number: u64, bytes: u64) {
    if copy(vm, number, bytes) {
        proceed(vm, number);
    }
}

/// Copies a piece; returns `false` if that failed.
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
        Err(error) => lifecycle::fail(vm, number, operation, error, bytes),
    }
    copied.is_ok()
}

pub(super) fn advance(vm: &mut Vm, number: u64, bytes: u64) {
    let Some(job) = vm.devices.jobs.by_number(number) else { return };
    job.offset = job.offset.saturating_add(bytes).min(job.len);
}

/// Continues after a piece: copies the next one, becomes ready or finishes.
pub(super) fn proceed(vm: &mut Vm, number: u64) {
    let Some(job) = vm.devices.jobs.by_number(number) else { return };
    if job.offset < job.len {
        work_on(vm, number);
    } else if job.kind.gets_ready() {
        lifecycle::get_ready(vm, number);
    } else {
        lifecycle::finish(vm, number);
    }
}
