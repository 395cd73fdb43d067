//! Typed events are printed like the same events given as text.
#![allow(clippy::unwrap_used, reason = "a test or a bench")]

use qmp_events::{Event, catalogue};
use qmp_server::{EmitEvent, TextEvent};
use qmp_wire::dialect::Hidden;

#[test]
fn example_of_catalogue_prints_like_its_text() {
    let mut printed = 0;
    for desc in catalogue() {
        for example in desc.examples {
            let event = Event::decode(desc.name, Some(example)).unwrap();
            assert!(!matches!(event, Event::Undecodable { .. }), "{} {example}", desc.name);
            for hidden in [Vec::new(), every_other_member(example)] {
                assert_eq!(of_event(desc.name, example, &hidden), of_text(desc.name, example, &hidden));
                printed += 1;
            }
        }
    }
    assert!(printed > 100, "only {printed} were compared");
}

#[test]
fn unknown_event_prints_like_its_text() {
    let cases = [
        // event             data
        ("OF_TOMORROW", r#"{"b": 1.5, "a": [{"z": null}]}"#),
        ("OF_TOMORROW", "[1]"),
        ("OF_TOMORROW", "null"),
        ("STOP", "{}"),
        ("STOP", r#"{"later": {"reason": 1, "guest": 2}}"#),
        ("WATCHDOG", "{}"),
        ("WATCHDOG", r#"{"reason": 1, "guest": 2, "action": 3}"#),
        ("WATCHDOG", r#"{"action": "caf\u00e9 \"\\\n\u007f😀", "x": 1, "a": 2}"#),
        ("DEVICE_DELETED", r#"{"path": "\u0000é", "device": ""}"#),
        ("GUEST_PANICKED", r#"{"action": "run", "info": {"type": "zx", "b": 1, "a": 18446744073709551615}}"#),
        (
            "VNC_CONNECTED",
            r#"{"server": {"host": "", "service": "a", "family": "x", "z": 0}, "client": {"family": "y", "service": "", "host": "b"}}"#,
        ),
    ];
    for (name, data) in cases {
        assert_eq!(of_event(name, data, &[]), of_text(name, data, &[]), "{name} {data}");
    }
}

/// Hides every other member, and some nested ones.
fn every_other_member(data: &str) -> Vec<Hidden> {
    let Ok(serde_json::Value::Object(members)) = serde_json::from_str(data) else { return Vec::new() };
    let hidden = members.iter().enumerate().filter_map(|(place, (name, value))| {
        let within = every_other_member(&value.to_string());
        (place % 2 == 1 || !within.is_empty()).then(|| Hidden { name: name.as_str().into(), within })
    });
    hidden.collect()
}

fn of_event(name: &str, data: &str, hidden: &[Hidden]) -> (bool, String) {
    printed(&Event::decode(name, Some(data)).unwrap(), hidden)
}

fn of_text(name: &str, data: &str, hidden: &[Hidden]) -> (bool, String) {
    printed(&TextEvent { name, data: Some(data) }, hidden)
}

fn printed(event: &impl EmitEvent, hidden: &[Hidden]) -> (bool, String) {
    let mut out = b"before".to_vec();
    let has_data = event.write_data(hidden, &mut out);
    (has_data, String::from_utf8(out).unwrap())
}
