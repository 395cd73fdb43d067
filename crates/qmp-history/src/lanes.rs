//! The lanes of a timeline: one VM each.

use std::collections::{BTreeMap, HashMap};

use qmp_journal::{Change, Class, RecordCount, SummaryVisitor};
use qmp_wire::Offset;
use serde::Serialize;

use crate::fold::{VmFold, Words};
use crate::marks::Mark;
use crate::selection::Selection;
use crate::severity::Severity;
use crate::window::{BucketFinder, Window};

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

/// Counts by bucket and severity.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally(Vec<u32>);

impl Tally {
    pub(crate) fn new(window: &Window) -> Self {
        Self(vec![0; window.buckets as usize * SEVERITIES])
    }

    #[inline]
    pub(crate) fn add(&mut self, bucket: usize, severity: Severity, records: u64) {
        if let Some(count) = self.0.get_mut(bucket * SEVERITIES + severity as usize) {
            *count = count.saturating_add(u32::try_from(records).unwrap_or(u32::MAX));
        }
    }

    pub(crate) fn sparse(&self) -> BucketCounts {
        let mut counts = BucketCounts::new();
        for (bucket, by_severity) in (0..).zip(self.0.chunks_exact(SEVERITIES)) {
            for (severity, count) in
                Severity::ALL.into_iter().zip(by_severity).filter(|(_, count)| **count > 0)
            {
                counts.entry(severity.name()).or_default().push((bucket, *count));
            }
        }
        counts
    }

    /// The memory of a tally, in bytes.
    pub(crate) fn bytes(buckets: u32) -> usize {
        buckets as usize * SEVERITIES * size_of::<u32>()
    }
}

/// Collects the lanes of a window.
pub(crate) struct LaneVisitor<'v> {
    selection: &'v Selection,
    buckets: BucketFinder,
    /// The last name and class, and the severity of their records.
    last_key: (u32, Class, Option<Severity>),
    pub(crate) total: Tally,
    /// The index of each lane by the id of its VM.
    index: HashMap<u32, usize>,
    /// The last VM whose index was looked up.
    last: (u32, Option<usize>),
    tallies: Vec<Tally>,
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
        Self {
            selection,
            buckets: BucketFinder::new(window),
            last_key: (0, Class::default(), None),
            total: Tally::new(window),
            index: lanes.iter().map(|(_, id)| *id).zip(0..).collect(),
            last: (0, None),
            tallies: lanes.iter().map(|_| Tally::new(window)).collect(),
            folds: lanes.iter().map(|_| VmFold::new(window, true)).collect(),
            words: Words::default(),
            segments: Vec::new(),
            events: Vec::new(),
            marks_max,
            has_marks: window.is_exact,
        }
    }

    #[inline]
    fn lane(&mut self, vm: u32) -> Option<usize> {
        if self.last.0 != vm {
            self.last = (vm, self.index.get(&vm).copied());
        }
        self.last.1
    }

    /// The marks of each lane; `None` if the events were not passed one by one, or are too many.
    fn marks(&self) -> Option<Vec<Vec<Mark>>> {
        if !self.has_marks {
            return None;
        }
        let mut marks = vec![Vec::new(); self.tallies.len()];
        for (lane, Offset(offset), at, name) in &self.events {
            marks[*lane].push((*offset, *at, self.selection.name(*name).into()));
        }
        Some(marks)
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
        for (((vm, _), tally), fold) in names.iter().zip(&self.tallies).zip(self.folds) {
            let (states, gaps, findings) = fold.finish();
            let interval = |one: crate::intervals::Interval| (one.from, one.to, one.word, one.count);
            let states = states.into_vec().into_iter().map(interval);
            lanes.push(Lane {
                vm: vm.clone(),
                counts: tally.sparse(),
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

impl SummaryVisitor for LaneVisitor<'_> {
    fn segment(&mut self, first: Offset, last: Offset) {
        if self.segments.last().is_some_and(|(.., records)| *records == 0) {
            self.segments.pop();
        }
        self.segments.push((first, last, 0));
    }

    #[inline]
    fn count(&mut self, count: RecordCount) {
        let RecordCount { vm, name, class, at, records, offset } = count;
        if (self.last_key.0, self.last_key.1) != (name, class) {
            self.last_key = (name, class, self.selection.severity(name, class));
        }
        let Some(severity) = self.last_key.2 else { return };
        let bucket = self.buckets.bucket_of(at.0);
        if vm == 0 {
            return self.total.add(bucket, severity, records);
        }
        if !self.selection.has_every_vm {
            self.total.add(bucket, severity, records);
        }
        let Some(lane) = self.lane(vm) else { return };
        self.tallies[lane].add(bucket, severity, records);
        if let Some(segment) = self.segments.last_mut() {
            segment.2 += records;
        }
        if let Some(offset) = offset
            && self.has_marks
            && self.selection.kind(name).is_none()
        {
            self.events.push((lane, offset, at.0, name));
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
