//! Gaps: the spans in which a VM was not watched, each with its true length.

use qmp_journal::{EpochSpan, Globs, JournalError, Reader};
use qmp_wire::{Body, Offset, QualifiedName, UnixMicros};
use serde::Serialize;

/// Which gaps.
#[derive(Clone, Debug)]
pub struct GapsRequest {
    /// The window.
    pub since: Option<UnixMicros>,
    /// Its end.
    pub until: Option<UnixMicros>,
    /// The VMs.
    pub vm: Globs,
    /// Their hosts.
    pub host: Globs,
    /// Only those after this record.
    pub after: Offset,
    /// How many, at most.
    pub limit: usize,
}

/// Gaps in the order of the journal.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Gaps {
    /// The gaps.
    pub gaps: Vec<GapEntry>,
    /// Ask for those after this one; null if there are no more.
    pub next: Option<u64>,
}

/// A gap.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GapEntry {
    /// The host of a VM of another host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<Box<str>>,
    /// The VM, on its host.
    pub vm: Box<str>,
    /// The last moment that is certain.
    pub from: i64,
    /// The first moment that is certain again; null if the gap lasts.
    pub to: Option<i64>,
    /// Why the epoch before it closed.
    pub reason: Box<str>,
    /// The details, for people.
    pub detail: Option<Box<str>>,
    /// The epoch before it.
    pub epoch_before: u32,
    /// The epoch after it; null if the gap lasts.
    pub epoch_after: Option<u32>,
    /// The record that closed the epoch before it.
    pub offset: u64,
}

/// Reads the gaps that are in a window, also those that begin before it or end after it.
///
/// # Errors
///
/// Errors of reading the journal.
pub fn gaps(reader: &Reader, request: &GapsRequest) -> Result<Gaps, JournalError> {
    let GapsRequest { since, until, vm, host, after, limit } = request;
    let since = since.unwrap_or(UnixMicros(i64::MIN));
    let until = until.unwrap_or(UnixMicros(i64::MAX));
    // A gap ends with a record of the window, or after it.
    let (first, _) = reader.offsets(since, until)?;
    let epochs = reader.epochs()?;
    let mut ends: Vec<(Offset, &EpochSpan, Option<&EpochSpan>)> = Vec::new();
    let is_meant = |epochs: &&[EpochSpan]| vm.matches_vm(&epochs[0].vm) && host.matches_host(&epochs[0].vm);
    for of_vm in epochs.chunk_by(|one, next| one.vm_id == next.vm_id).filter(is_meant) {
        let following = of_vm.iter().skip(1).map(Some).chain([None]);
        for (before, next) in of_vm.iter().zip(following) {
            let Some(closed) = before.closed.filter(|closed| closed > after) else { continue };
            if next.is_none_or(|next| next.opened >= first) {
                ends.push((closed, before, next));
            }
        }
    }
    ends.sort_unstable_by_key(|(closed, ..)| *closed);
    let mut gaps = Vec::new();
    for (closed, before, next) in ends {
        let Some(gap) = gap(reader, closed, before, next)? else { continue };
        if gap.from < until.0 && gap.to.is_none_or(|to| to > since.0) {
            if gaps.len() >= *limit {
                let next = gaps.last().map(|gap: &GapEntry| gap.offset);
                return Ok(Gaps { gaps, next });
            }
            gaps.push(gap);
        }
    }
    Ok(Gaps { gaps, next: None })
}

fn gap(
    reader: &Reader,
    closed: Offset,
    before: &EpochSpan,
    next: Option<&EpochSpan>,
) -> Result<Option<GapEntry>, JournalError> {
    let Some(record) = reader.record(closed)? else { return Ok(None) };
    let Body::Detached { reason, detail, .. } = &record.body else { return Ok(None) };
    let certain = record.certain_until().unwrap_or(record.received).0.min(record.received.0);
    let opened = match next {
        Some(next) => reader.record(next.opened)?.map(|record| record.received.0),
        None => None,
    };
    // If the clock was set back, the gap spans all moments that are known of it.
    let from = opened.map_or(certain, |opened| certain.min(opened));
    let to = opened.map(|opened| opened.max(record.received.0));
    let (host, vm) = QualifiedName::divide(&before.vm);
    Ok(Some(GapEntry {
        host: host.map(Into::into),
        vm: vm.into(),
        from,
        to,
        reason: reason.as_str().into(),
        detail: detail.as_deref().map(Into::into),
        epoch_before: before.epoch.0,
        epoch_after: next.map(|next| next.epoch.0),
        offset: closed.0,
    }))
}
