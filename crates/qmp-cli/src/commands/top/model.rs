//! The state of the display.

use std::collections::{BTreeMap, VecDeque};

use jiff::tz::TimeZone;
use qmp_wire::{Offset, Record, UnixMicros};

use super::filter::NameFilter;
use super::glyphs::Glyphs;
use super::history::{Cell, History};
use super::recent::RecentRecords;
use super::row::{Need, Row};

/// How the VMs are ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sort {
    /// Trouble first, then the VMs that are not watched, then by name.
    Need,
    /// By name.
    Name,
    /// The latest change of the run state first.
    Since,
    /// The most records first.
    Activity,
}

impl Sort {
    /// The next one, for the key.
    pub(super) fn next(self) -> Self {
        match self {
            Self::Need => Self::Name,
            Self::Name => Self::Since,
            Self::Since => Self::Activity,
            Self::Activity => Self::Need,
        }
    }

    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Need => "trouble first",
            Self::Name => "by name",
            Self::Since => "latest change first",
            Self::Activity => "most records first",
        }
    }
}

/// How much of the past the column of the last records shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Span {
    HalfHour,
    ThreeHours,
    Day,
}

impl Span {
    pub(super) fn next(self) -> Self {
        match self {
            Self::HalfHour => Self::ThreeHours,
            Self::ThreeHours => Self::Day,
            Self::Day => Self::HalfHour,
        }
    }

    pub(super) fn label(self) -> &'static str {
        match self {
            Self::HalfHour => "30min",
            Self::ThreeHours => "3h",
            Self::Day => "24h",
        }
    }

    /// In microseconds.
    pub(super) fn micros(self) -> i64 {
        let minutes = match self {
            Self::HalfHour => 30,
            Self::ThreeHours => 180,
            Self::Day => 1_440,
        };
        minutes * 60_000_000
    }
}

/// The part of the main page that the arrow keys move in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pane {
    Vms,
    Records,
}

/// The contents of the screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Page {
    /// The table and the records.
    Main,
    /// Everything about one VM.
    Vm,
    /// Everything about one record.
    Record,
    /// The meaning of the record's event.
    Meaning,
    /// The keys.
    Help,
}

/// The connection to the hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum HubState {
    /// Records arrive as they are committed.
    Live,
    /// The connection is lost, for this reason; it is tried again.
    Away(String),
}

/// The state of the display.
#[derive(Debug)]
pub(super) struct Model {
    /// The name of the hub in the first line.
    pub(super) hub_name: String,
    pub(super) glyphs: Glyphs,
    pub(super) is_coloured: bool,
    pub(super) zone: TimeZone,
    pub(super) now: UnixMicros,
    pub(super) hub: HubState,
    rows: BTreeMap<Box<str>, Row>,
    pub(super) recent: RecentRecords,
    /// The last record that the histories contain.
    pub(super) counted_to: Offset,
    rate: Rate,
    pub(super) span: Span,
    pub(super) sort: Sort,
    pub(super) filter: NameFilter,
    /// The filter before it was edited; `None` unless it is being edited.
    pub(super) filter_before: Option<NameFilter>,
    pub(super) is_trouble_only: bool,
    pub(super) pane: Pane,
    pub(super) page: Page,
    /// The VM under the cursor.
    pub(super) selected_vm: Option<Box<str>>,
    /// The record under the cursor; `None` for the newest.
    pub(super) selected_record: Option<Offset>,
    /// The only VM whose records are listed.
    pub(super) only_vm: Option<Box<str>>,
    /// The first line of a page of text that is shown.
    pub(super) scroll: u16,
    /// A message in the last line, until the next key.
    pub(super) note: Option<String>,
}

impl Model {
    pub(super) fn new(
        hub_name: String,
        glyphs: Glyphs,
        is_coloured: bool,
        zone: TimeZone,
        now: UnixMicros,
    ) -> Self {
        Self {
            hub_name,
            glyphs,
            is_coloured,
            zone,
            now,
            hub: HubState::Live,
            rows: BTreeMap::new(),
            recent: RecentRecords::default(),
            counted_to: Offset(0),
            rate: Rate::default(),
            span: Span::HalfHour,
            sort: Sort::Need,
            filter: NameFilter::default(),
            filter_before: None,
            is_trouble_only: false,
            pane: Pane::Vms,
            page: Page::Main,
            selected_vm: None,
            selected_record: None,
            only_vm: None,
            scroll: 0,
            note: None,
        }
    }

    /// All VMs, in the order of their names.
    pub(super) fn rows(&self) -> impl Iterator<Item = &Row> {
        self.rows.values()
    }

    pub(super) fn row(&self, name: &str) -> Option<&Row> {
        self.rows.get(name)
    }

    /// The VMs that are listed, in order.
    pub(super) fn listed(&self) -> Vec<&Row> {
        let is_listed = |row: &&Row| {
            self.filter.matches(&row.vm.vm) && (!self.is_trouble_only || row.need() != Need::None)
        };
        let mut rows: Vec<&Row> = self.rows.values().filter(is_listed).collect();
        match self.sort {
            Sort::Name => {}
            Sort::Need => rows.sort_by_key(|row| std::cmp::Reverse(row.need())),
            Sort::Since => rows.sort_by_key(|row| std::cmp::Reverse(row.since())),
            Sort::Activity => rows.sort_by_key(|row| std::cmp::Reverse(row.history.total())),
        }
        rows
    }

