//! The timeline: the lanes of VMs in a window.

use std::cmp::Reverse;
use std::collections::HashSet;

use qmp_journal::{
    Change, CountKey, EpochSpan, JournalError, Reader, SegmentCounts, SummaryVisitor, VmSelection,
};
use qmp_wire::{Body, DetachReason, Offset, UnixMicros};
use serde::Serialize;

use crate::coverage::Coverage;
use crate::fold::{VmFold, Words};
use crate::lanes::{BucketCounts, Lane, LaneVisitor, Tally};
use crate::marks;
use crate::reading::{RequestedContent, read};
use crate::selection::{Selection, ascending_ids, index};
use crate::severity::Severity;
use crate::window::{Scope, Window};

/// Run states in which a VM needs an operator.
const BAD_STATES: [&str; 5] = ["gone", "guest-panicked", "internal-error", "io-error", "watchdog"];

/// The order of lanes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LaneOrder {
    /// By name.
    #[default]
    Name,
    /// VMs that need an operator first, then by errors and warnings.
    Trouble,
    /// Those with the most records first.
    Activity,
}

/// The selection of a timeline.
#[derive(Clone, Debug)]
pub struct TimelineRequest {
    /// Which records.
    pub scope: Scope,
    /// The number of buckets, at most; a few more or less where they are widened to minutes.
    pub buckets: u32,
    /// The number of lanes, at most.
    pub lanes: usize,
    /// The VM of the first lane.
    pub from: Option<Box<str>>,
    /// The order of the lanes.
    pub sort: LaneOrder,
    /// The most events that are shown one by one.
    pub marks: usize,
}

/// The lanes of a window.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Timeline {
    /// The window, and how far the journal was read.
    #[serde(flatten)]
    pub coverage: Coverage,
    /// The severities, the most urgent first.
    pub severities: [&'static str; 5],
    /// The states, which lanes have by their index.
    pub states: Vec<Box<str>>,
    /// The reasons of gaps, by their index.
    pub reasons: Vec<Box<str>>,
    /// The kinds of findings, by their index.
    pub kinds: Vec<Box<str>>,
    /// The records of all VMs that match.
    pub total: BucketCounts,
    /// The number of VMs that match.
    pub lanes_total: usize,
    /// The VM of the lane after the last one; null if there is none.
    pub next: Option<Box<str>>,
    /// The lanes.
    pub lanes: Vec<Lane>,
}

impl TimelineRequest {
    /// The memory that the answer needs at most while it is made, in bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        Tally::bytes(self.buckets.saturating_add(2)).saturating_mul(self.lanes.saturating_add(1))
    }
}

impl Timeline {
    /// Leaves the counts of these severities alone.
    pub fn keep_severities(&mut self, severities: &[Severity]) {
        let is_kept = |name: &str| severities.iter().any(|severity| severity.name() == name);
        let counts = self.lanes.iter_mut().map(|lane| &mut lane.counts);
        for counts in counts.chain([&mut self.total]) {
            counts.retain(|name, _| is_kept(name));
        }
    }
}

/// Reads the lanes of a window.
///
/// # Errors
///
/// Errors of reading the journal.
pub fn timeline(
    reader: &Reader,
    request: &TimelineRequest,
    now: UnixMicros,
) -> Result<Timeline, JournalError> {
    let scope = &request.scope;
    let window = Window::of(reader, scope, now, request.buckets)?;
    let selection = Selection::of(reader, &scope.query)?;
    let listed = list(reader, request, &window, &selection)?;
    let lanes_total = listed.len();
    let begin = request.from.as_ref().map_or(0, |from| begin(&listed, from, request.sort));
    let end = begin.saturating_add(request.lanes).min(lanes_total);
    let (lanes, next) = (&listed[begin..end], listed.get(end).map(|(vm, _)| vm.clone()));
    let ids = ascending_ids(lanes);
    let of_lanes = VmSelection::These(&ids);
    let counts = if selection.has_every_vm { of_lanes } else { selection.vm_selection() };
    let wanted = RequestedContent { together: selection.has_every_vm, counts, changes: of_lanes };
    let mut visitor = LaneVisitor::new(&selection, &window, lanes, request.marks);
    let read = read(reader, scope, &window, &selection, wanted, &mut visitor)?;
    let marks = match window.is_exact {
        // The records were read one by one.
        true => None,
        false if visitor.records() > request.marks as u64 => None,
        false => Some(marks::read(reader, scope, &window, lanes, &visitor.segments, request.marks)?),
    };
    let total = visitor.total();
    let (lanes, words) = visitor.lanes(lanes, marks);
    let Words { states, reasons, kinds } = words;
    Ok(Timeline {
        coverage: Coverage::of(reader, &window, &read, now)?,
        severities: Severity::ALL.map(Severity::name),
        states: states.into_words(),
        reasons: reasons.into_words(),
        kinds: kinds.into_words(),
        total,
        lanes_total,
        next,
        lanes,
    })
}

/// The position of the first lane: that of the VM, or in the order of names the next one.
fn begin(listed: &[(Box<str>, u32)], from: &str, sort: LaneOrder) -> usize {
    match sort {
        LaneOrder::Name => listed.partition_point(|(vm, _)| **vm < *from),
        _ => listed.iter().position(|(vm, _)| **vm == *from).unwrap_or(0),
    }
}

