//! The lanes of a timeline: one VM each.

use std::collections::BTreeMap;

use qmp_journal::{Change, CountKey, SegmentCounts, SummaryVisitor, VmCounts};
use qmp_wire::{Offset, UnixMicros};
use serde::Serialize;

use crate::fold::{VmFold, Words};
use crate::marks::Mark;
use crate::selection::{Selection, index};
use crate::severity::Severity;
use crate::window::{BucketFinder, SegmentBuckets, Window};

const SEVERITIES: usize = Severity::ALL.len();

/// Numbers of records by severity and bucket: only those above 0.
pub type BucketCounts = BTreeMap<&'static str, Vec<(u32, u32)>>;

/// The history of one VM.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Lane {
    /// Its name.
    pub vm: Box<str>,
    /// Its records.
    pub counts: BucketCounts,
    /// From, to (null: it had not ended by the end of the window), state, changes in it.
    pub states: Vec<(i64, Option<i64>, u32, u32)>,
    /// From, to (null: it had not ended by the end of the window), reason, how many are drawn as one.
    pub gaps: Vec<(i64, Option<i64>, u32, u32)>,
    /// Offset, from, to (null: it had not ended by the end of the window), kind, how many are drawn as one.
    pub findings: Vec<(u64, i64, Option<i64>, u32, u32)>,
    /// Offset, time and name of each event; absent where there are too many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub marks: Option<Vec<Mark>>,
}

/// Counts by bucket, lane and severity: the buckets of a segment are near each other for all lanes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    lanes: usize,
    counts: Vec<u32>,
}

impl Tally {
    pub(crate) fn new(window: &Window, lanes: usize) -> Self {
        Self { lanes, counts: vec![0; window.buckets as usize * lanes * SEVERITIES] }
    }

    #[inline]
    pub(crate) fn add(&mut self, bucket: usize, lane: usize, severity: Severity, records: u64) {
        let index = (bucket * self.lanes + lane) * SEVERITIES + severity as usize;
        if let Some(count) = self.counts.get_mut(index) {
            *count = count.saturating_add(u32::try_from(records).unwrap_or(u32::MAX));
        }
    }

    /// The counts above 0 of each lane.
    pub(crate) fn sparse(&self) -> Vec<BucketCounts> {
        let mut lanes: Vec<[Vec<(u32, u32)>; SEVERITIES]> = Vec::new();
        lanes.resize_with(self.lanes, Default::default);
        let buckets = self.counts.chunks_exact((self.lanes * SEVERITIES).max(1));
        for (bucket, of_lanes) in (0..).zip(buckets) {
            let counts = lanes.iter_mut().flatten().zip(of_lanes);
            for (sparse, count) in counts.filter(|(_, count)| **count > 0) {
                sparse.push((bucket, *count));
            }
        }
        let named = |counts: [Vec<(u32, u32)>; SEVERITIES]| {
            let names = Severity::ALL.into_iter().map(Severity::name);
            names.zip(counts).filter(|(_, counts)| !counts.is_empty()).collect()
        };
        lanes.into_iter().map(named).collect()
    }

    /// The memory of the tally of a lane, in bytes.
    pub(crate) fn bytes(buckets: u32) -> usize {
        buckets as usize * SEVERITIES * size_of::<u32>()
    }
}

/// Collects the lanes of a window.
pub(crate) struct LaneVisitor<'v> {
    selection: &'v Selection,
    buckets: BucketFinder,
    total: Tally,
    /// The lanes by the ids of their VMs.
    index: Vec<Option<usize>>,
    tally: Tally,
    folds: Vec<VmFold>,
    pub(crate) words: Words,
    /// Segments with records of the lanes, and the number of these.
    pub(crate) segments: Vec<(Offset, Offset, u64)>,
    /// The events of the lanes, as long as each is passed by itself.
    events: Vec<(usize, Offset, i64, u32)>,
    marks_max: usize,
    has_marks: bool,
}

impl<'v> LaneVisitor<'v> {
    pub(crate) fn new(
        selection: &'v Selection,
        window: &'v Window,
        lanes: &[(Box<str>, u32)],
        marks_max: usize,
    ) -> Self {
        let mut lane_of = vec![None; selection.ids_end()];
        for (lane, (_, id)) in lanes.iter().enumerate() {
            lane_of[index(*id)] = Some(lane);
        }
        Self {
            selection,
            buckets: BucketFinder::new(window),
            total: Tally::new(window, 1),
            index: lane_of,
            tally: Tally::new(window, lanes.len()),
            folds: lanes.iter().map(|_| VmFold::new(window, true)).collect(),
            words: Words::default(),
            segments: Vec::new(),
            events: Vec::new(),
            marks_max,
            has_marks: window.is_exact,
        }
    }

    fn lane(&self, vm: u32) -> Option<usize> {
        self.index.get(index(vm)).copied().flatten()
    }

