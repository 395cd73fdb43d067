//! The display as a whole: keys and records in, a screen out.

use jiff::tz::TimeZone;
use qmp_wire::{Body, Epoch, Offset, Record, Seq, UnixMicros};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Modifier;

use super::super::status::{Vm, examples};
use super::glyphs::Glyphs;
use super::history::BUCKETS;
use super::key::Key;
use super::link_text;
use super::model::{Model, Page};
use super::timeline::Timeline;
use super::update::{Message, Request, update};
use super::view;
use crate::hub::HubAddress;

/// 2026-01-02T03:10:00Z, in microseconds since the Unix epoch.
const NOW: i64 = 1_767_323_400_000_000;
const SECOND: i64 = 1_000_000;

fn model(glyphs: Glyphs, vms: Vec<Vm>) -> Model {
    let mut model = Model::new("node1".into(), glyphs, true, TimeZone::UTC, UnixMicros(NOW));
    assert_eq!(update(&mut model, Message::Vms(vms)), None);
    model
}

/// An attached VM in a run state.
fn vm(name: &str, run_state: &str) -> Vm {
    let json = serde_json::json!({"vm": name, "address": "unix:/q", "state": "attached", "since": "", "run_state": run_state});
    serde_json::from_value(json).unwrap()
}

/// The examples of `qmp status`, with a past and some records.
fn example(glyphs: Glyphs) -> Model {
    let mut model = model(glyphs, examples());
    let since = NOW - 30 * 60 * SECOND;
    // The hub begins and ends a wide window at whole minutes.
    let until = NOW + 40 * SECOND;
    let timeline = format!(
        r#"{{"since": {since}, "until": {until}, "bucket": {}, "head": 40, "states": ["running", "io-error", "ended"], "next": null,
            "lanes": [{{"vm": "web1", "counts": {{"error": [[24, 9]], "news": [[0, 1], [12, 4]]}},
                "states": [[{since}, {stop}, 0, 1], [{stop}, null, 1, 1]], "gaps": []}},
            {{"vm": "nas", "counts": {{}}, "states": [[{since}, null, 0, 1]], "gaps": [[{stop}, null, 0, 1]]}},
            {{"vm": "ci-17", "counts": {{"lifecycle": [[2, 1]]}}, "states": [[{since}, null, 2, 1]], "gaps": []}}]}}"#,
        60 * SECOND,
        stop = NOW - 354 * SECOND,
    );
    let mut timeline: Timeline = serde_json::from_str(&timeline).unwrap();
    timeline.requested = Some(30 * 60 * SECOND);
    update(&mut model, Message::Timeline(timeline));
    let error =
        r#"{"device": "d0", "operation": "write", "action": "stop", "reason": "No space left on device"}"#;
    for (offset, vm, body) in [
        (41, "web1", event("BLOCK_IO_ERROR", Some(error))),
        (42, "web1", event("STOP", None)),
        (43, "web1", finding("why-paused", "A write to disk d0 failed (No space left), and QEMU paused it.")),
        (44, "db", event("RTC_CHANGE", Some(r#"{"offset": 2}"#))),
    ] {
        update(&mut model, Message::Record(record(offset, vm, body)));
    }
    model
}

fn event(name: &'static str, data: Option<&'static str>) -> Body<'static> {
    Body::Event { name: name.into(), sent_name: None, timestamp: None, data: data.map(Into::into) }
}

fn finding(kind: &'static str, summary: &'static str) -> Body<'static> {
    Body::Finding {
        finding: kind.into(),
        summary: summary.into(),
        causes: vec![(Epoch(3), Seq(8)), (Epoch(3), Seq(9))],
        data: None,
    }
}

