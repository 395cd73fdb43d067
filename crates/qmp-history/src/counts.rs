//! Counts: how many records by event, VM, host, kind, severity, finding, hour or weekday.

use std::collections::{BTreeMap, HashMap};

use qmp_findings::FindingKind;
use qmp_journal::{
    Change, ChangeKind, CountKey, JournalError, MinuteCount, Reader, RecordKind, SegmentCounts,
    SummaryVisitor, VmSelection,
};
use qmp_wire::{Offset, QualifiedName, UnixMicros};
use serde::Serialize;

use crate::coverage::Coverage;
use crate::damaged::DamagedRecords;
use crate::interner::Interner;
use crate::reading::{RequestedContent, read};
use crate::selection::Selection;
use crate::severity::Severity;
use crate::window::{BucketFinder, MINUTE, Scope, Window};
use crate::words::{closing_kind, kind_of};

const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
const WEEKDAYS: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];

/// The host of VMs of the journal's own host, whose records do not name it. No host has this name.
pub const NO_HOST: &str = "-";

/// By what records are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Facet {
    /// By event.
    Event,
    /// By VM.
    Vm,
    /// By host; [`NO_HOST`] is that of the journal's own VMs.
    Host,
    /// By kind of record.
    Kind,
    /// By severity.
    Severity,
    /// By kind of finding; evidence is not counted.
    Finding,
    /// By hour of the day, in the zone of the request.
    Hour,
    /// By weekday, in the zone of the request.
    Weekday,
}

impl Facet {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Event,
        Self::Vm,
        Self::Host,
        Self::Kind,
        Self::Severity,
        Self::Finding,
        Self::Hour,
        Self::Weekday,
    ];

    /// The name in a request.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Event => "event",
            Self::Vm => "vm",
            Self::Host => "host",
            Self::Kind => "kind",
            Self::Severity => "severity",
            Self::Finding => "finding",
            Self::Hour => "hour",
            Self::Weekday => "weekday",
        }
    }
}

/// The selection and grouping of a count.
#[derive(Clone, Debug)]
pub struct CountsRequest {
    /// Which records.
    pub scope: Scope,
    /// By what.
    pub by: Vec<Facet>,
    /// The number of buckets, at most; a few more or less where they are widened to minutes.
    pub buckets: u32,
    /// The names of each facet, at most: those with the most records.
    pub top: usize,
    /// The zone of hours and weekdays, in microseconds east of UTC.
    pub zone_micros: i64,
}

/// Records by name.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Counts {
    /// All records that match.
    pub total: u64,
    /// The window, and how far the journal was read.
    #[serde(flatten)]
    pub coverage: Coverage,
    /// The names of each facet, those with the most records first; hours and weekdays in their order.
    pub by: BTreeMap<&'static str, Vec<FacetName>>,
    /// The names that are not listed.
    pub other: BTreeMap<&'static str, Other>,
    /// The damaged parts of the window, as far as they were read: records that are lost are not counted.
    pub damaged: Vec<DamagedRecords>,
}

/// The records of one name.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FacetName {
    /// The name.
    pub name: Box<str>,
    /// The severity of an event or finding by its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub severity: Option<&'static str>,
    /// The number of records.
    pub count: u64,
    /// The number of records in each bucket.
    pub spark: Vec<u64>,
}

/// The names of a facet that are not listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Other {
    /// How many.
    pub names: u64,
    /// Their records.
    pub count: u64,
}

/// Names whose buckets are kept; the others are only counted. A hub with 10,000 VMs has fewer, and a peer that invents a name
/// for each event does not grow the memory of an answer beyond some 20 MB.
const SPARK_NAMES_MAX: usize = 20_000;

/// Counts the records of a window.
///
/// # Errors
///
/// Errors of reading the journal.
pub fn counts(reader: &Reader, request: &CountsRequest, now: UnixMicros) -> Result<Counts, JournalError> {
    let scope = &request.scope;
    let window = Window::of(reader, scope, now, request.buckets)?;
    let selection = Selection::of(reader, &scope.query)?;
    let has = |facet| request.by.contains(&facet);
    let changes = if has(Facet::Finding) { selection.vm_selection() } else { VmSelection::None };
    let needs_vms = has(Facet::Vm) || has(Facet::Host) || !selection.has_every_vm;
    let counts = if needs_vms { selection.vm_selection() } else { VmSelection::None };
    let wanted = RequestedContent { together: !needs_vms, counts, changes };
    let mut visitor = CountVisitor::new(request, &selection, &window);
    let read = read(reader, scope, &window, &selection, wanted, &mut visitor)?;
    let total = visitor.total;
    let (by, other) = visitor.facets();
    let (coverage, damaged) =
        (Coverage::of(reader, &window, &read, now)?, DamagedRecords::in_window(reader, &window)?);
    Ok(Counts { total, coverage, by, other, damaged })
}