    /// Whether the counts of the VM are part of the total: those of all VMs together, or if they are not read, of each.
    fn is_in_total(&self, vm: u32) -> bool {
        vm == 0 || !self.selection.has_every_vm
    }

    fn add_to_segment(&mut self, records: u64) {
        if let Some((.., of_lanes)) = self.segments.last_mut() {
            *of_lanes += records;
        }
    }

    /// The marks of each lane; `None` if the events were not passed one by one, or are too many.
    fn marks(&self) -> Option<Vec<Vec<Mark>>> {
        if !self.has_marks {
            return None;
        }
        let mut marks = vec![Vec::new(); self.folds.len()];
        for (lane, Offset(offset), at, name) in &self.events {
            marks[*lane].push((*offset, *at, self.selection.name(*name).into()));
        }
        Some(marks)
    }

    /// The counts of all VMs.
    pub(crate) fn total(&self) -> BucketCounts {
        self.total.sparse().pop().unwrap_or_default()
    }

    /// The number of records of the lanes.
    pub(crate) fn records(&self) -> u64 {
        self.segments.iter().map(|(.., records)| records).sum()
    }

    /// The lanes, with `marks` if there are any.
    pub(crate) fn lanes(
        self,
        names: &[(Box<str>, u32)],
        marks: Option<Vec<Vec<Mark>>>,
    ) -> (Vec<Lane>, Words) {
        let marks = marks.or_else(|| self.marks());
        let mut marks = marks.map(Vec::into_iter);
        let mut lanes = Vec::with_capacity(names.len());
        for (((vm, _), counts), fold) in names.iter().zip(self.tally.sparse()).zip(self.folds) {
            let (states, gaps, findings) = fold.finish();
            let interval = |one: crate::intervals::Interval| (one.from, one.to, one.word, one.count);
            let states = states.into_vec().into_iter().map(interval);
            lanes.push(Lane {
                vm: vm.clone(),
                counts,
                states: states.map(|(from, to, word, count)| (from, to, word, count - 1)).collect(),
                gaps: gaps.into_vec().into_iter().map(interval).collect(),
                findings: findings
                    .into_iter()
                    .map(|span| (span.offset.0, span.from, span.to, span.kind, span.count))
                    .collect(),
                marks: marks.as_mut().and_then(Iterator::next),
            });
        }
        (lanes, self.words)
    }
}

/// Adds the records of a VM to a lane; returns their number.
fn add(
    tally: &mut Tally,
    lane: usize,
    of_vm: VmCounts<'_>,
    severities: &[Option<Severity>],
    buckets: &SegmentBuckets<'_>,
) -> u64 {
    let mut records = 0;
    buckets.each(of_vm, |key, bucket| {
        if let Some(severity) = severities[key] {
            tally.add(bucket, lane, severity, 1);
            records += 1;
        }
    });
    records
}

impl SummaryVisitor for LaneVisitor<'_> {
    fn segment(&mut self, first: Offset, last: Offset) {
        if self.segments.last().is_some_and(|(.., records)| *records == 0) {
            self.segments.pop();
        }
        self.segments.push((first, last, 0));
    }

    fn segment_counts(&mut self, counts: &SegmentCounts<'_>) {
        let severities = self.selection.severities(counts);
        let (finder, total) = (self.buckets, &mut self.total);
        counts.each_together(
            |at| finder.end_of(at),
            |key, at, records| {
                if let Some(severity) = severities[key] {
                    total.add(finder.bucket_of(at), 0, severity, records);
                }
            },
        );
        let buckets = SegmentBuckets::new(finder, counts);
        let has_every_vm = self.selection.has_every_vm;
        counts.each_vm(|vm, of_vm| {
            if !has_every_vm {
                add(&mut self.total, 0, of_vm, &severities, &buckets);
            }
            if let Some(lane) = self.lane(vm) {
                let records = add(&mut self.tally, lane, of_vm, &severities, &buckets);
                self.add_to_segment(records);
            }
        });
    }

    fn record(&mut self, key: CountKey, at: UnixMicros, offset: Offset) {
        let Some(severity) = self.selection.severity(key.name, key.class) else { return };
        let bucket = self.buckets.bucket_of(at.0);
        if self.is_in_total(key.vm) {
            self.total.add(bucket, 0, severity, 1);
        }
        let Some(lane) = self.lane(key.vm) else { return };
        self.tally.add(bucket, lane, severity, 1);
        self.add_to_segment(1);
        if self.has_marks && self.selection.kind(key.name).is_none() {
            self.events.push((lane, offset, at.0, key.name));
            if self.events.len() > self.marks_max {
                (self.has_marks, self.events) = (false, Vec::new());
            }
        }
    }

    fn change(&mut self, vm: u32, offset: Offset, change: Change<'_>) {
        if let Some(lane) = self.lane(vm) {
            self.folds[lane].change(&mut self.words, offset, &change);
        }
    }
}
