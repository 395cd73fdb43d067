//! The screen as a function of the state.

mod paint;
mod pages;
mod records;
mod table;

use std::collections::BTreeSet;

use qmp_wire::QualifiedName;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};

use super::model::{HubState, Model, Page, Pane};
use super::row::Need;
use paint::{Canvas, thousands};

/// The least size of a screen with a list of records.
const RECORDS_MIN: (u16, u16) = (60, 15);

/// The least size of a screen with the record in full beside the list.
const DETAIL_MIN: (u16, u16) = (120, 40);

/// Draws the screen.
pub(super) fn draw(model: &Model, area: Rect, buffer: &mut Buffer) {
    let mut canvas = Canvas { buffer, glyphs: model.glyphs, is_coloured: model.is_coloured };
    if area.height < 3 || area.width < 20 {
        canvas.draw(area.x, area.y, area.width, "too small", Style::new());
        return;
    }
    title(model, area, &mut canvas);
    let body = Rect { y: area.y + 1, height: area.height - 2, ..area };
    if model.page == Page::Main {
        main(model, body, &mut canvas);
    } else {
        page(model, body, &mut canvas);
    }
    footer(model, Rect { y: area.bottom() - 1, height: 1, ..area }, &mut canvas);
}

/// The first line: the hub, the VMs that need an operator, the time.
fn title(model: &Model, area: Rect, canvas: &mut Canvas<'_>) {
    let (mut vms, mut trouble, mut unwatched) = (0, 0, 0);
    let mut hosts = BTreeSet::new();
    for row in model.rows() {
        vms += 1;
        hosts.extend(QualifiedName::divide(&row.vm.vm).0);
        match row.need() {
            Need::Trouble => trouble += 1,
            Need::Unwatched => unwatched += 1,
            Need::None => {}
        }
    }
    let dot = format!(" {} ", canvas.glyphs.dot());
    let mut parts = vec!["qmp top".to_owned(), model.hub_name.clone(), format!("{} VMs", thousands(vms))];
    if !hosts.is_empty() {
        parts.insert(2, format!("{} other hosts", thousands(hosts.len())));
    }
    if trouble > 0 {
        let verb = if trouble == 1 { "needs" } else { "need" };
        parts.push(format!("{} {verb} you", thousands(trouble)));
    }
    if unwatched > 0 {
        parts.push(format!("{} unwatched", thousands(unwatched)));
    }
    parts.push(format!("{} rec/s", thousands(usize::try_from(model.rate()).unwrap_or(usize::MAX))));
    let time = records::time_of_day(model.now, &model.zone);
    let state = match &model.hub {
        HubState::Away(_) => "hub away",
        HubState::Live if model.recent.is_paused() => "paused",
        HubState::Live => "live",
    };
    let right = format!("{} {state} ", time.get(..8).unwrap_or_default());
    let right_columns = u16::try_from(right.len()).unwrap_or(0).min(area.width);
    let left = format!(" {}", parts.join(&dot));
    canvas.put(area.x, area.y, area.width - right_columns, &left, Style::new());
    canvas.draw(area.right() - right_columns, area.y, right_columns, &right, Style::new());
    canvas.restyle(area, area.y, Style::new().add_modifier(Modifier::REVERSED | Modifier::BOLD));
}

fn main(model: &Model, area: Rect, canvas: &mut Canvas<'_>) {
    if area.width < RECORDS_MIN.0 || area.height + 2 < RECORDS_MIN.1 {
        return table::draw(model, area, canvas);
    }
    // The records get a third, or a half while the cursor is there, and what the table does not need.
    let share = if model.pane == Pane::Records { 2 } else { 3 };
    let needed = u16::try_from(model.listed().len().max(1)).unwrap_or(u16::MAX).saturating_add(1);
    let records = (area.height / share).max(area.height.saturating_sub(needed));
    let (above, below) =
        (area.height - records, Rect { y: area.bottom() - records, height: records, ..area });
    table::draw(model, Rect { height: above, ..area }, canvas);
    if area.width < DETAIL_MIN.0 || area.height + 2 < DETAIL_MIN.1 {
        return records::draw(model, below, canvas);
    }
    let list = below.width * 3 / 5;
    records::draw(model, Rect { width: list, ..below }, canvas);
    if let Some(record) = model.current_record() {
        let detail = Rect { x: below.x + list + 1, width: below.width - list - 1, ..below };
        canvas.rule(Rect { x: below.x + list, width: below.width - list, ..below }, below.y);
        let text = pages::record_text(record, model);
        lines(
            &text.lines().map(str::to_owned).collect::<Vec<_>>(),
            0,
            Rect { y: detail.y + 1, height: detail.height - 1, ..detail },
            canvas,
        );
    }
}