/// The records of a name.
#[derive(Debug, Default)]
struct Entry {
    count: u64,
    /// Empty if there are too many names.
    spark: Vec<u32>,
}

/// A name of a facet: the id of the journal, a number, or the index of a word.
type Key = (Facet, u32);

struct CountVisitor<'v> {
    request: &'v CountsRequest,
    selection: &'v Selection,
    window: &'v Window,
    buckets: BucketFinder,
    total: u64,
    entries: Vec<(Key, Entry)>,
    /// The index of the entry of each key.
    index: HashMap<Key, usize>,
    /// The last entry, which the next records often have, too.
    last: Option<(Key, usize)>,
    kinds: Interner,
    hosts: Interner,
    /// The index of the host of each VM.
    host_of_vm: HashMap<u32, u32>,
}

impl<'v> CountVisitor<'v> {
    fn new(request: &'v CountsRequest, selection: &'v Selection, window: &'v Window) -> Self {
        Self {
            request,
            selection,
            window,
            buckets: BucketFinder::new(window),
            total: 0,
            entries: Vec::new(),
            index: HashMap::new(),
            last: None,
            kinds: Interner::default(),
            hosts: Interner::default(),
            host_of_vm: HashMap::new(),
        }
    }

    /// Counts records of a key: their times, and how many.
    fn count(&mut self, key: CountKey, times: &(impl Iterator<Item = (i64, u64)> + Clone)) {
        let CountKey { vm, name, class } = key;
        let Some(severity) = self.selection.severity(name, class) else { return };
        self.total += times.clone().map(|(_, records)| records).sum::<u64>();
        for facet in &self.request.by {
            let id = match facet {
                Facet::Event if self.selection.kind(name).is_some() => continue,
                Facet::Event => name,
                Facet::Vm => vm,
                Facet::Host => self.host(vm),
                Facet::Kind => self.selection.kind(name).unwrap_or(RecordKind::Event) as u32,
                Facet::Severity => severity as u32,
                Facet::Hour | Facet::Weekday => {
                    for time in times.clone() {
                        let (hour, weekday) = calendar(time.0.saturating_add(self.request.zone_micros));
                        let id = if *facet == Facet::Hour { hour } else { weekday };
                        self.add((*facet, id), [time]);
                    }
                    continue;
                }
                Facet::Finding => continue,
            };
            self.add((*facet, id), times.clone());
        }
    }

    /// The index of the host of a VM.
    fn host(&mut self, vm: u32) -> u32 {
        let (selection, hosts) = (self.selection, &mut self.hosts);
        *self.host_of_vm.entry(vm).or_insert_with(|| {
            let (host, _) = QualifiedName::divide(selection.name(vm));
            hosts.id(host.unwrap_or(NO_HOST))
        })
    }

    /// Adds records to a name: their times, and how many.
    fn add(&mut self, key: Key, times: impl IntoIterator<Item = (i64, u64)>) {
        let index = match self.last.filter(|(last, _)| *last == key) {
            Some((_, index)) => index,
            None => *self.index.entry(key).or_insert_with(|| {
                let buckets =
                    if self.entries.len() < SPARK_NAMES_MAX { self.window.buckets as usize } else { 0 };
                self.entries.push((key, Entry { count: 0, spark: vec![0; buckets] }));
                self.entries.len() - 1
            }),
        };
        self.last = Some((key, index));
        let entry = &mut self.entries[index].1;
        for (at, records) in times {
            entry.count += records;
            if let Some(count) = entry.spark.get_mut(self.buckets.bucket_of(at)) {
                *count = count.saturating_add(u32::try_from(records).unwrap_or(u32::MAX));
            }
        }
    }

    /// The name of a key, and its severity.
    fn name(&self, (facet, id): Key) -> (Box<str>, Option<&'static str>) {
        let event = |name: &str| Severity::of_event(name, qmp_journal::Class::default()).name();
        match facet {
            Facet::Event => (self.selection.name(id).into(), Some(event(self.selection.name(id)))),
            Facet::Vm | Facet::Kind => (self.selection.name(id).into(), None),
            Facet::Host => (self.hosts.word(id).into(), None),
            Facet::Severity => {
                let severity = Severity::ALL.get(id as usize).map_or("", |severity| severity.name());
                (severity.into(), None)
            }
            Facet::Finding => {
                let kind = self.kinds.word(id);
                (kind.into(), Some(Severity::of_finding(kind).name()))
            }
            Facet::Hour => (format!("{id:02}").into(), None),
            Facet::Weekday => (WEEKDAYS.get(id as usize).copied().unwrap_or_default().into(), None),
        }
    }

