//! The picture: lanes with run states, gaps, marks and findings, a histogram of all records, a time axis and a legend.
//!
//! The picture is light, since reports are printed, uses fonts of the reader's system, and has neither scripts nor references.
//! The same lanes give the same bytes.

mod xml;
mod text;
mod place;
mod lane;
mod legend;

use jiff::tz::TimeZone;

use self::lane::{Painter, Row};
use self::place::{MARGIN, PLOT_LEFT, PLOT_WIDTH, WIDTH, x};
use self::xml::{Px, Xml};
use super::axis::{self, Tick};
use super::lanes::Lanes;

/// The head: title, window, histogram and axis.
const HISTOGRAM_TOP: f64 = 52.0;
const HISTOGRAM_HEIGHT: f64 = 40.0;
const AXIS_HEIGHT: f64 = 24.0;
const LANES_TOP: f64 = HISTOGRAM_TOP + HISTOGRAM_HEIGHT + AXIS_HEIGHT;
const LEGEND_HEIGHT: f64 = 40.0;
/// The labels for which the axis has room, with some 90 pixels each.
const LABELS: i64 = 11;

/// The colours are those of the hub's page in its light scheme.
const STYLE: &str = "\
.qmp text{font:11px system-ui,-apple-system,'Segoe UI','Noto Sans','Liberation Sans',sans-serif;fill:#1b2026}\
.qmp .title{font-size:15px;font-weight:600}.qmp .soft{fill:#57606b}.qmp .major{font-weight:600}\
.qmp .name{font-size:12px;font-weight:500}.qmp .rule{fill:#e2e5e9}.qmp .edge{fill:#8b949e}.qmp .ink{fill:#1b2026}\
.qmp .s0{fill:#c62a21}.qmp .s1{fill:#a65b00}.qmp .s2{fill:#1d56c9}.qmp .s3{fill:#1a7a46}.qmp .s4{fill:#77828e}\
.qmp .mark{stroke:#fff;stroke-width:.75}\
.qmp .running{fill:#cfe9d9;stroke:#86bf9f}.qmp .stopped{fill:url(#qmp-stopped);stroke:#c1902f}\
.qmp .trouble{fill:url(#qmp-trouble);stroke:#c9463d}.qmp .unknown{fill:url(#qmp-unknown);stroke:#8b949e}\
.qmp .mixed{fill:url(#qmp-mixed);stroke:#c9463d}.qmp .off{fill:none;stroke:#8b949e;stroke-width:1.5;stroke-dasharray:2 4}\
.qmp .gap{fill:url(#qmp-gap);stroke:#9aa3ad}.qmp .plate{fill:#fff}";

/// Draws the lanes.
pub(super) fn draw(lanes: &Lanes, zone: &TimeZone) -> String {
    let row = Row::of(lanes.lanes.len());
    let lanes_height = row.height * lanes.lanes.len().max(1) as f64;
    let height = LANES_TOP + lanes_height + LEGEND_HEIGHT;
    let mut xml = Xml::default();
    let view_box = format!("0 0 {} {}", Px(WIDTH), Px(height));
    let (title, range) = (format!("Timeline of {}", lanes.vms()), lanes.range(zone));
    xml.open(
        "svg",
        &[
            ("xmlns", &"http://www.w3.org/2000/svg"),
            ("class", &"qmp"),
            ("width", &Px(WIDTH)),
            ("height", &Px(height)),
            ("viewBox", &view_box),
            ("role", &"img"),
        ],
    );
    xml.text("title", &[], &title);
    xml.text("desc", &[], &description(lanes, zone));
    xml.text("style", &[], STYLE);
    patterns(&mut xml);
    xml.empty("rect", &[("class", &"plate"), ("width", &Px(WIDTH)), ("height", &Px(height))]);
    xml.text("text", &[("class", &"title"), ("x", &Px(MARGIN)), ("y", &Px(26.0))], &title);
    xml.text("text", &[("class", &"soft"), ("x", &Px(MARGIN)), ("y", &Px(43.0))], &range);
    let mut painter = Painter { xml: &mut xml, lanes, zone, row };
    histogram(&mut painter);
    let ticks = axis::ticks(lanes.since, lanes.until, LABELS, zone);
    draw_axis(&mut painter, &ticks, LANES_TOP + lanes_height);
    for (index, lane) in lanes.lanes.iter().enumerate() {
        painter.lane(lane, LANES_TOP + row.height * index as f64);
    }
    if lanes.lanes.is_empty() {
        let place: xml::Attributes<'_> =
            &[("class", &"soft"), ("x", &Px(PLOT_LEFT)), ("y", &Px(LANES_TOP + 18.0))];
        xml.text("text", place, "No VM was watched in this time.");
    }
    legend::draw(&mut xml, LANES_TOP + lanes_height + 26.0);
    xml.close();
    xml.into_text()
}