/// A page of text in place of the lists.
fn page(model: &Model, area: Rect, canvas: &mut Canvas<'_>) {
    let (title, text) = pages::text(model);
    canvas.rule(area, area.y);
    canvas.put(area.x + 2, area.y, area.width.saturating_sub(4), &format!(" {title} "), canvas.bold());
    let below = Rect { x: area.x + 1, y: area.y + 1, width: area.width - 1, height: area.height - 1 };
    lines(&text, usize::from(model.scroll), below, canvas);
}

/// Draws lines of text, broken at the width, from line `first` on; a text is not scrolled past its end.
fn lines(text: &[String], first: usize, area: Rect, canvas: &mut Canvas<'_>) {
    let columns = usize::from(area.width.max(1));
    let broken: Vec<String> = text.iter().flat_map(|line| broken(line, columns)).collect();
    let rows = usize::from(area.height);
    let first = first.min(broken.len().saturating_sub(rows));
    for (line, text) in broken.iter().skip(first).take(rows).enumerate() {
        canvas.put(area.x, area.y + u16::try_from(line).unwrap_or(u16::MAX), area.width, text, Style::new());
    }
}

/// Breaks a line at its blanks where possible.
fn broken(line: &str, columns: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in line.split_inclusive(' ') {
        let last = lines.last().map_or(0, |last| last.chars().count());
        if last > 0 && last + word.trim_end().chars().count() > columns {
            lines.push(String::new());
        }
        for character in word.chars() {
            let is_full = lines.last().is_some_and(|last| last.chars().count() >= columns);
            if is_full {
                lines.push(String::new());
            }
            if let Some(last) = lines.last_mut() {
                last.push(character);
            }
        }
    }
    lines
}

/// The last line: a message, the filter that is edited, or the keys that work now.
fn footer(model: &Model, area: Rect, canvas: &mut Canvas<'_>) {
    let text = match (&model.note, &model.hub) {
        (Some(note), _) => note.clone(),
        _ if model.filter_before.is_some() => {
            format!("/{}_   Enter keep  Esc undo   words: parts of names, or patterns", model.filter.text())
        }
        (None, HubState::Away(error)) => format!("{error}; trying again    q quit"),
        (None, HubState::Live) => keys(model),
    };
    canvas.put(area.x + 1, area.y, area.width.saturating_sub(2), &text, canvas.dim());
}

/// The keys that do something now.
fn keys(model: &Model) -> String {
    if model.page != Page::Main {
        return "Esc back  Up Down scroll  y copy  q quit".to_owned();
    }
    let mut keys = vec!["Enter detail", "/ filter", "! trouble", "s sort", "t span", "? help", "q quit"];
    match model.pane {
        Pane::Vms => keys.splice(1..1, ["l records"]),
        Pane::Records => keys.splice(1..1, ["e meaning"]),
    };
    keys.insert(2, if model.recent.is_paused() { "p go on" } else { "p pause" });
    let mut text = keys.join("  ");
    if !model.filter.text().is_empty() || model.is_trouble_only || model.only_vm.is_some() {
        text = format!("Esc all  {text}");
    }
    let filter = match model.filter.text() {
        "" => String::new(),
        filter => format!("   filter: {filter}"),
    };
    format!("{text}   {}{filter}", model.sort.label())
}