fn record(offset: u64, vm: &str, body: Body<'static>) -> Record<'static> {
    let received = UnixMicros(NOW - 2 * SECOND);
    Record {
        offset: Some(Offset(offset)),
        vm: vm.to_owned().into(),
        epoch: Epoch(3),
        seq: Seq(offset),
        received,
        body,
    }
}

fn press(model: &mut Model, keys: &[Key]) -> Option<Request> {
    keys.iter().fold(None, |_, key| update(model, Message::Key(*key)))
}

/// Types a text.
fn type_text(model: &mut Model, text: &str) {
    for character in text.chars() {
        update(model, Message::Key(Key::Character(character)));
    }
}

fn screen(model: &Model, columns: u16, rows: u16) -> String {
    let area = Rect::new(0, 0, columns, rows);
    let mut buffer = Buffer::empty(area);
    view::draw(model, area, &mut buffer);
    let line = |y| -> String { (0..columns).map(|x| buffer[(x, y)].symbol()).collect() };
    (0..rows).map(|y| line(y).trim_end().to_owned() + "\n").collect()
}

/// The names in the table, in order.
fn listed(model: &Model) -> Vec<&str> {
    model.listed().into_iter().map(|row| row.vm.vm.as_str()).collect()
}

#[test]
fn screen_of_each_size() {
    let model = example(Glyphs::Unicode);
    insta::assert_snapshot!("80x24", screen(&model, 80, 24));
    insta::assert_snapshot!("60x15", screen(&model, 60, 15));
    insta::assert_snapshot!("50x10", screen(&model, 50, 10));
    insta::assert_snapshot!("200x50", screen(&model, 200, 50));
    insta::assert_snapshot!("ascii", screen(&example(Glyphs::Ascii), 80, 24));
    assert_eq!(screen(&model, 10, 3), "too small\n\n\n");
}

#[test]
fn ascii_screen_has_ascii_only() {
    let mut model = example(Glyphs::Ascii);
    for keys in [&[][..], &[Key::Enter], &[Key::Escape, Key::Character('?')]] {
        press(&mut model, keys);
        assert!(screen(&model, 120, 40).is_ascii());
    }
}

#[test]
fn hostile_names_stay_in_their_cells() {
    let names = [
        "<script>alert(1)</script>",
        "\u{1b}[2J\u{7}",
        "\u{202e}lufmrah",
        "a\u{200b}b",
        "日本語の仮想マシン",
    ];
    let long = vm(&"x".repeat(10_000), "\n\r");
    let vms = names.iter().map(|name| vm(name, "running"));
    let model = model(Glyphs::Unicode, vms.chain([long]).collect());
    let shown = screen(&model, 80, 12);
    assert!(
        !shown.chars().any(|c| c != '\n' && (c.is_control() || c == '\u{202e}' || c == '\u{200b}')),
        "{shown}"
    );
    insta::assert_snapshot!("hostile", shown);
}

#[test]
fn trouble_comes_first_and_filters_narrow_the_table() {
    let mut model = example(Glyphs::Unicode);
    assert_eq!(listed(&model), ["web1", "100", "db", "nas", "new", "old", "ci-17"]);
    press(&mut model, &[Key::Character('!')]);
    assert_eq!(listed(&model), ["web1", "100", "db", "nas", "new", "old"]);
    press(&mut model, &[Key::Character('/')]);
    type_text(&mut model, "n* db");
    assert_eq!(listed(&model), ["db", "nas", "new"]);
    press(&mut model, &[Key::Escape]);
    assert_eq!(listed(&model).len(), 6, "Esc undoes the edit");
    press(&mut model, &[Key::Escape]);
    assert_eq!(listed(&model).len(), 7, "and then the key !");
    press(&mut model, &[Key::Character('s')]);
    assert_eq!(listed(&model)[0], "100", "by name");
}

#[test]
fn cursor_stays_on_its_vm_when_the_order_changes() {
    let mut model = example(Glyphs::Unicode);
    press(&mut model, &[Key::Down, Key::Down]);
    let selected = |model: &Model| model.current(&model.listed()).map(|(_, row)| row.vm.vm.clone());
    assert_eq!(selected(&model).as_deref(), Some("db"));
    let crashed = vm("aaa", "guest-panicked");
    update(&mut model, Message::Vm(Box::new(crashed)));
    assert_eq!(listed(&model)[..2], ["aaa", "web1"]);
    assert_eq!(selected(&model).as_deref(), Some("db"));
}

#[test]
fn past_of_the_selected_vm_keeps_its_colours() {
    let model = example(Glyphs::Unicode);
    let mut buffer = Buffer::empty(Rect::new(0, 0, 120, 24));
    view::draw(&model, buffer.area, &mut buffer);
    let is_reversed = |x: &u16| buffer[(*x, 2)].modifier.contains(Modifier::REVERSED);
    // States and counts, with the blanks around each.
    assert_eq!((0..120).filter(|x| !is_reversed(x)).count(), 2 * BUCKETS + 6);
    assert!(is_reversed(&0) && is_reversed(&119));
}

#[test]
fn past_is_shown_where_the_hub_widens_the_span() {
    let mut model = model(Glyphs::Unicode, vec![vm("web1", "running")]);
    let (since, until) = (NOW - 31 * 60 * SECOND, NOW + 60 * SECOND);
    let json = serde_json::json!({"since": since, "until": until, "bucket": 30 * SECOND, "head": 0, "states": ["running"],
        "next": null, "lanes": [{"vm": "web1", "states": [[NOW - 600 * SECOND, null, 0, 1]]}]});
    let mut timeline: Timeline = serde_json::from_value(json).unwrap();
    timeline.requested = Some(30 * 60 * SECOND);
    update(&mut model, Message::Timeline(timeline));
    assert!(screen(&model, 120, 24).contains(&"█".repeat(11)));
}

#[test]
fn records_stand_still_while_they_are_read() {
    let mut model = example(Glyphs::Unicode);
    press(&mut model, &[Key::Tab, Key::Down]);
    assert!(model.recent.is_paused());
    let before = screen(&model, 80, 24);
    assert!(before.contains("paused, +0 new"), "{before}");
    update(&mut model, Message::Record(record(45, "web1", event("RESUME", None))));
    let after = screen(&model, 80, 24);
    assert!(after.contains("paused, +1 new") && !after.contains("RESUME"), "{after}");
    press(&mut model, &[Key::Character('p')]);
    assert!(screen(&model, 80, 24).contains("RESUME"));
}

#[test]
fn enter_shows_the_record_and_escape_leads_back() {
    let mut model = example(Glyphs::Unicode);
    press(&mut model, &[Key::Tab, Key::Down, Key::Enter]);
    let shown = screen(&model, 80, 24);
    assert!(shown.contains("why-paused of web1") && shown.contains("causes     3:8 3:9"), "{shown}");
    press(&mut model, &[Key::Escape, Key::Down, Key::Character('e')]);
    let shown = screen(&model, 100, 40);
    assert!(shown.contains(" STOP ") && shown.contains("Rate limit"), "{shown}");
    press(&mut model, &[Key::Escape, Key::Tab, Key::Character('w')]);
    let shown = screen(&model, 100, 40);
    assert!(shown.contains("io-error since") && shown.contains("latest records"), "{shown}");
    assert_eq!(press(&mut model, &[Key::Escape]), None);
    assert_eq!(model.page, Page::Main);
}

#[test]
fn states_are_requested_where_a_record_can_change_them() {
    let mut model = example(Glyphs::Unicode);
    let requested = |model: &mut Model, body| update(model, Message::Record(record(50, "db", body)));
    assert_eq!(requested(&mut model, event("STOP", None)), Some(Request::State("db".into())));
    assert_eq!(requested(&mut model, finding("storm", "")), Some(Request::State("db".into())));
    assert_eq!(
        requested(&mut model, event("RTC_CHANGE", None)),
        None,
        "of a storm of these no state follows"
    );
    assert_eq!(update(&mut model, Message::Back), Some(Request::States));
    assert_eq!(press(&mut model, &[Key::Character('t')]), Some(Request::Past));
}

#[test]
fn lost_hub_is_named_and_what_was_known_stays() {
    let mut model = example(Glyphs::Unicode);
    update(&mut model, Message::Away("no hub answers".into()));
    update(&mut model, Message::Time(UnixMicros(NOW + 120 * SECOND)));
    let shown = screen(&model, 80, 24);
    assert!(shown.contains("hub away") && shown.contains("no hub answers; trying again"), "{shown}");
    assert!(shown.contains("web1") && shown.contains("io-error"), "{shown}");
    update(&mut model, Message::Back);
    assert!(screen(&model, 80, 24).contains("live"));
}

#[test]
fn keys_end_copy_and_link() {
    let mut model = example(Glyphs::Unicode);
    assert_eq!(press(&mut model, &[Key::Control('c')]), Some(Request::Quit));
    assert_eq!(press(&mut model, &[Key::Character('q')]), Some(Request::Quit));
    assert_eq!(press(&mut model, &[Key::Character('o')]), Some(Request::Link(Some("web1".into()))));
    let copied = press(&mut model, &[Key::Character('y')]);
    assert_eq!(
        copied,
        Some(Request::Copy(
            "web1 io-error: A write to disk d0 failed (No space left), and QEMU paused it.".into()
        ))
    );
    let copied = press(&mut model, &[Key::Tab, Key::Character('y')]);
    assert!(
        matches!(&copied, Some(Request::Copy(json)) if json.contains("\"event\":\"RTC_CHANGE\"")),
        "{copied:?}"
    );
    assert_eq!(
        press(&mut model, &[Key::Character('/'), Key::Character('q')]),
        None,
        "a letter of the filter"
    );
    assert_eq!(
        press(&mut model, &[Key::Control('c')]),
        Some(Request::Quit),
        "also while the filter is edited"
    );
    assert_eq!(press(&mut model, &[Key::Control('z')]), Some(Request::Suspend));
}

#[test]
fn keys_on_an_empty_table_open_no_page() {
    let mut model = model(Glyphs::Unicode, Vec::new());
    for key in [Key::Enter, Key::Character('w'), Key::Character('e')] {
        assert_eq!(press(&mut model, &[key]), None);
        assert_eq!(model.page, Page::Main, "{key:?}");
    }
    press(&mut model, &[Key::Tab, Key::Enter]);
    assert_eq!(model.page, Page::Main);
}

/// A browser cannot open the hub's socket: the link has another address of the hub, or says what to do.
#[test]
fn link_has_an_address_that_a_browser_can_open() {
    let socket: HubAddress = "unix:/run/hub.sock".parse().unwrap();
    let addresses = ["unix:/run/hub.sock", "new:thing", "tcp:127.0.0.1:8080"].map(str::to_owned);
    assert_eq!(link_text(&socket, &addresses, Some("web 1")), "http://127.0.0.1:8080/vm/web%201\n");
    let none = link_text(&socket, &addresses[..2], None);
    assert!(
        none.contains("ssh -L 8080:/run/hub.sock") && none.contains("http://localhost:8080/\n"),
        "{none}"
    );
    let remote: HubAddress = "https://hub.example:8443".parse().unwrap();
    assert_eq!(link_text(&remote, &addresses, None), "https://hub.example:8443/\n");
}
