//! What a key, a record or a state of the hub changes in the display, and what it asks for.

use qmp_events::EventSeverity;
use qmp_wire::{Body, Record, UnixMicros};

use super::super::status::Vm;
use super::filter::NameFilter;
use super::key::Key;
use super::model::{HubState, Model, Page, Pane};
use super::row::Row;
use super::timeline::Timeline;

/// Something that happened.
#[derive(Debug)]
pub(super) enum Message {
    Key(Key),
    /// The size of the terminal has changed: the next frame has it.
    Resized,
    /// The time, once a second.
    Time(UnixMicros),
    /// The states of all VMs of the hub.
    Vms(Vec<Vm>),
    /// The state of one VM.
    Vm(Box<Vm>),
    /// A part of the past.
    Timeline(Timeline),
    /// A record was committed.
    Record(Record<'static>),
    /// So many records were removed from the journal before they were received.
    Removed(u64),
    /// The connection to the hub was lost.
    Away(String),
    /// The hub answers again; no record is missing.
    Back,
}

/// Something that the display asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Request {
    /// End the program.
    Quit,
    /// End the program and print the address of the page of a VM.
    Link(Option<Box<str>>),
    /// Stop the program until the shell continues it.
    Suspend,
    /// Put the text into the clipboard of the terminal.
    Copy(String),
    /// Ask for the state of a VM.
    State(Box<str>),
    /// Ask for the states of all VMs, and for their past.
    States,
    /// Ask for the past.
    Past,
}

/// Changes the display.
pub(super) fn update(model: &mut Model, message: Message) -> Option<Request> {
    match message {
        Message::Key(key) => return on_key(model, key),
        Message::Resized => {}
        Message::Time(now) => model.advance(now),
        Message::Vms(vms) => model.replace_vms(vms),
        Message::Vm(vm) => model.update_vm(*vm),
        Message::Timeline(timeline) => model.add_timeline(&timeline),
        Message::Record(record) => return on_record(model, record),
        Message::Removed(records) => {
            model.note =
                Some(format!("{records} records were removed from the journal before they were shown"));
        }
        Message::Away(error) => model.hub = HubState::Away(error),
        Message::Back => {
            model.hub = HubState::Live;
            return Some(Request::States);
        }
    }
    None
}

fn on_record(model: &mut Model, record: Record<'static>) -> Option<Request> {
    let changes_state = match &record.body {
        Body::Event { name, data, .. } => EventSeverity::of(name, data.as_deref()) != EventSeverity::Info,
        Body::Attached { .. } | Body::Detached { .. } | Body::Finding { .. } => true,
    };
    let request = changes_state.then(|| Request::State(record.vm.as_ref().into()));
    model.add_record(record);
    request
}

fn on_key(model: &mut Model, key: Key) -> Option<Request> {
    model.note = None;
    if key == Key::Control('c') {
        return Some(Request::Quit);
    }
    if key == Key::Control('z') {
        return Some(Request::Suspend);
    }
    if model.filter_before.is_some() {
        edit_filter(model, key);
        return None;
    }
    match key {
        Key::Character('q') => return Some(Request::Quit),
        Key::Character('?') => open(model, Page::Help),
        Key::Character('p' | ' ') => {
            let is_paused = model.recent.is_paused();
            model.recent.set_paused(!is_paused);
        }
        Key::Escape => back(model),
        _ if model.page == Page::Main => return on_main_key(model, key),
        key => return on_page_key(model, key),
    }
    None
}

/// Keys of the table and of the list of records.
fn on_main_key(model: &mut Model, key: Key) -> Option<Request> {
    match key {
        Key::Character('/') => model.filter_before = Some(model.filter.clone()),
        Key::Character('!') => model.is_trouble_only = !model.is_trouble_only,
        Key::Character('s') => model.sort = model.sort.next(),
        Key::Character('t') => {
            model.span = model.span.next();
            model.clear_histories();
            return Some(Request::Past);
        }
        Key::Tab => {
            model.pane = match model.pane {
                Pane::Vms => Pane::Records,
                Pane::Records => Pane::Vms,
            };
        }
        Key::Character('l') => list_records(model),
        Key::Enter if model.pane == Pane::Records => {
            if model.current_record().is_some() {
                open(model, Page::Record);
            }
        }
        Key::Enter | Key::Character('w') => {
            if selected_name(model).is_some() {
                open(model, Page::Vm);
            }
        }
        key => return on_common_key(model, key),
    }
    None
}

/// Keys of a page of text.
fn on_page_key(model: &mut Model, key: Key) -> Option<Request> {
    let step = match key {
        Key::Up | Key::Character('k') => -1,
        Key::Down | Key::Character('j') => 1,
        Key::PageUp => -20,
        Key::PageDown => 20,
        Key::Home | Key::Character('g') => i16::MIN,
        key => return on_common_key(model, key),
    };
    model.scroll = model.scroll.saturating_add_signed(step);
    None
}

