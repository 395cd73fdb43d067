//! One lane: findings above, events in the middle, run states below, and gaps over all of them.

use std::collections::{BTreeMap, HashMap};

use jiff::tz::TimeZone;

use super::place::{MARGIN, PLOT_LEFT, PLOT_WIDTH, x};
use super::text;
use super::xml::{Attributes, Px, Xml};
use crate::commands::timeline::lanes::{Counts, Interval, Lane, Lanes, duration, moment};
use crate::commands::timeline::look::{Look, SEVERITIES, severity_of, state_text};

/// Lanes up to this number are drawn with the name of a run state in its band.
const ROOMY_LANES_MAX: usize = 12;

/// An interval that is narrower gets this width.
const SPAN_MIN: f64 = 2.0;

/// Marks of different severity that are nearer cover each other.
const COVERED: f64 = 4.0;

/// The width of a bar of counts.
const BAR: f64 = 2.0;

/// The parts of a row: each has a top and a height.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub(super) height: f64,
    finding: (f64, f64),
    mark: (f64, f64),
    band: (f64, f64),
    is_roomy: bool,
}

impl Row {
    /// The rows of a picture with that many lanes.
    pub(super) fn of(lanes: usize) -> Self {
        let is_roomy = lanes <= ROOMY_LANES_MAX;
        let (finding, mark, band) = if is_roomy { (7.0, 15.0, 14.0) } else { (5.0, 9.0, 8.0) };
        Self {
            height: finding + mark + band + 8.0,
            finding: (3.0, finding),
            mark: (4.0 + finding, mark),
            band: (5.0 + finding + mark, band),
            is_roomy,
        }
    }
}

/// Draws lanes into a document.
pub(super) struct Painter<'p> {
    pub(super) xml: &'p mut Xml,
    pub(super) lanes: &'p Lanes,
    pub(super) zone: &'p TimeZone,
    pub(super) row: Row,
}

