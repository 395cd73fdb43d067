//! The table of the VMs.

use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Span;

use super::super::history::{BUCKETS, Cell};
use super::super::model::{Model, Pane};
use super::super::row::{Need, Row, age};
use super::paint::{Canvas, thousands};

/// The narrowest and the widest column of names.
const NAME_COLUMNS: (usize, usize) = (4, 24);
/// The longest run state of QEMU has 14 characters, and the mark of doubt one.
const STATE_COLUMNS: u16 = 14;
const AGE_COLUMNS: u16 = 5;
/// From this width on, the history has a column for each bucket, and a lane of states beside it.
const WIDE: u16 = 120;
/// Columns of the history on a narrower terminal.
const NARROW_HISTORY_COLUMNS: usize = 10;

/// The columns of the table.
struct Columns {
    name: u16,
    history: usize,
    has_lane: bool,
}

/// Draws the table: a head, the VMs around the selected one, and how many more there are.
pub(super) fn draw(model: &Model, area: Rect, canvas: &mut Canvas<'_>) {
    let listed = model.listed();
    let columns = columns(&listed, area.width);
    head(model, area, &columns, canvas);
    let rows = usize::from(area.height.saturating_sub(1));
    let Some((selected, _)) = model.current(&listed) else {
        let text =
            if model.rows().next().is_none() { "the hub has no VM" } else { "no VM matches; Esc shows all" };
        canvas.draw(area.x + 3, area.y + 1, area.width.saturating_sub(3), text, canvas.dim());
        return;
    };
    // The last line counts the others, if not all fit.
    let shown = if listed.len() > rows { rows.saturating_sub(1) } else { listed.len() };
    let first = selected.saturating_sub(shown / 2).min(listed.len() - shown);
    for (line, row) in listed[first..first + shown].iter().enumerate() {
        let y = area.y + 1 + u16::try_from(line).unwrap_or(u16::MAX);
        let is_selected = first + line == selected && model.pane == Pane::Vms;
        draw_row(model, row, Rect { y, height: 1, ..area }, &columns, is_selected, canvas);
    }
    if shown < listed.len() {
        let text = format!("{} more", thousands(listed.len() - shown));
        let y = area.y + 1 + u16::try_from(shown).unwrap_or(u16::MAX);
        canvas.draw(area.x + 1, y, area.width.saturating_sub(1), &text, canvas.dim());
    }
}

fn columns(listed: &[&Row], width: u16) -> Columns {
    let (least, most) = NAME_COLUMNS;
    let most = most.min(usize::from(width / 4)).max(least);
    let longest = listed.iter().map(|row| Span::raw(row.vm.vm.as_str()).width()).max().unwrap_or(0);
    let is_wide = width >= WIDE;
    Columns {
        name: u16::try_from(longest.clamp(least, most)).unwrap_or(u16::MAX),
        history: if is_wide { BUCKETS } else { NARROW_HISTORY_COLUMNS },
        has_lane: is_wide,
    }
}

fn head(model: &Model, area: Rect, columns: &Columns, canvas: &mut Canvas<'_>) {
    let style = canvas.dim();
    let end = area.right();
    let history = u16::try_from(columns.history).unwrap_or(u16::MAX);
    let mut x = area.x + 3;
    let mut cell = |text: &str, width: u16, canvas: &mut Canvas<'_>| {
        canvas.draw(x, area.y, width.min(end.saturating_sub(x)), text, style);
        x += width + 2;
    };
    cell("VM", columns.name, canvas);
    cell("STATE", STATE_COLUMNS, canvas);
    cell("SINCE", AGE_COLUMNS, canvas);
    if columns.has_lane {
        cell(&format!("STATES, LAST {}", model.span.label()), history, canvas);
        cell("RECORDS", history, canvas);
    } else {
        cell(&format!("LAST {}", model.span.label()), history, canvas);
    }
    cell("WHY", u16::MAX - 2 - end, canvas);
}

fn draw_row(
    model: &Model,
    row: &Row,
    area: Rect,
    columns: &Columns,
    is_selected: bool,
    canvas: &mut Canvas<'_>,
) {
    let (y, end) = (area.y, area.right());
    let need = row.need();
    let (mark, colour) = match need {
        Need::Trouble => ("!", canvas.colour(Color::Red)),
        Need::Unwatched => (canvas.glyphs.gap(), canvas.colour(Color::Yellow)),
        Need::None => (" ", Style::new()),
    };
    let cursor = if is_selected { ">" } else { " " };
    canvas.draw(area.x, y, 1, cursor, canvas.bold());
    canvas.draw(area.x + 1, y, 1, mark, colour.add_modifier(Modifier::BOLD));
    let mut x = area.x + 3;
    canvas.put(x, y, columns.name, &row.vm.vm, canvas.bold());
    x += columns.name + 2;
    canvas.put(x, y, STATE_COLUMNS, &row.vm.run_state(), colour);
    x += STATE_COLUMNS + 2;
    let age = age(row.since(), model.now);
    canvas.draw(x, y, AGE_COLUMNS, &format!("{age:>width$}", width = usize::from(AGE_COLUMNS)), Style::new());
    x += AGE_COLUMNS;
    let text = Rect { width: x.saturating_sub(area.x).min(area.width), ..area };
    x += 2;
    if columns.has_lane {
        for cell in row.history.cells(columns.history) {
            let style = cell_style(cell, canvas);
            x = canvas.draw(x, y, end.saturating_sub(x), canvas.glyphs.cell(cell), style);
        }
        x += 2;
    }
    let (counts, cells) = (row.history.counts(columns.history), row.history.cells(columns.history));
    let highest = counts.iter().copied().max().unwrap_or(0);
    for (count, cell) in counts.into_iter().zip(cells) {
        let bar = match cell {
            Cell::Before if count == 0 => " ".to_owned(),
            Cell::Gap if count == 0 => canvas.glyphs.gap().to_owned(),
            _ => canvas.glyphs.bar(count, highest).to_string(),
        };
        x = canvas.draw(x, y, end.saturating_sub(x), &bar, canvas.colour(Color::Cyan));
    }
    x += 2;
    canvas.put(x, y, end.saturating_sub(x), row.why(), Style::new());
    if is_selected {
        // The past stays as it is: reversed, its blanks would be bars, and its bars blanks.
        let why = Rect { x: x.min(end), width: end.saturating_sub(x), ..area };
        for part in [text, why] {
            canvas.restyle(part, y, Style::new().add_modifier(Modifier::REVERSED));
        }
    }
}

fn cell_style(cell: Cell, canvas: &Canvas<'_>) -> Style {
    match cell {
        Cell::Running => canvas.colour(Color::Green),
        Cell::Stopped => canvas.colour(Color::Blue),
        Cell::Trouble => canvas.colour(Color::Red),
        Cell::Gap => canvas.colour(Color::Yellow),
        Cell::Before | Cell::Off | Cell::Unknown => canvas.dim(),
    }
}
