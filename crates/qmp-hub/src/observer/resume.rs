//! Starting on a journal: the state of each VM, and the findings that a crash left unrecorded.
//!
//! Correlators are reset by each epoch, and at its start they compare it with the epoch before, whose story may have begun a
//! few epochs earlier. So the last [`EPOCHS_READ`] epochs of a VM contain everything for the findings of the last two. They
//! are read again, from the checkpoint on if there is one: earlier conclusions are recorded. A conclusion in the last two
//! epochs that is not among the findings in the journal was not recorded, and is appended.
//!
//! Where the beginning of an epoch was removed and no checkpoint has it, or records in it cannot be read, a conclusion may
//! differ from the one that was recorded, or its finding is among the missing records. Such an epoch gives the state of its
//! VM, and no finding.
//!
//! Only VMs that may be unfinished are read: those with a record since an hour before the last finding. Findings are recorded
//! in the order of their records, and at most that much later. VMs of other hosts that are attached are read in any case, as
//! many as are kept in memory: their states are compared with each other.

use std::collections::{HashMap, HashSet};

use qmp_findings::state::MissingRecords;
use qmp_findings::{Correlators, EPOCHS_READ, Finding, HostCorrelators, is_evidence};
use qmp_journal::{Checkpoint, Globs, JournalError, Query, Reader, RecordKind};
use qmp_wire::{Body, Causes, Epoch, Offset, Record, Seq, UnixMicros};

use super::checkpoint::{checkpoint, restore_checkpoint};
use super::hosts::{self, Rereading};
use crate::vm::is_of_other_host;

/// How long after its causes a finding may be recorded, and twice that, in microseconds: the longest deadline is 10 min.
const UNFINISHED_US: i64 = 3_600_000_000;

/// VMs read in one pass through the journal: as many names as its index looks up.
const VMS_AT_ONCE: usize = qmp_journal::POSTING_NAMES_MAX;

/// Records read at once.
const BATCH_RECORDS: usize = 4_096;

/// VMs whose first records are that close are read together: another lookup of names costs about as much as these records.
const READ_TOGETHER_RECORDS: u64 = 16_384;

/// The result of [`resume`], with which the observer continues.
#[derive(Debug)]
pub(super) struct ResumeResult {
    pub(super) correlators: Correlators,
    pub(super) hosts: HostCorrelators,
    /// Everything up to here was read.
    pub(super) upto: Offset,
    /// Findings from records in the journal that are not in the journal.
    pub(super) unrecorded: Vec<Finding>,
    /// Checkpoints; every conclusion by their time is recorded or in `unrecorded`.
    pub(super) checkpoints: Vec<Checkpoint>,
}

/// The result of reading again, without the states.
#[derive(Debug, Default)]
struct RereadResult {
    ledger: Ledger,
    /// The last checkpoint of each VM.
    checkpoints: HashMap<Box<str>, (Epoch, Checkpoint)>,
    /// The epochs in which records are missing.
    incomplete: HashSet<(Box<str>, Epoch)>,
    over_hosts: Rereading,
}

/// The identity of a finding: VM, kind and causes.
type Identity = (Box<str>, Box<str>, Causes);

/// Matches conclusions with recorded findings.
#[derive(Debug, Default)]
struct Ledger {
    recorded: HashSet<Identity>,
    concluded: HashMap<Identity, Finding>,
}