impl Painter<'_> {
    /// Draws a lane.
    pub(super) fn lane(&mut self, lane: &Lane, top: f64) {
        self.xml.open("g", &[]);
        self.name(lane, top);
        for state in &lane.states {
            self.state(state, top + self.row.band.0);
        }
        for gap in self.lanes.unwatched(lane) {
            self.gap(&gap, top);
        }
        match &lane.marks {
            Some(marks) => self.marks(marks, top + self.row.mark.0 + self.row.mark.1 / 2.0),
            None => self.density(&lane.counts, top + self.row.mark.0, self.row.mark.1),
        }
        self.findings(lane, top + self.row.finding.0);
        let line: Attributes<'_> = &[
            ("class", &"rule"),
            ("x", &Px(MARGIN)),
            ("y", &Px(top + self.row.height - 1.0)),
            ("width", &Px(PLOT_LEFT + PLOT_WIDTH - MARGIN)),
            ("height", &Px(1.0)),
        ];
        self.xml.empty("rect", line);
        self.xml.close();
    }

    /// The name, and its last run state if there is room.
    fn name(&mut self, lane: &Lane, top: f64) {
        let middle = top + self.row.height / 2.0;
        let state =
            lane.states.last().map_or("unknown", |(_, _, state, _)| Lanes::word(&self.lanes.states, *state));
        let baseline = if self.row.is_roomy { middle - 1.0 } else { middle + 4.0 };
        let name = text::fitted(&lane.vm, 12.0, PLOT_LEFT - MARGIN - 10.0);
        self.xml.text("text", &[("class", &"name"), ("x", &Px(MARGIN)), ("y", &Px(baseline))], &name);
        if self.row.is_roomy {
            let place: Attributes<'_> = &[("class", &"soft"), ("x", &Px(MARGIN)), ("y", &Px(middle + 13.0))];
            self.xml.text("text", place, state_text(state));
        }
    }

    fn state(&mut self, (from, to, state, changes): &Interval, y: f64) {
        let (left, width) = self.extent(*from, *to);
        let state = Lanes::word(&self.lanes.states, *state);
        let height = self.row.band.1;
        let title = match changes {
            0 => format!("{}, {}", state_text(state), self.span(*from, *to)),
            changes => format!("{changes} changes, then {}, {}", state_text(state), self.span(*from, *to)),
        };
        let look = Look::of(state);
        if *changes == 0 && look == Look::Off {
            let path = format!("M{} {}h{}", Px(left), Px(y + height / 2.0), Px(width));
            self.xml.titled("path", &[("class", &"off"), ("d", &path)], &title);
        } else {
            let class = match (changes, look) {
                (1.., _) => "mixed",
                (_, Look::Running) => "running",
                (_, Look::Trouble) => "trouble",
                (_, Look::Stopped) => "stopped",
                (_, Look::Off | Look::Unknown) => "unknown",
            };
            self.rect(class, (left, y + 0.5), (width, height - 1.0), &title);
        }
        // A VM that runs is the rule.
        if self.row.is_roomy && *changes == 0 && look != Look::Running {
            self.label(state_text(state), left, y, width, height);
        }
    }

    /// A gap is as high as the row: nothing is known of that time.
    fn gap(&mut self, (from, to, reason, joined): &Interval, top: f64) {
        let (left, width) = self.extent(*from, *to);
        let (y, height) = (top + 1.0, self.row.height - 3.0);
        let reason = Lanes::word(&self.lanes.reasons, *reason);
        let mut title = format!("not watched: {reason}, {}", self.span(*from, *to));
        if *joined > 1 {
            title += &format!(" ({joined} gaps)");
        }
        self.rect("gap", (left, y + 0.5), (width, height - 1.0), &title);
        if self.row.is_roomy {
            let length = duration(to.unwrap_or(self.lanes.until).saturating_sub(*from));
            let text =
                if width > 150.0 { format!("not watched · {length}") } else { "not watched".to_owned() };
            self.label(&text, left, y + height / 2.0 - 8.0, width, 16.0);
        }
    }

    /// One shape for each severity; the less urgent are drawn first, and left out where a more urgent one would cover them.
    fn marks(&mut self, marks: &[(u64, i64, String)], middle: f64) {
        let place = |at: i64| column(x(self.lanes, at) + COVERED / 2.0, COVERED);
        let mut taken: HashMap<i64, usize> = HashMap::new();
        let mut shown: Vec<(usize, &(u64, i64, String))> =
            marks.iter().map(|mark| (severity_of(&mark.2), mark)).collect();
        // The order of equal severities is that of the journal.
        shown.sort_by_key(|(severity, _)| *severity);
        shown.retain(|(severity, (_, at, _))| {
            let place = place(*at);
            let is_covered =
                (place - 1..=place + 1).any(|near| taken.get(&near).is_some_and(|other| other < severity));
            if !is_covered {
                taken.entry(place).or_insert(*severity);
            }
            !is_covered
        });
        for (severity, (_, at, name)) in shown.into_iter().rev() {
            let title = format!("{name}, {}", moment(*at, self.zone));
            let path = mark(severity, x(self.lanes, *at), middle, (self.row.mark.1 / 2.0).min(5.0));
            let class = format!("mark s{severity}");
            self.xml.titled("path", &[("class", &class), ("d", &path)], &title);
        }
    }

    /// Counts as bars, the most urgent at the bottom, where a bar of one is still seen.
    pub(super) fn density(&mut self, counts: &Counts, top: f64, height: f64) {
        let mut columns: BTreeMap<i64, [u64; SEVERITIES.len()]> = BTreeMap::new();
        for (severity, buckets) in
            (0..).zip(SEVERITIES).filter_map(|(rank, name)| Some((rank, counts.get(name)?)))
        {
            let severity: usize = severity;
            for (bucket, records) in buckets {
                let begin = self.lanes.since.saturating_add(bucket.saturating_mul(self.lanes.bucket));
                let middle = x(self.lanes, begin.saturating_add(self.lanes.bucket / 2));
                columns.entry(column(middle, BAR)).or_default()[severity] += records;
            }
        }
        let most = columns.values().map(|column| column.iter().sum::<u64>()).max().unwrap_or(1);
        let width =
            (x(self.lanes, self.lanes.since.saturating_add(self.lanes.bucket)) - PLOT_LEFT - 0.5).max(BAR);
        for (column, records) in columns {
            let all: u64 = records.iter().sum();
            // A logarithm shows both one record and a storm of thousands.
            let whole = ((all as f64).ln_1p() / (most as f64).ln_1p() * height).max(3.0);
            let mut bottom = top + height;
            for (severity, records) in records.into_iter().enumerate().filter(|(_, records)| *records > 0) {
                let part = (records as f64 / all as f64 * whole).max(1.5).min((bottom - top).max(0.0));
                let class = format!("s{severity}");
                let bar: Attributes<'_> = &[
                    ("class", &class),
                    ("x", &Px(column as f64 * BAR)),
                    ("y", &Px(bottom - part)),
                    ("width", &Px(width)),
                    ("height", &Px(part)),
                ];
                self.xml.empty("rect", bar);
                bottom -= part;
            }
        }
    }

    /// Findings point at the moment of their begin; those that last are lines.
    fn findings(&mut self, lane: &Lane, y: f64) {
        let (height, size) = (self.row.finding.1, self.row.finding.1 - 2.0);
        for (_, from, to, kind, joined) in &lane.findings {
            let (left, width) = self.extent(*from, *to);
            let mut path = pointer(left, y, size);
            if width > 6.0 {
                let width = Px(width);
                path += &format!("M{} {}h{width}v2h-{width}z", Px(left), Px(y + height - 3.0));
            }
            let mut title = format!("{}, {}", Lanes::word(&self.lanes.kinds, *kind), self.span(*from, *to));
            if *joined > 1 {
                title += &format!(" ({joined} findings)");
            }
            self.xml.titled("path", &[("class", &"ink"), ("d", &path)], &title);
        }
    }

    /// The position and width of an interval within the plot.
    fn extent(&self, from: i64, to: Option<i64>) -> (f64, f64) {
        let left = x(self.lanes, from);
        let right = x(self.lanes, to.unwrap_or(self.lanes.until).max(from));
        let width = (right - left).max(SPAN_MIN);
        (left.min(PLOT_LEFT + PLOT_WIDTH - width), width)
    }

    /// An interval in words.
    fn span(&self, from: i64, to: Option<i64>) -> String {
        match to {
            Some(to) if to == from => moment(from, self.zone),
            Some(to) => format!("{} for {}", moment(from, self.zone), duration(to.saturating_sub(from))),
            None => format!("since {}", moment(from, self.zone)),
        }
    }

    fn rect(&mut self, class: &str, (left, top): (f64, f64), (width, height): (f64, f64), title: &str) {
        let place: Attributes<'_> = &[
            ("class", &class),
            ("x", &Px(left)),
            ("y", &Px(top)),
            ("width", &Px(width)),
            ("height", &Px(height)),
        ];
        self.xml.titled("rect", place, title);
    }

    /// A text in an interval, if there is room for it.
    fn label(&mut self, label: &str, left: f64, y: f64, width: f64, height: f64) {
        let length = text::width(label, 10.0);
        if length + 12.0 > width {
            return;
        }
        let plate: Attributes<'_> = &[
            ("class", &"plate"),
            ("x", &Px(left + 4.0)),
            ("y", &Px(y + 1.0)),
            ("width", &Px(length + 6.0)),
            ("height", &Px(height - 2.0)),
        ];
        self.xml.empty("rect", plate);
        let place: Attributes<'_> =
            &[("x", &Px(left + 7.0)), ("y", &Px(y + height / 2.0 + 3.5)), ("style", &"font-size:10px")];
        self.xml.text("text", place, label);
    }
}

