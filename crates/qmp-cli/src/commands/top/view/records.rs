//! The list of the newest records.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use qmp_events::EventSeverity;
use qmp_wire::{Body, Record, UnixMicros};
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};

use super::super::model::{Model, Pane};
use super::paint::{Canvas, thousands};
use crate::render::compact_members;

const TIME_COLUMNS: u16 = 12;
const VM_COLUMNS: u16 = 10;
const NAME_COLUMNS: u16 = 22;

/// Draws a rule with the state of the list, and the records, the newest first.
pub(super) fn draw(model: &Model, area: Rect, canvas: &mut Canvas<'_>) {
    canvas.rule(area, area.y);
    let what = match &model.only_vm {
        Some(vm) => format!(" records of {vm} "),
        None => " records ".to_owned(),
    };
    canvas.put(area.x + 2, area.y, area.width.saturating_sub(2), &what, Style::new());
    if model.recent.is_paused() {
        let state = format!(
            " paused, +{} new ",
            thousands(usize::try_from(model.recent.pending()).unwrap_or(usize::MAX))
        );
        let columns = u16::try_from(state.len()).unwrap_or(area.width).min(area.width);
        canvas.draw(area.right() - columns, area.y, columns, &state, canvas.bold());
    }
    let rows = usize::from(area.height.saturating_sub(1));
    let current = model.current_record().and_then(|record| record.offset);
    let position = model.records().position(|record| record.offset == current).unwrap_or(0);
    let first = position.saturating_sub(rows / 2);
    for (line, record) in model.records().skip(first).take(rows).enumerate() {
        let y = area.y + 1 + u16::try_from(line).unwrap_or(u16::MAX);
        let is_selected = model.pane == Pane::Records && first + line == position;
        draw_record(model, record, Rect { y, height: 1, ..area }, is_selected, canvas);
    }
}

fn draw_record(model: &Model, record: &Record<'_>, area: Rect, is_selected: bool, canvas: &mut Canvas<'_>) {
    let (y, end) = (area.y, area.right());
    canvas.draw(area.x, y, 1, if is_selected { ">" } else { " " }, canvas.bold());
    let mut x = area.x + 1;
    canvas.draw(x, y, TIME_COLUMNS, &time_of_day(record.received, &model.zone), canvas.dim());
    x += TIME_COLUMNS + 1;
    canvas.put(x, y, VM_COLUMNS, &record.vm, canvas.bold());
    x += VM_COLUMNS + 1;
    let (name, text, style) = described(record, canvas);
    x = canvas.put(x, y, NAME_COLUMNS.max(end.saturating_sub(x).min(NAME_COLUMNS)), &name, style) + 1;
    canvas.put(x, y, end.saturating_sub(x), &text, Style::new());
    if is_selected {
        canvas.restyle(area, y, Style::new().add_modifier(Modifier::REVERSED));
    }
}

/// The name of a record, its text, and its style.
fn described(record: &Record<'_>, canvas: &Canvas<'_>) -> (String, String, Style) {
    match &record.body {
        Body::Event { name, data, .. } => {
            let style = match EventSeverity::of(name, data.as_deref()) {
                EventSeverity::Error => canvas.colour(Color::Red),
                EventSeverity::Warning => canvas.colour(Color::Yellow),
                EventSeverity::Lifecycle => canvas.colour(Color::Blue),
                EventSeverity::Success => canvas.colour(Color::Green),
                _ => Style::new(),
            };
            (name.to_string(), data.as_deref().map(compact_members).unwrap_or_default(), style)
        }
        Body::Finding { finding, summary, .. } => {
            (format!("{} {finding}", finding_mark(canvas)), summary.to_string(), canvas.colour(Color::Yellow))
        }
        Body::Attached { .. } => (format!("epoch {} began", record.epoch.0), String::new(), canvas.dim()),
        Body::Detached { reason, detail, .. } => {
            let detail = detail.as_deref().map(|detail| format!(" ({detail})")).unwrap_or_default();
            (format!("epoch {} ended", record.epoch.0), format!("{reason}{detail}"), canvas.dim())
        }
    }
}

fn finding_mark(canvas: &Canvas<'_>) -> &'static str {
    if canvas.glyphs.text("»") == "»" { "»" } else { ">" }
}

/// The local time of day, to the millisecond.
pub(super) fn time_of_day(moment: UnixMicros, zone: &TimeZone) -> String {
    Timestamp::from_microsecond(moment.0)
        .map(|timestamp| timestamp.to_zoned(zone.clone()).strftime("%H:%M:%S.%3f").to_string())
        .unwrap_or_default()
}