/// The VMs that have a lane, in their order.
fn list(
    reader: &Reader,
    request: &TimelineRequest,
    window: &Window,
    selection: &Selection,
) -> Result<Vec<(Box<str>, u32)>, JournalError> {
    let mut listed = selection.vms.clone();
    if !selection.narrows_records {
        let present = present(reader, window)?;
        listed.retain(|(_, id)| present.contains(id));
        if request.sort == LaneOrder::Name {
            return Ok(listed);
        }
    }
    let every = selection.vm_selection();
    let has_order_of_trouble = request.sort == LaneOrder::Trouble;
    let changes = if has_order_of_trouble { every } else { VmSelection::None };
    let wanted = RequestedContent { together: false, counts: every, changes };
    let mut ranks = RankVisitor { selection, window, vms: Vec::new(), words: Words::default() };
    ranks.vms.resize_with(selection.ids_end(), Rank::default);
    read(reader, &request.scope, window, selection, wanted, &mut ranks)?;
    if selection.narrows_records {
        listed.retain(|(_, id)| ranks.records(*id) > 0);
    }
    match request.sort {
        LaneOrder::Name => {}
        LaneOrder::Activity => listed.sort_by_key(|(_, id)| Reverse(ranks.records(*id))),
        LaneOrder::Trouble => listed.sort_by_cached_key(|(_, id)| Reverse(ranks.trouble(*id))),
    }
    Ok(listed)
}

/// The VMs that were followed in the window, or before it without having been removed.
fn present(reader: &Reader, window: &Window) -> Result<HashSet<u32>, JournalError> {
    let (first, last) = reader.offsets(UnixMicros(window.since), UnixMicros(window.until))?;
    let mut present = HashSet::new();
    let epochs = reader.epochs()?;
    for epochs in epochs.chunk_by(|one, next| one.vm_id == next.vm_id) {
        let is_in_window =
            |epoch: &EpochSpan| epoch.opened <= last && epoch.closed.is_none_or(|closed| closed >= first);
        let before = epochs.iter().rev().find(|epoch| epoch.opened <= last).and_then(|epoch| epoch.closed);
        let is_present = epochs.iter().any(is_in_window)
            || match before {
                Some(closed) => !is_removed(reader, closed)?,
                None => false,
            };
        if is_present {
            present.insert(epochs[0].vm_id);
        }
    }
    Ok(present)
}

/// Whether the record ends an epoch because the VM was removed from the hub.
fn is_removed(reader: &Reader, closed: Offset) -> Result<bool, JournalError> {
    let record = reader.record(closed)?;
    Ok(record
        .is_some_and(|record| matches!(record.body, Body::Detached { reason: DetachReason::Removed, .. })))
}

/// The key by which VMs are ordered.
#[derive(Debug, Default)]
struct Rank {
    errors: u64,
    warnings: u64,
    /// The other records.
    others: u64,
    fold: Option<Box<VmFold>>,
}

impl Rank {
    #[inline]
    fn add(&mut self, severity: Option<Severity>) {
        match severity {
            Some(Severity::Error) => self.errors += 1,
            Some(Severity::Warning) => self.warnings += 1,
            Some(_) => self.others += 1,
            None => {}
        }
    }
}

struct RankVisitor<'v> {
    selection: &'v Selection,
    window: &'v Window,
    /// By the id of the VM's name.
    vms: Vec<Rank>,
    words: Words,
}

impl RankVisitor<'_> {
    fn records(&self, vm: u32) -> u64 {
        self.vms.get(index(vm)).map_or(0, |rank| rank.errors + rank.warnings + rank.others)
    }

    /// How much a VM needs an operator: by its state, by what lasts, by a gap; then its errors and warnings.
    fn trouble(&self, vm: u32) -> (u8, u64, u64) {
        let Some(rank) = self.vms.get(index(vm)) else { return (0, 0, 0) };
        let state = rank.fold.as_ref().map_or(0, |fold| {
            let state = fold.shown().map_or("", |state| self.words.states.word(state));
            match (BAD_STATES.contains(&state), fold.lasting().next(), fold.gap()) {
                (true, ..) => 3,
                (false, Some(_), _) => 2,
                (false, None, Some(_)) if state != "ended" => 1,
                (false, None, _) => 0,
            }
        });
        (state, rank.errors, rank.warnings)
    }
}

impl SummaryVisitor for RankVisitor<'_> {
    fn segment(&mut self, _first: Offset, _last: Offset) {}

    fn segment_counts(&mut self, counts: &SegmentCounts<'_>) {
        let (severities, is_whole) = (self.selection.severities(counts), counts.is_whole());
        counts.each_vm(|vm, of_vm| {
            let Some(rank) = self.vms.get_mut(index(vm)) else { return };
            of_vm.each(|key, minute| {
                if is_whole || counts.in_window(minute).is_some() {
                    rank.add(severities[key]);
                }
            });
        });
    }

    fn record(&mut self, key: CountKey, _at: UnixMicros, _offset: Offset) {
        let severity = self.selection.severity(key.name, key.class);
        if let Some(rank) = self.vms.get_mut(index(key.vm)) {
            rank.add(severity);
        }
    }

    fn change(&mut self, vm: u32, offset: Offset, change: Change<'_>) {
        let Some(rank) = self.vms.get_mut(index(vm)) else { return };
        let window = self.window;
        // All intervals as one: only what holds at the end matters.
        let whole = Window { bucket: window.until.saturating_sub(window.since).max(1), ..*window };
        let fold = rank.fold.get_or_insert_with(|| Box::new(VmFold::new(&whole, true)));
        fold.change(&mut self.words, offset, &change);
    }
}