/// Reads the records that may be unfinished, and those of VMs of other hosts, as far as there are no more than `vms_max` VMs.
/// Everything that was received by `by` is in the journal.
pub(super) fn resume(reader: &Reader, by: UnixMicros, vms_max: usize) -> Result<ResumeResult, JournalError> {
    let upto = reader.head()?;
    let last = reader.last(&Query { kind: vec![RecordKind::Finding], ..Query::default() }, 1)?;
    let since = last.records.first().map(|finding| finding.received.0.saturating_sub(UNFINISHED_US));
    let recent: HashSet<Box<str>> = reader
        .last_of_each_vm()?
        .into_iter()
        .filter(|record| since.is_none_or(|since| record.received.0 >= since))
        .map(|record| record.vm.into_owned().into())
        .collect();
    let mut begins = reader.last_epochs(EPOCHS_READ)?;
    let compared = compared(reader, vms_max.saturating_sub(recent.len()))?;
    begins.retain(|(vm, _)| recent.contains(vm) || compared.contains(vm));
    let (mut correlators, mut again) = (Correlators::new(), RereadResult::default());
    if begins.iter().any(|(vm, _)| is_of_other_host(vm)) {
        hosts::restore(&mut again.over_hosts.hosts, reader)?;
    }
    for (vm, begin) in &mut begins {
        *begin = behind_checkpoint(&mut correlators, reader, vm, *begin, upto);
        again.over_hosts.adopt(vm, &correlators);
    }
    begins.sort_unstable_by_key(|(_, begin)| *begin);
    for vms in begins.chunks(VMS_AT_ONCE) {
        read(reader, vms, upto, &mut correlators, Some(&mut again))?;
    }
    let RereadResult { mut ledger, checkpoints, incomplete, over_hosts } = again;
    // An earlier hub also recorded what it concluded from the absence of events.
    let mut found = Vec::new();
    correlators.time_passed(by, &mut found);
    found.into_iter().for_each(|finding| ledger.conclude(finding));
    for (vm, epoch) in &incomplete {
        if correlators.position(vm).is_some_and(|last| last.id.0 == *epoch) {
            correlators.expire_deadlines(vm);
        }
    }
    // Conclusions before the last two epochs may lack their causes.
    let is_of_last_two =
        |vm: &str, epoch: Epoch| correlators.last(vm).is_none_or(|(last, _)| epoch.0 + 1 >= last.0);
    let mut unrecorded = ledger.unrecorded();
    unrecorded.retain(|finding| finding.causes.iter().any(|(epoch, _)| is_of_last_two(&finding.vm, *epoch)));
    let is_incomplete = |finding: &Finding| {
        finding.causes.iter().any(|(epoch, _)| incomplete.contains(&(finding.vm.clone(), *epoch)))
    };
    unrecorded.retain(|finding| !is_incomplete(finding));
    let checkpoints = checkpoints.into_values().filter(|(epoch, made)| is_of_last_two(&made.vm, *epoch));
    let checkpoints = checkpoints.map(|(_, made)| made).collect();
    let (hosts, unrecorded_over_hosts) = over_hosts.end();
    unrecorded.extend(unrecorded_over_hosts);
    Ok(ResumeResult { correlators, hosts, upto, unrecorded, checkpoints })
}

/// The VMs of other hosts that are attached, the last ones if there are more than `max`.
fn compared(reader: &Reader, max: usize) -> Result<HashSet<Box<str>>, JournalError> {
    let mut vms = reader.vms()?;
    vms.retain(|vm| vm.attached && is_of_other_host(&vm.vm));
    vms.sort_by_key(|vm| std::cmp::Reverse(vm.since));
    Ok(vms.into_iter().take(max).map(|vm| vm.vm).collect())
}

/// Where to begin reading a VM whose last epochs begin at `begin`: after its checkpoint if that is among them.
fn behind_checkpoint(
    correlators: &mut Correlators,
    reader: &Reader,
    vm: &str,
    begin: Offset,
    upto: Offset,
) -> Offset {
    let before = Offset(begin.0.saturating_sub(1));
    let last = restore_checkpoint(correlators, reader, vm, (before, upto), |_| true);
    last.map_or(begin, |last| Offset(last.offset.0 + 1))
}

/// Reads the last epochs of one VM up to `upto`.
pub(super) fn recall(
    correlators: &mut Correlators,
    reader: &Reader,
    vm: &str,
    upto: Offset,
) -> Result<(), JournalError> {
    let attached = Query { vm: of(&[vm]), kind: vec![RecordKind::Attached], until: None, ..Query::default() };
    let epochs = usize::try_from(EPOCHS_READ).unwrap_or(usize::MAX);
    // The epoch that is about to open is one more.
    let tail = reader.last(&attached, epochs + 1)?;
    let before = |record: &&Record<'_>| record.offset.is_some_and(|offset| offset <= upto);
    let begins: Vec<Offset> = tail.records.iter().filter(before).filter_map(|record| record.offset).collect();
    // Of fewer epochs, the beginning of the first may have been removed.
    let begin = begins.iter().rev().nth(epochs - 1).copied().unwrap_or(Offset(1));
    let begin = behind_checkpoint(correlators, reader, vm, begin, upto);
    read(reader, &[(vm.into(), begin)], upto, correlators, None)?;
    // It was detached for long: its findings are recorded.
    correlators.expire_deadlines(vm);
    Ok(())
}

