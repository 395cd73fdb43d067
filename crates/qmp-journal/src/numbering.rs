//! Assigns offset, epoch, sequence number and segment to drafts. Pure: no file, no clock.
//!
//! An `attached` record opens its VM's next epoch and is number 0 of it; every other record takes the next number of
//! the VM's latest epoch, open or not (a finding may come late), which is 0 for a VM that never was attached. If an
//! epoch is opened while another one is open, the open one is closed first: a reader can rely on every span of
//! certainty having an end.
//!
//! A foreign record, of a VM of another host, keeps its epoch and number, and no epoch of such a VM is closed here. This
//! hub's own records of such a VM are of its latest epoch, and their numbers follow from their offsets.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap, HashSet};

use qmp_wire::{ADDED_SEQ_FIRST, Body, DetachReason, QualifiedName, Seq, Timestamp, UnixMicros};

use super::batch::Item;
use super::body::{self, RecordKind};
use super::checksum::Content;
use super::feed::Positions;
use super::limits::{NUMBERS_MAX, SEGMENT_MAX_BYTES};
use super::segment::{IndexedRecord, OpenSegment, SealedSegment};
use super::summary::Summary;
use super::unreadable::UnreadableRecords;

/// The state of each VM, and the open segment.
#[derive(Debug)]
pub(super) struct Numbering {
    head: u64,
    vms: HashMap<u32, VmNumbers>,
    /// VMs of other hosts.
    foreign: HashSet<u32>,
    segment: OpenSegment,
    segment_records: u64,
    /// The highest epoch of all VMs of this host. A lost record of an unknown VM may have had it: see [`Numbering::pass_over`].
    max_epoch: u32,
    /// The lowest number of the next epoch of any VM, less one.
    epoch_floor: u32,
    /// The same, of a VM without a record.
    new_vm_epoch_floor: u32,
    /// The first number of a VM without a record that is not attached.
    seq_floor: u64,
    /// VMs with a record in the open segment.
    touched: BTreeSet<u32>,
}

/// The last assigned numbers of a VM.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct VmNumbers {
    /// Offset of its last record.
    pub(super) last: u64,
    pub(super) epoch: u32,
    /// Of its last record.
    pub(super) seq: u64,
    /// When its last record was received; `None` if only the file has the time.
    pub(super) received: Option<i64>,
    /// Whether the epoch is open.
    pub(super) open: bool,
    /// Whether the VM is of another host.
    pub(super) is_foreign: bool,
}

/// The ids of an item's names.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ids {
    pub(super) vm: u32,
    pub(super) event: Option<u32>,
}

/// One record, as its columns.
#[derive(Debug)]
pub(super) struct Row<'a> {
    pub(super) offset: u64,
    pub(super) ids: Ids,
    pub(super) epoch: u32,
    pub(super) seq: u64,
    pub(super) kind: RecordKind,
    pub(super) received: i64,
    pub(super) event: Option<&'a str>,
    pub(super) timestamp: Option<Timestamp>,
    pub(super) sent_name: Option<&'a str>,
    pub(super) data: Option<Cow<'a, str>>,
}

/// The content of one transaction, besides names.
#[derive(Debug, Default)]
pub(super) struct Plan<'a> {
    pub(super) rows: Vec<Row<'a>>,
    pub(super) sealed: Vec<SealedSegment>,
    /// The summary of each of them.
    pub(super) summaries: Vec<Summary>,
    /// The version of what derived the summaries.
    pub(super) digest_version: u32,
    /// The VMs in the sealed segments, with their state at the last of these seals.
    pub(super) vms: HashMap<u32, VmNumbers>,
    /// Offsets of records that no draft asked for: the ends of epochs that were open when another one opened.
    pub(super) implicit: Vec<u64>,
    /// Positions that include the records.
    pub(super) positions: Vec<&'a Positions>,
}

impl Numbering {
    /// Restores the state of the last seal; [`Self::observe`] adds the records after it.
    pub(super) fn restore(
        head: u64,
        vms: HashMap<u32, VmNumbers>,
        foreign: HashSet<u32>,
        segment_records: u64,
    ) -> Self {
        let own = vms.values().filter(|state| !state.is_foreign);
        let max_epoch = own.map(|state| state.epoch).max().unwrap_or(0);
        let (segment, touched) = (OpenSegment::default(), BTreeSet::new());
        Self {
            head,
            vms,
            foreign,
            segment,
            segment_records,
            max_epoch,
            epoch_floor: 0,
            new_vm_epoch_floor: 0,
            seq_floor: 0,
            touched,
        }
    }

