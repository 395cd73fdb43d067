//! Reads the history of one VM up to the requested time, and then the evidence.
//!
//! The same correlators as in the hub process the records, from a few epochs before the requested one, as far as they look
//! back. The first record is the one after the checkpoint of the VM, if a checkpoint before that time exists.

use std::ops::ControlFlow;

use jiff::tz::TimeZone;
use qmp_findings::state::VmState;
use qmp_findings::{Correlators, EPOCHS_READ, Position, SavedState};
use qmp_hub::restore_checkpoint;
use qmp_journal::RecordKind;
use qmp_wire::{Body, Causes, Epoch, Offset, Record, Seq, UnixMicros};

use super::answer::{Answer, DetachedLater, Previous};
use super::moment::Moment;
use super::notes::notes;
use super::over_hosts::over_hosts;
use super::read::{each, of_vm, received_by};
use crate::commands::log::source::Source;
use crate::exit::Failure;
use crate::hub::HubCheckpoint;
use crate::time::write;

/// Records that are read in sequence to find one; over longer distances, bisection is faster.
const SEARCHED_RECORDS: u64 = 4_096;

/// Findings at the beginning of an epoch that are searched for unseen changes before it.
const FINDINGS_SEARCHED: u32 = 64;

/// The beginning of an epoch.
struct Begin {
    epoch: Epoch,
    offset: Offset,
}

/// Reads the history and returns the answer.
pub(super) async fn answer(
    source: &Source,
    vm: &str,
    moment: Moment,
    zone: &TimeZone,
) -> Result<Answer, Failure> {
    let head = head(source).await?;
    let restored = restored(source, vm, head).await?;
    let first = first_after(source, vm, Offset(0)).await?;
    let begins = begins(source, vm, moment, (first.as_ref(), restored.as_ref()), zone).await?;
    let after = Offset(begins.first().map_or(0, |begin| begin.offset.0.saturating_sub(1)));
    let last = begins.last().map(|begin| begin.epoch);
    let is_past = |position: Position| {
        last.is_some_and(|last| position.id.0 > last)
            || moment.until().is_some_and(|until| position.received > until)
    };

    let (mut correlators, mut newest, mut before, mut from) = (Correlators::new(), None, None, after);
    if let Some(restored) = restored.filter(|it| it.offset > after && !is_past(it.position)) {
        (correlators, newest) = (restored.correlators, Some(restored.position.received));
        from = restored.offset;
    }
    let (mut detached_later, mut missing, mut is_next) = (None, None, true);
    each(source, vm, None, from, &mut |record| {
        if is_past(Position { id: (record.epoch, record.seq), received: record.received }) {
            // The first record after the last one that counts.
            missing = missing.or_else(|| correlators.missing_before(&record).filter(|_| is_next));
            is_next = false;
            return match &record.body {
                // Findings about the epoch may precede its end.
                Body::Finding { .. } if Some(record.epoch) == last => ControlFlow::Continue(()),
                _ => {
                    detached_later = uncertain_end(&record, last, moment);
                    ControlFlow::Break(())
                }
            };
        }
        newest = Some(record.received);
        if matches!(record.body, Body::Attached { .. }) && last == Some(record.epoch) {
            before = correlators.state(vm).and_then(|state| state.why).map(|why| why.summary);
        }
        correlators.record(&record, &mut Vec::new());
        ControlFlow::Continue(())
    })
    .await?;
    if let Some(now) = moment.overdue() {
        correlators.time_passed(now, &mut Vec::new());
    }
    let mut state = correlators.state(vm).unwrap_or_default();
    state.incomplete = state.incomplete.or(missing);
    let is_open_file = matches!((source, moment), (Source::File(_), Moment::Now(_))) && state.attached;
    let last_received = newest.filter(|_| is_open_file);
    let earlier = begins.iter().rev().nth(1).filter(|_| is_only_found(&state, last));
    let previous = earlier.map(|begin| Previous { epoch: begin.epoch.0, summary: before });
    let causes = causes(source, vm, &state, begins.last(), moment).await?;
    let mut evidence = evidence(source, vm, after, causes).await?;
    evidence.extend(over_hosts(source, vm, &state, moment).await?);
    let is_beginning_removed = is_beginning_removed(first.as_ref(), last);
    Ok(Answer { state, evidence, last_received, previous, is_beginning_removed, detached_later })
}

/// The end of the epoch `last` by this record, if the requested moment is after the last certain one.
fn uncertain_end(record: &Record<'_>, last: Option<Epoch>, moment: Moment) -> Option<DetachedLater> {
    let Body::Detached { reason, .. } = &record.body else { return None };
    let certain_until = record.certain_until().unwrap_or(record.received);
    let is_uncertain = moment.until().is_some_and(|moment| certain_until < moment);
    (is_uncertain && Some(record.epoch) == last)
        .then(|| DetachedLater { reason: reason.as_str().into(), certain_until })
}