/// The column of a position in the plot, where columns are `width` wide.
#[expect(clippy::cast_possible_truncation, reason = "at most the width of the picture")]
fn column(x: f64, width: f64) -> i64 {
    (x / width).floor() as i64
}

/// The path of a mark: triangle, diamond, square, disc, line.
pub(super) fn mark(severity: usize, x: f64, y: f64, size: f64) -> String {
    let at = |dx: f64, dy: f64| format!("{} {}", Px(x + dx), Px(y + dy));
    match severity {
        0 => format!("M{}L{}L{}z", at(0.0, -size - 1.0), at(size + 1.0, size), at(-size - 1.0, size)),
        1 => {
            format!("M{}L{}L{}L{}z", at(0.0, -size - 0.5), at(size, 0.0), at(0.0, size + 0.5), at(-size, 0.0))
        }
        2 => format!("M{}h{side}v{side}h-{side}z", at(1.0 - size, 1.0 - size), side = Px(2.0 * size - 2.0)),
        3 => {
            let radius = Px(size - 0.5);
            format!(
                "M{}a{radius} {radius} 0 1 0 {side} 0a{radius} {radius} 0 1 0 -{side} 0z",
                at(0.5 - size, 0.0),
                side = Px(2.0 * size - 1.0)
            )
        }
        _ => format!("M{}h1.5v{height}h-1.5z", at(-0.75, 0.5 - size), height = Px(2.0 * size - 1.0)),
    }
}

/// The path of a finding: a pointer downwards.
pub(super) fn pointer(x: f64, y: f64, size: f64) -> String {
    format!("M{} {}H{}L{} {}z", Px(x - size), Px(y), Px(x + size), Px(x), Px(y + size + 1.0))
}