    /// Adds a record that is in the file, the next after the head.
    pub(super) fn observe(&mut self, record: IndexedRecord, epoch: u32, seq: u64) {
        self.head = record.offset;
        let state = self.vms.entry(record.vm).or_insert_with(|| VmNumbers::new(&self.foreign, record.vm));
        state.observe(&record, epoch, seq);
        if !state.is_foreign {
            self.max_epoch = self.max_epoch.max(epoch);
        }
        self.segment.add(record);
        self.touched.insert(record.vm);
    }

    /// Adds a record as [`observe`](Self::observe) does, and returns how many records of its VM are missing before it.
    ///
    /// Only those that the numbers prove: a hub that starts after damage may leave numbers out, but closes each open
    /// epoch before. So an event of an open epoch was numbered by the hub that opened the epoch, without a hole. Foreign
    /// records may have holes, and prove nothing.
    pub(super) fn observe_restored(&mut self, record: IndexedRecord, epoch: u32, seq: u64) -> u64 {
        let state = self.vms.get(&record.vm).copied().unwrap_or_default();
        let is_foreign = self.foreign.contains(&record.vm);
        let is_numbered_with = record.kind == RecordKind::Event && epoch > 0 && !is_foreign;
        self.observe(record, epoch, seq);
        match (is_numbered_with, epoch == state.epoch) {
            (true, true) if state.open => seq.saturating_sub(state.seq.saturating_add(1)),
            (true, false) => seq,
            _ => 0,
        }
    }

    /// Adds the identity of an unreadable record, if it is the next one of its VM: damage leaves another one hardly ever.
    /// Returns whether it is.
    pub(super) fn observe_identity(&mut self, offset: u64, vm: u32, epoch: u32, seq: u64) -> bool {
        if self.foreign.contains(&vm) {
            return false;
        }
        let known = self.vms.get(&vm).copied();
        let state = known.unwrap_or(VmNumbers { last: offset, ..VmNumbers::default() });
        let opens = (Some(epoch), seq) == (state.epoch.checked_add(1), 0);
        let follows = known.is_some() && (epoch, Some(seq)) == (state.epoch, state.seq.checked_add(1));
        if opens || follows {
            self.max_epoch = self.max_epoch.max(epoch);
            self.vms.insert(vm, VmNumbers { epoch, seq, open: opens || state.open, ..state });
            self.touched.insert(vm);
        }
        opens || follows
    }

    /// Adds an epoch of a file with unreadable records, as the file lists it.
    pub(super) fn observe_epoch(&mut self, vm: u32, epoch: u32, opened: u64, open: bool) {
        let state = self.vms.entry(vm).or_insert_with(|| VmNumbers::new(&self.foreign, vm));
        if !state.is_foreign {
            self.max_epoch = self.max_epoch.max(epoch);
        }
        if epoch > state.epoch {
            let last = state.last.max(opened);
            *state = VmNumbers { last, epoch, seq: 0, received: None, open, ..*state };
            self.touched.insert(vm);
        } else if epoch == state.epoch {
            state.open |= open;
        }
    }

    /// Skips the numbers that unreadable records may have had.
    pub(super) fn skip_unreadable(&mut self, unreadable: &UnreadableRecords) {
        for (vm, state) in self.vms.iter_mut().filter(|(_, state)| !state.is_foreign) {
            let records = unreadable.possible_after(state.last);
            if records > 0 {
                state.seq = state.seq.saturating_add(records);
                // The next seal writes it: the damage may be in a sealed segment then.
                self.touched.insert(*vm);
            }
        }
        self.seq_floor = self.seq_floor.saturating_add(unreadable.possible_after(0));
    }

    /// Skips the numbers that records may have had which an earlier hub found to be lost.
    pub(super) fn skip_lost(&mut self, lost: &UnreadableRecords) {
        for state in self.vms.values_mut().filter(|state| !state.is_foreign) {
            state.seq = state.seq.saturating_add(lost.possible_after(state.last));
        }
    }