/// The content in words, for a reader that does not see it.
fn description(lanes: &Lanes, zone: &TimeZone) -> String {
    let mut text =
        format!("Run states, gaps, events and findings of {}, {}.", lanes.vms(), lanes.range(zone));
    for lane in lanes.lanes.iter().take(50) {
        let state =
            lane.states.last().map_or("unknown", |(_, _, state, _)| Lanes::word(&lanes.states, *state));
        let gaps = lanes.unwatched(lane).len();
        let records: u64 = lane.counts.values().flatten().map(|(_, records)| records).sum();
        text += &format!(
            " {}: {} at the end, {records} records, {gaps} gaps.",
            lane.vm,
            super::look::state_text(state)
        );
    }
    text
}

fn histogram(painter: &mut Painter<'_>) {
    painter.density(&painter.lanes.total, HISTOGRAM_TOP, HISTOGRAM_HEIGHT);
    let y = HISTOGRAM_TOP + HISTOGRAM_HEIGHT;
    let line: xml::Attributes<'_> = &[
        ("class", &"rule"),
        ("x", &Px(PLOT_LEFT)),
        ("y", &Px(y)),
        ("width", &Px(PLOT_WIDTH)),
        ("height", &Px(1.0)),
    ];
    painter.xml.empty("rect", line);
    painter.xml.text("text", &[("class", &"soft"), ("x", &Px(MARGIN)), ("y", &Px(y))], "all records");
}

/// The labels, and a faint line through all lanes at each of them.
fn draw_axis(painter: &mut Painter<'_>, ticks: &[Tick], bottom: f64) {
    let top = HISTOGRAM_TOP + HISTOGRAM_HEIGHT;
    for Tick { at, text, is_major } in ticks {
        let left = x(painter.lanes, *at);
        let line: xml::Attributes<'_> = &[
            ("class", &"rule"),
            ("x", &Px(left)),
            ("y", &Px(top)),
            ("width", &Px(1.0)),
            ("height", &Px(bottom - top)),
        ];
        painter.xml.empty("rect", line);
        // A label that the edge would cut is left out.
        if (PLOT_LEFT + 20.0..WIDTH - MARGIN - 20.0).contains(&left) {
            let class = if *is_major { "major" } else { "soft" };
            let place: xml::Attributes<'_> =
                &[("class", &class), ("x", &Px(left)), ("y", &Px(top + 16.0)), ("text-anchor", &"middle")];
            painter.xml.text("text", place, text);
        }
    }
}

/// The patterns of bands and gaps: bars, crosses, dots, halves, diagonals.
fn patterns(xml: &mut Xml) {
    const TILES: [(&str, f64, &str, &str, &str, f64); 5] = [
        ("qmp-stopped", 6.0, "#fbe6b9", "M1.5 0V6", "#c1902f", 1.0),
        ("qmp-trouble", 5.0, "#f8d3cf", "M0 0L5 5M5 0L0 5", "#c9463d", 0.8),
        ("qmp-unknown", 5.0, "#ffffff", "M1 1.75H2.5M3.5 4.25H5", "#8b949e", 1.5),
        ("qmp-mixed", 4.0, "#fbe6b9", "M1 0V4", "#c9463d", 2.0),
        ("qmp-gap", 7.0, "#eceef1", "M-1 1L1 -1M0 7L7 0M6 8L8 6", "#9aa3ad", 1.2),
    ];
    xml.open("defs", &[]);
    for (id, size, ground, path, colour, width) in TILES {
        let tile: xml::Attributes<'_> =
            &[("id", &id), ("width", &Px(size)), ("height", &Px(size)), ("patternUnits", &"userSpaceOnUse")];
        xml.open("pattern", tile);
        xml.empty("rect", &[("width", &Px(size)), ("height", &Px(size)), ("fill", &ground)]);
        xml.empty(
            "path",
            &[("d", &path), ("stroke", &colour), ("stroke-width", &Px(width)), ("fill", &"none")],
        );
        xml.close();
    }
    xml.close();
}

#[cfg(test)]
pub(super) mod examples;
#[cfg(test)]
mod tests;