    /// The VM under the cursor: the selected one if it is listed, else the first.
    pub(super) fn current<'a>(&self, listed: &[&'a Row]) -> Option<(usize, &'a Row)> {
        let selected = self.selected_vm.as_deref();
        let position = listed.iter().position(|row| Some(row.vm.vm.as_str()) == selected).unwrap_or(0);
        listed.get(position).map(|row| (position, *row))
    }

    /// The records that are listed, the newest first.
    pub(super) fn records(&self) -> impl Iterator<Item = &Record<'static>> {
        let is_listed = |record: &&Record<'static>| match &self.only_vm {
            Some(only) => record.vm == **only,
            None => {
                let is_needy = || self.row(&record.vm).is_some_and(|row| row.need() != Need::None);
                self.filter.matches(&record.vm) && (!self.is_trouble_only || is_needy())
            }
        };
        self.recent.shown().rev().filter(is_listed)
    }

    /// The record under the cursor.
    pub(super) fn current_record(&self) -> Option<&Record<'static>> {
        let selected = self.records().find(|record| record.offset == self.selected_record);
        selected.filter(|_| self.selected_record.is_some()).or_else(|| self.records().next())
    }

    /// Records a second, over the last seconds.
    pub(super) fn rate(&self) -> u64 {
        self.rate.per_second(self.now)
    }

    /// Adds a record to the list and to the history of its VM.
    pub(super) fn add_record(&mut self, record: Record<'static>) {
        if record.offset > Some(self.counted_to) {
            self.counted_to = record.offset.unwrap_or_default();
            self.rate.count(record.received);
            if let Some(row) = self.rows.get_mut(record.vm.as_ref()) {
                row.history.count(record.received, 1);
            }
        }
        self.recent.push(record);
    }

    /// Takes the states of all VMs: VMs that the hub no longer names are removed.
    pub(super) fn replace_vms(&mut self, vms: Vec<super::super::status::Vm>) {
        let mut before = std::mem::take(&mut self.rows);
        for vm in vms {
            let known = before.remove(vm.vm.as_str()).map(|row| row.history);
            self.insert(vm, known);
        }
    }

    /// Takes the state of one VM.
    pub(super) fn update_vm(&mut self, vm: super::super::status::Vm) {
        let known = self.rows.remove(vm.vm.as_str()).map(|row| row.history);
        self.insert(vm, known);
    }

    fn insert(&mut self, vm: super::super::status::Vm, history: Option<History>) {
        let history = history.unwrap_or_else(|| History::new(self.span.micros(), self.now));
        let mut row = Row { vm, history };
        let cell = row.cell();
        row.history.advance(self.now, cell);
        self.rows.insert(row.vm.vm.as_str().into(), row);
    }

    /// Takes the past of the VMs; a part of another span than the present one is ignored.
    pub(super) fn add_timeline(&mut self, timeline: &super::timeline::Timeline) {
        if timeline.span() != self.span.micros() {
            return;
        }
        for lane in &timeline.lanes {
            let Some(row) = self.rows.get_mut(lane.vm.as_str()) else { continue };
            let mut history = History::new(self.span.micros(), self.now);
            timeline.add_to(lane, &mut history);
            history.advance(self.now, row.cell());
            // Records that arrived while the hub answered.
            let is_later =
                |record: &&Record<'_>| record.offset > Some(Offset(timeline.head)) && record.vm == lane.vm;
            self.recent.kept().filter(is_later).for_each(|record| history.count(record.received, 1));
            row.history = history;
        }
    }

    /// Forgets the past, because another span is shown.
    pub(super) fn clear_histories(&mut self) {
        for row in self.rows.values_mut() {
            row.history = History::new(self.span.micros(), self.now);
        }
    }

    /// Moves the display to a time.
    pub(super) fn advance(&mut self, now: UnixMicros) {
        self.now = now;
        let is_live = self.hub == HubState::Live;
        for row in self.rows.values_mut() {
            let cell = if is_live { row.cell() } else { Cell::Gap };
            row.history.advance(now, cell);
        }
    }
}

/// Seconds over which the rate is averaged.
const RATE_SECONDS: i64 = 5;

/// How many records arrived in each of the last seconds.
#[derive(Debug, Default)]
struct Rate(VecDeque<(i64, u64)>);

impl Rate {
    fn count(&mut self, at: UnixMicros) {
        let second = at.0.div_euclid(1_000_000);
        match self.0.back_mut() {
            // A clock that steps back counts in the last second.
            Some((last, count)) if *last >= second => *count += 1,
            _ => self.0.push_back((second, 1)),
        }
        while self.0.len() > usize::try_from(RATE_SECONDS).unwrap_or(1) + 1 {
            self.0.pop_front();
        }
    }

    fn per_second(&self, now: UnixMicros) -> u64 {
        let newest = now.0.div_euclid(1_000_000);
        let counted = self.0.iter().filter(|(second, _)| (newest - RATE_SECONDS..newest).contains(second));
        counted.map(|(_, count)| count).sum::<u64>() / RATE_SECONDS.unsigned_abs()
    }
}