    /// Assigns numbers to `item` as the next record of `plan`.
    pub(super) fn assign<'a>(&mut self, item: Item<'a>, ids: Ids, plan: &mut Plan<'a>) {
        let state = self.vms.get(&ids.vm).copied();
        if state.is_none() && QualifiedName::parse(item.vm).is_some() {
            self.foreign.insert(ids.vm);
        }
        let state = state.unwrap_or_default();
        if item.kind == RecordKind::Attached && state.open && !state.is_foreign {
            self.assign_next(unclosed(&item, state.received), Ids { vm: ids.vm, event: None }, plan);
            plan.implicit.push(self.head);
        }
        self.assign_next(item, ids, plan);
    }

    /// The epoch and number of the next record of a VM, which gets `offset`.
    fn next_numbers(&self, kind: RecordKind, vm: u32, offset: u64) -> (u32, u64) {
        match (kind, self.vms.get(&vm)) {
            (_, Some(state)) if state.is_foreign => (state.epoch, ADDED_SEQ_FIRST + offset),
            (_, None) if self.foreign.contains(&vm) => (0, ADDED_SEQ_FIRST + offset),
            (RecordKind::Attached, Some(state)) => (state.epoch.max(self.epoch_floor).saturating_add(1), 0),
            (RecordKind::Attached, None) => {
                (self.epoch_floor.max(self.new_vm_epoch_floor).saturating_add(1), 0)
            }
            (_, Some(state)) => (state.epoch, state.seq.saturating_add(1)),
            (_, None) => (0, self.seq_floor),
        }
    }

    fn assign_next<'a>(&mut self, item: Item<'a>, ids: Ids, plan: &mut Plan<'a>) {
        let offset = self.head + 1;
        let (epoch, seq) = item.identity.unwrap_or_else(|| self.next_numbers(item.kind, ids.vm, offset));
        let received = item.received.0;
        let Item { kind, timestamp, sent_name, data, .. } = item;
        let bytes = data.as_ref().map_or(0, |data| data.len()) + sent_name.map_or(0, str::len);
        let (vm, event, bytes) = (ids.vm, ids.event, bytes as u64);
        let content = Content {
            offset,
            vm: item.vm,
            epoch,
            seq,
            kind,
            received,
            event: item.event,
            event_time: timestamp,
            sent_name,
            data: data.as_deref(),
        };
        let sum = content.sum();
        self.observe(IndexedRecord { offset, vm, kind, event, received, bytes, sum }, epoch, seq);
        let event = item.event;
        plan.rows.push(Row { offset, ids, epoch, seq, kind, received, event, timestamp, sent_name, data });
        if self.segment.records() >= self.segment_records || self.segment.bytes() >= SEGMENT_MAX_BYTES {
            self.seal(plan);
        }
    }

    /// Seals the open segment before it is full, if its first record was received before `moment`.
    pub(super) fn seal_before(&mut self, moment: UnixMicros, plan: &mut Plan<'_>) {
        if self.segment.records() > 0 && self.segment.received_min() < moment.0 {
            self.seal(plan);
        }
    }

    fn seal(&mut self, plan: &mut Plan<'_>) {
        plan.sealed.push(self.segment.seal());
        for vm in std::mem::take(&mut self.touched) {
            plan.vms.insert(vm, self.vms[&vm]);
        }
    }

    /// Whether a record of the open segment has this name.
    pub(super) fn is_in_open_segment(&self, name: u32) -> bool {
        self.segment.holds(name)
    }

    /// Skips records up to `head` that readers have seen and the file lacks. Each may have been of any VM, and `epoch`
    /// is the highest of them: no identity is assigned twice.
    pub(super) fn pass_over(&mut self, head: u64, epoch: u32) {
        let records = head.saturating_sub(self.head);
        self.seq_floor = self.seq_floor.saturating_add(records);
        let own = self.vms.values_mut().filter(|state| !state.is_foreign);
        own.for_each(|state| state.seq = state.seq.saturating_add(records));
        self.begin_after(head, epoch);
    }

    /// Assigns no identity twice if names cannot be read: a VM with such a name counts as one without a record.
    pub(super) fn pass_over_unnamed(&mut self) {
        self.new_vm_epoch_floor = self.max_epoch;
        let never_attached = self.vms.values().filter(|state| state.epoch == 0 && !state.is_foreign);
        let floor = never_attached.map(|state| state.seq.saturating_add(1)).max().unwrap_or(0);
        self.seq_floor = self.seq_floor.max(floor);
    }

    /// Assigns no offset up to `head` and no epoch up to `epoch` from here on.
    pub(super) fn begin_after(&mut self, head: u64, epoch: u32) {
        self.head = head.max(self.head);
        (self.max_epoch, self.epoch_floor) = (self.max_epoch.max(epoch), self.epoch_floor.max(epoch));
    }

    /// The kind and value of a number that is too high for a hub to have assigned it, if there is one: after it, an
    /// offset or an identity would be assigned twice.
    pub(super) fn beyond_limit(&self) -> Option<(&'static str, u64)> {
        let seq = self.vms.values().map(|state| state.seq).max().unwrap_or(0).max(self.seq_floor);
        let epoch = if self.max_epoch == u32::MAX { u64::MAX } else { 0 };
        let numbers =
            [("offset", self.head, self.head), ("number of an epoch", epoch, self.max_epoch.into())];
        let numbers = numbers.into_iter().chain([("number within an epoch", seq, seq)]);
        numbers.filter(|(_, number, _)| *number >= NUMBERS_MAX).map(|(name, _, shown)| (name, shown)).next()
    }

    /// The numbers of a VM of another host; `None` if it may have no record of its host.
    pub(super) fn foreign_numbers(&self, vm: u32) -> Option<(u32, u64)> {
        let numbers = self.vms.get(&vm).map(|state| (state.epoch, state.seq));
        numbers.filter(|numbers| *numbers > (0, 0))
    }

    /// The highest number of an epoch, of all VMs of this host.
    pub(super) fn max_epoch(&self) -> u32 {
        self.max_epoch
    }

    /// The last assigned offset.
    pub(super) fn head(&self) -> u64 {
        self.head
    }

    /// VMs of this host whose epoch is open, with their state.
    pub(super) fn open_epochs(&self) -> Vec<(u32, VmNumbers)> {
        let is_open = |(_, state): &(&u32, &VmNumbers)| state.open && !state.is_foreign;
        let mut open: Vec<_> = self.vms.iter().filter(is_open).map(|(vm, state)| (*vm, *state)).collect();
        open.sort_unstable_by_key(|(vm, _)| *vm);
        open
    }
}