/// Keys of the table and of the pages alike.
fn on_common_key(model: &mut Model, key: Key) -> Option<Request> {
    match key {
        Key::Character('e') if model.current_record().is_some() => open(model, Page::Meaning),
        Key::Character('y') => return copied(model).map(Request::Copy),
        Key::Character('o') => {
            let vm = selected_name(model);
            return Some(Request::Link(vm));
        }
        key => move_cursor(model, key),
    }
    None
}

/// Lists the records of the selected VM alone, or of all again.
fn list_records(model: &mut Model) {
    model.only_vm = match model.only_vm {
        Some(_) => None,
        None => selected_name(model),
    };
    model.selected_record = None;
    model.pane = if model.only_vm.is_some() { Pane::Records } else { Pane::Vms };
}

fn open(model: &mut Model, page: Page) {
    if model.page == Page::Main {
        // The page is about what is under the cursor, also while the list moves on.
        model.selected_vm = selected_name(model);
        model.selected_record = model.current_record().and_then(|record| record.offset);
    }
    model.page = page;
    model.scroll = 0;
}

/// Leaves the page, or undoes one restriction of the lists.
fn back(model: &mut Model) {
    if model.page != Page::Main {
        model.page = Page::Main;
    } else if model.only_vm.is_some() {
        model.only_vm = None;
        model.pane = Pane::Vms;
    } else if !model.filter.text().is_empty() {
        model.filter = NameFilter::default();
    } else if model.is_trouble_only {
        model.is_trouble_only = false;
    } else {
        model.recent.set_paused(false);
        model.selected_record = None;
        model.pane = Pane::Vms;
    }
}

fn edit_filter(model: &mut Model, key: Key) {
    let mut text = model.filter.text().to_owned();
    match key {
        Key::Enter => model.filter_before = None,
        Key::Escape => model.filter = model.filter_before.take().unwrap_or_default(),
        Key::Backspace => {
            text.pop();
            model.filter = NameFilter::new(&text);
        }
        Key::Control('u') => model.filter = NameFilter::default(),
        Key::Character(character) => {
            text.push(character);
            model.filter = NameFilter::new(&text);
        }
        _ => {}
    }
}

/// The name of the VM under the cursor: of the record in the list of records, else of the table.
fn selected_name(model: &Model) -> Option<Box<str>> {
    let of_record =
        model.current_record().filter(|_| model.pane == Pane::Records && model.page == Page::Main);
    if let Some(record) = of_record {
        return Some(record.vm.as_ref().into());
    }
    model.current(&model.listed()).map(|(_, row)| row.vm.vm.as_str().into())
}

/// The text of the record or of the VM under the cursor.
fn copied(model: &Model) -> Option<String> {
    let is_record = model.page == Page::Record || (model.page == Page::Main && model.pane == Pane::Records);
    if is_record {
        let mut json = Vec::new();
        model.current_record()?.write_json(&mut json);
        return String::from_utf8(json).ok();
    }
    let line = |row: &Row| format!("{} {}: {}", row.vm.vm, row.vm.run_state(), row.why());
    model.current(&model.listed()).map(|(_, row)| line(row))
}

/// Rows that a page key moves.
const PAGE_ROWS: usize = 10;

fn move_cursor(model: &mut Model, key: Key) {
    let moved = |position: usize, rows: usize| -> Option<usize> {
        let last = rows.checked_sub(1)?;
        Some(match key {
            Key::Up | Key::Character('k') => position.saturating_sub(1),
            Key::Down | Key::Character('j') => (position + 1).min(last),
            Key::PageUp => position.saturating_sub(PAGE_ROWS),
            Key::PageDown => (position + PAGE_ROWS).min(last),
            Key::Home | Key::Character('g') => 0,
            Key::End | Key::Character('G') => last,
            _ => return None,
        })
    };
    match model.pane {
        Pane::Vms => {
            let listed = model.listed();
            let position = model.current(&listed).map_or(0, |(position, _)| position);
            let name = moved(position, listed.len()).map(|moved| listed[moved].vm.vm.as_str().into());
            model.selected_vm = name.or_else(|| model.selected_vm.take());
        }
        Pane::Records => {
            let offsets: Vec<_> = model.records().map(|record| record.offset).collect();
            let position = offsets.iter().position(|offset| *offset == model.selected_record).unwrap_or(0);
            if let Some(moved) = moved(position, offsets.len()) {
                model.selected_record = offsets[moved];
                // A list that moves cannot be read.
                model.recent.set_paused(true);
            }
        }
    }
}