/// Whether the explanation only says how the VM was found when the epoch `last` began.
fn is_only_found(state: &VmState, last: Option<Epoch>) -> bool {
    state.why.as_ref().is_none_or(|why| {
        why.causes.iter().all(|(epoch, seq)| Some(*epoch) != last || seq.0 == 0)
            && !why.details.contains_key("gap")
    })
}

/// The records that the answer shows: those of the explanation, of a silence, and of changes before the epoch began.
async fn causes(
    source: &Source,
    vm: &str,
    state: &VmState,
    begin: Option<&Begin>,
    moment: Moment,
) -> Result<Causes, Failure> {
    let mut causes = state.why.as_ref().map(|why| why.causes.clone()).unwrap_or_default();
    causes.extend(state.silence.map(|silence| silence.record));
    if let Some(begin) = begin {
        causes.extend(changed_unseen(source, vm, begin, moment).await?);
        let notes = notes(source, vm, begin.offset, (state.run_since, moment.until()), &causes).await?;
        causes.extend(notes);
    }
    Ok(causes)
}

/// Whether the first records of the epoch `last` are not kept; `first` is the first record of the VM that is.
fn is_beginning_removed(first: Option<&Record<'_>>, last: Option<Epoch>) -> bool {
    first.is_none_or(|first| last.is_some_and(|last| (first.epoch, first.seq) > (last, Seq(0))))
}

/// The finding that the VM had changed before this epoch began, if there is one, among the first findings.
async fn changed_unseen(
    source: &Source,
    vm: &str,
    begin: &Begin,
    moment: Moment,
) -> Result<Option<(Epoch, Seq)>, Failure> {
    let (mut found, mut left) = (None, FINDINGS_SEARCHED);
    each(source, vm, Some(RecordKind::Finding), begin.offset, &mut |record| {
        let is_it =
            matches!(&record.body, Body::Finding { finding, .. } if finding == "state-changed-unseen");
        if record.epoch == begin.epoch && received_by(&record, moment.until()) {
            found = is_it.then_some((record.epoch, record.seq));
            left -= 1;
        } else {
            left = 0;
        }
        if found.is_some() || left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })
    .await?;
    Ok(found)
}

/// The state of a VM from its checkpoint.
struct CheckpointState {
    correlators: Correlators,
    offset: Offset,
    position: Position,
}

/// Restores the state of a VM from its checkpoint, if the checkpoint's last record is not after `upto`.
async fn restored(source: &Source, vm: &str, upto: Offset) -> Result<Option<CheckpointState>, Failure> {
    let mut correlators = Correlators::new();
    let client = match source {
        Source::File(reader) => {
            let restored = restore_checkpoint(&mut correlators, reader, vm, (Offset(0), upto), |_| true);
            return Ok(restored.map(|it| CheckpointState {
                correlators,
                offset: it.offset,
                position: it.position,
            }));
        }
        Source::Hub(client) => client,
    };
    let Some(HubCheckpoint { offset, version, checksum, state }) = client.checkpoint(vm).await? else {
        return Ok(None);
    };
    let (offset, saved) = (Offset(offset), SavedState { version, checksum, state });
    if offset > upto || !correlators.restore(vm, offset, &saved) {
        return Ok(None);
    }
    let position = correlators.position(vm);
    Ok(position.map(|position| CheckpointState { correlators, offset, position }))
}

/// The offset of the last record.
async fn head(source: &Source) -> Result<Offset, Failure> {
    match source {
        Source::File(reader) => Ok(reader.head()?),
        Source::Hub(client) => Ok(Offset(client.info().await?.head)),
    }
}

/// The first record of a VM after an offset.
async fn first_after(source: &Source, vm: &str, after: Offset) -> Result<Option<Record<'static>>, Failure> {
    if let Source::File(reader) = source {
        return Ok(reader.cursor(of_vm(vm), after).next_batch(1)?.pop());
    }
    let mut first = None;
    each(source, vm, None, after, &mut |record| {
        first = Some(record.into_owned());
        ControlFlow::Break(())
    })
    .await?;
    Ok(first)
}