    /// The listed names of each facet, and what is left.
    fn facets(mut self) -> (BTreeMap<&'static str, Vec<FacetName>>, BTreeMap<&'static str, Other>) {
        let (mut by, mut other) = (BTreeMap::new(), BTreeMap::new());
        let entries = std::mem::take(&mut self.entries);
        let mut of_facet: BTreeMap<Facet, Vec<(u32, Entry)>> = BTreeMap::new();
        for ((facet, id), entry) in entries {
            of_facet.entry(facet).or_default().push((id, entry));
        }
        for facet in &self.request.by {
            let found = of_facet.remove(facet).unwrap_or_default();
            let mut names: Vec<FacetName> = found
                .into_iter()
                .map(|(id, entry)| {
                    let (name, severity) = self.name((*facet, id));
                    let spark = entry.spark.into_iter().map(u64::from).collect();
                    FacetName { name, severity, count: entry.count, spark }
                })
                .collect();
            match facet {
                Facet::Hour => names.sort_unstable_by(|one, other| one.name.cmp(&other.name)),
                Facet::Weekday => {
                    names.sort_by_key(|name| WEEKDAYS.iter().position(|day| **day == *name.name));
                }
                _ => {
                    names.sort_unstable_by(|one, other| {
                        other.count.cmp(&one.count).then_with(|| one.name.cmp(&other.name))
                    });
                    let rest = names.split_off(self.request.top.min(names.len()));
                    let count = rest.iter().map(|name| name.count).sum();
                    other.insert(facet.name(), Other { names: rest.len() as u64, count });
                }
            }
            by.insert(facet.name(), names);
        }
        (by, other)
    }
}

/// The hour of the day and the weekday of a time, which is in the zone already.
fn calendar(at: i64) -> (u32, u32) {
    let hour = u32::try_from(at.rem_euclid(DAY) / HOUR).unwrap_or(0);
    // The first of January 1970 was a Thursday.
    let weekday = u32::try_from((at.div_euclid(DAY) + 3).rem_euclid(7)).unwrap_or(0);
    (hour, weekday)
}

impl SummaryVisitor for CountVisitor<'_> {
    fn segment(&mut self, _first: Offset, _last: Offset) {}

    fn segment_counts(&mut self, counts: &SegmentCounts<'_>) {
        let (buckets, zone) = (self.buckets, self.request.zone_micros);
        let has_hours = self.request.by.iter().any(|facet| matches!(facet, Facet::Hour | Facet::Weekday));
        let end_of = |at: i64| {
            let end = buckets.end_of(at);
            if !has_hours {
                return end;
            }
            let in_zone = at.saturating_add(zone);
            end.min(at.saturating_add(HOUR - in_zone.rem_euclid(HOUR)))
        };
        counts.each_key(end_of, |key, minutes| self.counts(key, minutes));
    }

    fn counts(&mut self, key: CountKey, minutes: &[MinuteCount]) {
        self.count(key, &minutes.iter().map(|minute| (minute.begin().0, minute.records)));
    }

    fn record(&mut self, key: CountKey, at: UnixMicros, _offset: Offset) {
        self.count(key, &std::iter::once((at.0, 1)));
    }

    fn change(&mut self, _vm: u32, _offset: Offset, change: Change<'_>) {
        // The record of a finding has the time at which the finding could be concluded.
        let (kind, at) = match &change.kind {
            ChangeKind::Open { word } => (kind_of(word), change.at),
            ChangeKind::Span { word, until } => (kind_of(word), *until),
            ChangeKind::Close { word } => match closing_kind(word) {
                Some(kind) => (kind, change.at),
                None => return,
            },
            ChangeKind::Set { .. } | ChangeKind::CloseAll => return,
        };
        let is_kind = FindingKind::from_name(kind).is_some();
        if is_kind && at.0 >= self.window.since && at.0 < self.window.until {
            let id = self.kinds.id(kind);
            self.add((Facet::Finding, id), [(at.0, 1)]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calendar_has_hours_and_weekdays() {
        // The second of January 2026 was a Friday.
        let midnight = 1_767_312_000_000_000;
        assert_eq!(calendar(midnight), (0, 4));
        assert_eq!(calendar(midnight - 1), (23, 3));
        assert_eq!(calendar(midnight + 3 * DAY + 5 * HOUR), (5, 0));
        assert_eq!(calendar(0), (0, 3));
    }
}
