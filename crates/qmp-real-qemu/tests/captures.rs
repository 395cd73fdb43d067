//! The captures that are kept: real lines as test data, with no QEMU.

use std::path::Path;
use std::sync::Mutex;

use qmp_events::{Event, Release, validate};
use qmp_machine::replay::{Recording, Replay};
use qmp_real_qemu::{CaptureDescription, captures, events_in_the_journal};
use qmp_server::Listener;
use serde_json::Value;
use serde_json::value::RawValue;

/// The line of releases of which captures are kept.
const LINE: &str = "7.2";
const RELEASE: Release = Release::new(7, 2);

/// Captures that are replayed at the same time: a replay waits for a second before it takes silence for the end.
const REPLAYS_AT_ONCE: usize = 16;

#[derive(serde::Deserialize)]
struct Message<'a> {
    event: Option<String>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

#[test]
fn nothing_violates_the_catalogue() {
    let captures = captures(LINE);
    assert!(captures.len() > 80, "{} captures", captures.len());
    for (name, _, bytes) in captures {
        for line in lines(&bytes) {
            let message: Message<'_> = serde_json::from_str(line).expect("JSON");
            let Some(event) = message.event else { continue };
            let data = message.data.map(RawValue::get);
            let violations = validate(&event, data, RELEASE);
            assert!(violations.is_empty(), "{name}: {line}: {violations:?}");
            let decoded =
                Event::decode(&event, data).unwrap_or_else(|error| panic!("{name}: {line}: {error}"));
            assert!(!matches!(decoded, Event::Unknown { .. }), "{name}: {line}");
        }
    }
}

/// A replayed capture goes through a hub to its journal as it came from QEMU.
#[test]
fn replayed_captures_are_the_same_in_the_journal() {
    let waiting = Mutex::new(captures(LINE));
    std::thread::scope(|scope| {
        for _ in 0..REPLAYS_AT_ONCE {
            scope.spawn(|| {
                loop {
                    let next = waiting.lock().expect("no replay panicked").pop();
                    let Some((name, _, bytes)) = next else { break };
                    assert_eq!(replayed(&bytes), events(&bytes), "{name}");
                }
            });
        }
    });
}

/// No capture is left over from a scenario that is gone.
#[test]
fn every_capture_has_its_scenario() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let scenarios = sources(&tests);
    for (name, CaptureDescription { cause, .. }, _) in captures(LINE) {
        assert!(scenarios.contains(&format!("\"{name}\"")), "no scenario is called {name}: {cause}");
    }
}

fn replayed(capture: &[u8]) -> Vec<String> {
    let home = tempfile::tempdir().expect("a directory");
    let socket = home.path().join("replay.sock");
    let recording = Recording::read(capture, None).expect("it is a recording");
    let listener = Listener::unix(&socket).expect("it listens");
    let replaying = Replay::new(recording).speed(0.0).start(listener).expect("it starts");
    let events = events_in_the_journal(&socket, &home.path().join("journal.db"));
    replaying.wait().expect("it ends");
    events
}

fn lines(capture: &[u8]) -> impl Iterator<Item = &str> {
    std::str::from_utf8(capture).expect("QEMU writes ASCII").lines()
}

fn events(capture: &[u8]) -> Vec<String> {
    let is_event = |line: &&str| {
        let message: Value = serde_json::from_str(line).expect("JSON");
        message.get("event").is_some()
    };
    lines(capture).filter(is_event).map(str::to_owned).collect()
}

/// The text of all programs below a directory.
fn sources(directory: &Path) -> String {
    let entries = std::fs::read_dir(directory).expect("it can be read");
    let read = |path: &Path| std::fs::read_to_string(path).expect("it can be read");
    entries
        .map(|entry| entry.expect("it can be read").path())
        .map(|path| if path.is_dir() { sources(&path) } else { read(&path) })
        .collect()
}