/// The records of `causes`, read after the offset `after`.
async fn evidence(
    source: &Source,
    vm: &str,
    mut after: Offset,
    mut causes: Causes,
) -> Result<Vec<Record<'static>>, Failure> {
    let mut evidence = Vec::new();
    causes.sort_unstable();
    causes.reverse();
    while let Some(cause) = causes.last().copied() {
        after = before(source, vm, after, cause).await?;
        let mut read = 0_u64;
        each(source, vm, None, after, &mut |record| {
            (read, after) = (read + 1, record.offset.unwrap_or(after));
            while causes.last().is_some_and(|cause| *cause <= (record.epoch, record.seq)) {
                if causes.pop() == Some((record.epoch, record.seq)) {
                    evidence.push(record.clone().into_owned());
                }
            }
            // The next cause may be far away.
            let is_near = read < SEARCHED_RECORDS;
            if is_near && !causes.is_empty() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })
        .await?;
        if read == 0 {
            break;
        }
    }
    Ok(evidence)
}

/// An offset before the record `wanted` of this VM, at most [`SEARCHED_RECORDS`] before it. Records of a VM are numbered in
/// ascending order, so bisection finds it.
async fn before(source: &Source, vm: &str, after: Offset, wanted: (Epoch, Seq)) -> Result<Offset, Failure> {
    let (mut low, mut high) = (after.0, head(source).await?.0);
    while high.saturating_sub(low) > SEARCHED_RECORDS {
        let middle = low + (high - low) / 2;
        match first_after(source, vm, Offset(middle)).await? {
            Some(record) if (record.epoch, record.seq) < wanted => {
                low = record.offset.map_or(middle, |offset| offset.0);
            }
            _ => high = middle,
        }
    }
    Ok(Offset(low))
}

/// The beginnings of the requested epoch and of the epochs to which correlators may look back.
///
/// An epoch whose `attached` record was removed begins at its checkpoint (`restored`), or else at its first record that is
/// kept (`kept`).
async fn begins(
    source: &Source,
    vm: &str,
    moment: Moment,
    (kept, restored): (Option<&Record<'_>>, Option<&CheckpointState>),
    zone: &TimeZone,
) -> Result<Vec<Begin>, Failure> {
    let mut begins: Vec<Begin> = Vec::new();
    let (mut first, mut latest) = (None, None);
    let mut begin = |position: Position, offset: Offset| {
        first.get_or_insert(position.received);
        if latest.is_some_and(|latest| latest >= position.id.0) {
            return ControlFlow::Continue(());
        }
        latest = Some(position.id.0);
        let is_past = match moment {
            Moment::EndOf(epoch) => position.id.0 > epoch,
            Moment::Now(_) | Moment::At(_) => moment.until().is_some_and(|until| position.received > until),
        };
        if is_past {
            return ControlFlow::Break(());
        }
        if begins.len() >= EPOCHS_READ as usize {
            begins.remove(0);
        }
        begins.push(Begin { epoch: position.id.0, offset });
        ControlFlow::Continue(())
    };
    let is_removed = |restored: &&CheckpointState| {
        kept.is_none_or(|kept| kept.offset.is_none_or(|offset| offset > restored.offset))
    };
    if let Some(restored) = restored.filter(is_removed) {
        let _ = begin(restored.position, restored.offset);
    }
    if let Some(kept) = kept {
        let _ = begin(
            Position { id: (kept.epoch, kept.seq), received: kept.received },
            kept.offset.unwrap_or_default(),
        );
    }
    each(source, vm, Some(RecordKind::Attached), Offset(0), &mut |record| {
        let (Body::Attached { .. }, Some(offset)) = (&record.body, record.offset) else {
            return ControlFlow::Continue(());
        };
        begin(Position { id: (record.epoch, record.seq), received: record.received }, offset)
    })
    .await?;
    match failure(vm, moment, begins.last().map(|begin| begin.epoch), first, zone) {
        Some(failure) => Err(failure),
        None => Ok(begins),
    }
}

/// The failure that the requested epoch is not in the journal, if it is not. `last` is the latest epoch by that moment, and
/// `first` the receipt of the first record of the VM.
fn failure(
    vm: &str,
    moment: Moment,
    last: Option<Epoch>,
    first: Option<UnixMicros>,
    zone: &TimeZone,
) -> Option<Failure> {
    let Some(first) = first else {
        return Some(
            Failure::gone(format_args!("the journal has no record of {vm}, or keeps it no longer"))
                .hint("qmp status lists the VMs of the hub, qmp log --kind attached those of the journal"),
        );
    };
    match (moment, last) {
        (Moment::EndOf(epoch), last) if last != Some(epoch) => Some(
            Failure::failed(format_args!("{vm} has no epoch {}", epoch.0))
                .hint(format_args!("qmp log --vm {vm} --kind attached lists them")),
        ),
        (_, None) => {
            let first = write::local(first, zone);
            let what =
                format_args!("nothing is known of {vm} that early: its records in the journal begin {first}");
            Some(
                Failure::failed(what)
                    .hint(format_args!("qmp log --vm {vm} --kind attached lists its epochs")),
            )
        }
        _ => None,
    }
}