impl VmNumbers {
    /// A VM without a record.
    fn new(foreign: &HashSet<u32>, vm: u32) -> Self {
        Self { is_foreign: foreign.contains(&vm), ..Self::default() }
    }

    /// Adds the VM's next record.
    fn observe(&mut self, record: &IndexedRecord, epoch: u32, seq: u64) {
        (self.last, self.received) = (record.offset, Some(record.received));
        if self.is_foreign && Seq(seq).is_added() {
            return;
        }
        (self.epoch, self.seq) = (epoch, seq);
        match record.kind {
            RecordKind::Attached => self.open = true,
            RecordKind::Detached => self.open = false,
            RecordKind::Event | RecordKind::Finding => {}
        }
    }
}

/// The record that closes an epoch which was open when its hub opened the next.
fn unclosed<'a>(next: &Item<'a>, last_received: Option<i64>) -> Item<'a> {
    let certain_until = last_received.map_or(next.received, UnixMicros);
    let detail = "the next epoch was opened while this one was open";
    detached(next.vm, next.received, certain_until, DetachReason::HubStopped, detail)
}

/// A `detached` record for an epoch that its hub did not close.
pub(super) fn detached<'a>(
    vm: &'a str,
    received: UnixMicros,
    certain_until: UnixMicros,
    reason: DetachReason,
    detail: &str,
) -> Item<'a> {
    let detail = Some(detail.into());
    let mut data = String::new();
    body::write_data(&Body::Detached { reason, detail, certain_until: Some(certain_until) }, &mut data);
    Item {
        vm,
        identity: None,
        kind: RecordKind::Detached,
        received,
        event: None,
        timestamp: None,
        sent_name: None,
        data: Some(Cow::Owned(data)),
    }
}