/// Reads VMs, each from its own offset, in the order of these offsets, up to `upto`.
fn read(
    reader: &Reader,
    vms: &[(Box<str>, Offset)],
    upto: Offset,
    correlators: &mut Correlators,
    mut again: Option<&mut RereadResult>,
) -> Result<(), JournalError> {
    let Some(mut from) = vms.first().map(|(_, begin)| *begin) else { return Ok(()) };
    for index in 0..vms.len() {
        // A VM with a much later offset is left out until then: it may have any number of records before.
        let next = vms.get(index + 1).map(|(_, begin)| *begin);
        if next.is_some_and(|next| next.0.saturating_sub(from.0) < READ_TOGETHER_RECORDS) {
            continue;
        }
        let until = next.map_or(upto, |next| Offset(next.0 - 1).min(upto));
        read_stretch(reader, &vms[..=index], (from, until), correlators, again.as_deref_mut())?;
        from = Offset(until.0 + 1);
    }
    Ok(())
}

/// Reads the records of these VMs between two offsets, each VM from its own offset.
fn read_stretch(
    reader: &Reader,
    vms: &[(Box<str>, Offset)],
    (from, until): (Offset, Offset),
    correlators: &mut Correlators,
    mut again: Option<&mut RereadResult>,
) -> Result<(), JournalError> {
    let begins: HashMap<&str, Offset> = vms.iter().map(|(vm, begin)| (&**vm, *begin)).collect();
    let names: Vec<&str> = begins.keys().copied().collect();
    let query = Query { vm: of(&names), ..Query::default() };
    let mut cursor = reader.cursor(query, Offset(from.0.saturating_sub(1)));
    let mut found = Vec::new();
    loop {
        let records = cursor.next_batch_upto(BATCH_RECORDS, until)?;
        if records.is_empty() {
            return Ok(());
        }
        for record in &records {
            let Some(offset) = record.offset else { continue };
            // Other VMs begin earlier.
            if begins.get(&*record.vm).is_none_or(|begin| offset < *begin) {
                continue;
            }
            correlators.record(record, &mut found);
            match &mut again {
                Some(again) => {
                    again.ledger.record(record);
                    again.over_hosts.record(record, correlators);
                    again.note_missing(&record.vm, correlators.missing(&record.vm));
                    found.drain(..).for_each(|finding| again.ledger.conclude(finding));
                    let checkpoint = checkpoint(correlators, &record.vm, offset);
                    again.checkpoints.extend(checkpoint.map(|made| (made.vm.clone(), (record.epoch, made))));
                }
                None => found.clear(),
            }
        }
    }
}

fn of(names: &[&str]) -> Globs {
    Globs::of_vms(names.iter().copied())
}

impl RereadResult {
    /// Notes the epochs that lack these records.
    fn note_missing(&mut self, vm: &str, missing: Option<MissingRecords>) {
        let Some(MissingRecords { after, before }) = missing else { return };
        let within = (before.1 > Seq(0)).then_some(before.0);
        for epoch in after.map(|after| after.0).into_iter().chain(within) {
            self.incomplete.insert((vm.into(), epoch));
        }
    }
}

impl Ledger {
    fn record(&mut self, record: &Record<'_>) {
        if let Body::Finding { finding, causes, .. } = &record.body
            && !is_evidence(record)
        {
            let identity = (record.vm.as_ref().into(), finding.as_ref().into(), causes.clone());
            if self.concluded.remove(&identity).is_none() {
                self.recorded.insert(identity);
            }
        }
    }

    fn conclude(&mut self, finding: Finding) {
        let identity = (finding.vm.clone(), finding.kind.into(), finding.causes.clone());
        if !self.recorded.remove(&identity) {
            self.concluded.insert(identity, finding);
        }
    }

    /// In the order in which they were concluded.
    fn unrecorded(self) -> Vec<Finding> {
        let mut unrecorded: Vec<Finding> = self.concluded.into_values().collect();
        let key = |finding: &Finding| -> (UnixMicros, Box<str>, Causes, &'static str) {
            (finding.at, finding.vm.clone(), finding.causes.clone(), finding.kind)
        };
        unrecorded.sort_by_cached_key(key);
        unrecorded
    }
}
