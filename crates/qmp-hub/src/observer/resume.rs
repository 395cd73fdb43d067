//! Starting on a journal: the state of each VM, and the findings that a crash left unrecorded.
//!
//! Correlators start afresh with each epoch, and when one opens they look back at the one before it, whose story may have
//! begun a few epochs earlier. So the last [`EPOCHS_READ`] epochs of a VM give everything that can be found in the last two.
//! They are read again, from the checkpoint on where there is one: what was concluded before it is recorded. What is concluded
//! in the last two and not among the findings that are read with them was not recorded, and is to be.
//!
//! Only VMs are read that may have something unfinished: those with a record since an hour before the last
//! finding. Findings are recorded in the order of their records, and none comes later than that after them.

use std::collections::{HashMap, HashSet};

use qmp_findings::{Correlators, EPOCHS_READ, Finding, is_evidence};
use qmp_journal::{Checkpoint, Globs, JournalError, Kind, Query, Reader};
use qmp_wire::{Body, Causes, Epoch, Offset, Record, UnixMicros};

use super::checkpoint::{checkpoint, restore_checkpoint};

/// How long a finding may come after its causes, and twice that, in microseconds: the longest deadline is 10 min.
const UNFINISHED_US: i64 = 3_600_000_000;

/// VMs read in one pass through the journal: as many names as its index looks up.
const VMS_AT_ONCE: usize = qmp_journal::POSTING_NAMES_MAX;

/// Records read at once.
const BATCH_RECORDS: usize = 4_096;

/// VMs that begin so many records apart are read together: to look up names anew costs about as much as these records.
const READ_TOGETHER_RECORDS: u64 = 16_384;

/// Where the observer goes on.
#[derive(Debug)]
pub(super) struct Resumed {
    pub(super) correlators: Correlators,
    /// Everything up to here was read.
    pub(super) upto: Offset,
    /// Concluded from what is in the journal, and not in it.
    pub(super) unrecorded: Vec<Finding>,
    /// States on the way, by which nothing was concluded but what is recorded or in `unrecorded`.
    pub(super) checkpoints: Vec<Checkpoint>,
}

/// What reading again gave, states aside.
#[derive(Debug, Default)]
struct Again {
    ledger: Ledger,
    /// The last one of each VM.
    checkpoints: HashMap<Box<str>, (Epoch, Checkpoint)>,
}

/// What makes a finding the same: VM, kind and causes.
type Identity = (Box<str>, Box<str>, Causes);

/// Matches what is concluded with what is recorded.
#[derive(Debug, Default)]
struct Ledger {
    recorded: HashSet<Identity>,
    concluded: HashMap<Identity, Finding>,
}

/// Reads what may be unfinished. Everything that was received by `by` is in the journal.
pub(super) fn resume(reader: &Reader, by: UnixMicros) -> Result<Resumed, JournalError> {
    let upto = reader.head()?;
    let last = reader.last(&Query { kind: vec![Kind::Finding], ..Query::default() }, 1)?;
    let since = last.records.first().map(|finding| finding.received.0.saturating_sub(UNFINISHED_US));
    let recent: HashSet<Box<str>> = reader
        .last_of_each_vm()?
        .into_iter()
        .filter(|record| since.is_none_or(|since| record.received.0 >= since))
        .map(|record| record.vm.into_owned().into())
        .collect();
    let mut begins = reader.last_epochs(EPOCHS_READ)?;
    begins.retain(|(vm, _)| recent.contains(vm));
    let (mut correlators, mut again) = (Correlators::new(), Again::default());
    for (vm, begin) in &mut begins {
        *begin = behind_checkpoint(&mut correlators, reader, vm, *begin, upto);
    }
    begins.sort_unstable_by_key(|(_, begin)| *begin);
    for vms in begins.chunks(VMS_AT_ONCE) {
        read(reader, vms, upto, &mut correlators, Some(&mut again))?;
    }
    let Again { mut ledger, checkpoints } = again;
    // What a hub before this one concluded from silence is recorded, too.
    let mut found = Vec::new();
    correlators.time_passed(by, &mut found);
    found.into_iter().for_each(|finding| ledger.conclude(finding));
    // What was read before the last two epochs may lack what led there.
    let is_of_last_two =
        |vm: &str, epoch: Epoch| correlators.last(vm).is_none_or(|(last, _)| epoch.0 + 1 >= last.0);
    let mut unrecorded = ledger.unrecorded();
    unrecorded.retain(|finding| finding.causes.iter().any(|(epoch, _)| is_of_last_two(&finding.vm, *epoch)));
    let checkpoints = checkpoints.into_values().filter(|(epoch, made)| is_of_last_two(&made.vm, *epoch));
    let checkpoints = checkpoints.map(|(_, made)| made).collect();
    Ok(Resumed { correlators, upto, unrecorded, checkpoints })
}

/// Where to begin reading a VM whose last epochs begin at `begin`: behind its checkpoint if that is among them.
fn behind_checkpoint(
    correlators: &mut Correlators,
    reader: &Reader,
    vm: &str,
    begin: Offset,
    upto: Offset,
) -> Offset {
    let before = Offset(begin.0.saturating_sub(1));
    let last = restore_checkpoint(correlators, reader, vm, (before, upto), |_| true);
    last.and_then(|last| last.offset).map_or(begin, |last| Offset(last.0 + 1))
}

/// Reads the last epochs of one VM up to `upto`.
pub(super) fn recall(
    correlators: &mut Correlators,
    reader: &Reader,
    vm: &str,
    upto: Offset,
) -> Result<(), JournalError> {
    let attached = Query { vm: of(&[vm]), kind: vec![Kind::Attached], until: None, ..Query::default() };
    let epochs = usize::try_from(EPOCHS_READ).unwrap_or(usize::MAX);
    // The epoch that opens now is one more.
    let tail = reader.last(&attached, epochs + 1)?;
    let before = |record: &&Record<'_>| record.offset.is_some_and(|offset| offset <= upto);
    let begins: Vec<Offset> = tail.records.iter().filter(before).filter_map(|record| record.offset).collect();
    let Some(begin) = begins.iter().rev().take(epochs).min() else { return Ok(()) };
    let begin = behind_checkpoint(correlators, reader, vm, *begin, upto);
    read(reader, &[(vm.into(), begin)], upto, correlators, None)?;
    // It was gone for long: what there was to find is found.
    correlators.settle(vm);
    Ok(())
}

/// Reads VMs from where each begins, in the order of these places, up to `upto`.
fn read(
    reader: &Reader,
    vms: &[(Box<str>, Offset)],
    upto: Offset,
    correlators: &mut Correlators,
    mut again: Option<&mut Again>,
) -> Result<(), JournalError> {
    let Some(mut from) = vms.first().map(|(_, begin)| *begin) else { return Ok(()) };
    for index in 0..vms.len() {
        // One that begins much later is left out until then: before that it may have any number of records.
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

/// Reads what these VMs have from one place to another, each from where it begins.
fn read_stretch(
    reader: &Reader,
    vms: &[(Box<str>, Offset)],
    (from, until): (Offset, Offset),
    correlators: &mut Correlators,
    mut again: Option<&mut Again>,
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
            // Others begin earlier.
            if begins.get(&*record.vm).is_none_or(|begin| offset < *begin) {
                continue;
            }
            correlators.record(record, &mut found);
            match &mut again {
                Some(again) => {
                    again.ledger.record(record);
                    found.drain(..).for_each(|finding| again.ledger.conclude(finding));
                    let checkpoint = checkpoint(correlators, &record.vm, offset);
                    again.checkpoints.extend(checkpoint.map(|made| (made.vm.clone(), (record.epoch, made))));
                }
                None => found.clear(),
            }
        }
    }
}

/// The names, taken literally: those of VMs have no character that means something in a pattern.
fn of(names: &[&str]) -> Globs {
    let literal = names.iter().map(|name| globset::escape(name));
    Globs::parse(literal).unwrap_or_default()
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

    /// In the order in which they could be concluded.
    fn unrecorded(self) -> Vec<Finding> {
        let mut unrecorded: Vec<Finding> = self.concluded.into_values().collect();
        let key = |finding: &Finding| -> (UnixMicros, Box<str>, Causes, &'static str) {
            (finding.at, finding.vm.clone(), finding.causes.clone(), finding.kind)
        };
        unrecorded.sort_by_cached_key(key);
        unrecorded
    }
}
