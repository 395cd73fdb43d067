//! Compares the emulated machine with captures of real QEMUs: it replays each capture, and its events are the same,
//! byte for byte, in the same order.
//!
//! Captures and their options are those of `qmp-real-qemu`; `captures.lives` has the actions of the machine.
//! [`KNOWN`] lists the accepted differences; any other difference is a failure.
#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::{collections::BTreeSet, path::PathBuf, time::Duration};

use qmp_machine::{Machine, MachineConfig, RunningMachine};
use serde_json::Value;
use support::{Client, action, options};

/// An accepted difference: the value of a member of an event.
struct KnownDifference {
    event: &'static str,
    member: &'static str,
    why: &'static str,
}

const KNOWN: &[KnownDifference] = &[
    KnownDifference { event: "VNC_", member: "service", why: "ports are chosen by the host" },
    KnownDifference { event: "SPICE_", member: "port", why: "ports are chosen by the host" },
    KnownDifference {
        event: "SPICE_INITIALIZED",
        member: "connection-id",
        why: "the session's number is random",
    },
    KnownDifference {
        event: "DUMP_COMPLETED",
        member: "total",
        why: "a real dump counts the firmware as memory, too",
    },
    KnownDifference {
        event: "DUMP_COMPLETED",
        member: "completed",
        why: "a real dump counts the firmware as memory, too",
    },
];

const LIVES: &str = include_str!("captures.lives");

/// Virtual time after each step: longer than any activity of the machine except a job of minutes.
const SETTLES_IN: Duration = Duration::from_secs(20);

/// The actions of the machine for one capture.
#[derive(Default)]
struct Playback {
    capture: &'static str,
    runs: bool,
    steps: Vec<Step>,
}

enum Step {
    Do { action: &'static str, times: u32, settles: bool },
    Wait(Duration),
    Killed,
}

/// Returns the scripted captures, and the captures that cannot be emulated with the reason.
fn playbacks() -> (Vec<Playback>, Vec<(&'static str, &'static str)>) {
    let (mut playbacks, mut unsupported): (Vec<Playback>, _) = (Vec::new(), Vec::new());
    for line in LIVES.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (mark, rest) = line.split_once(' ').unwrap_or((line, ""));
        let step = match mark {
            "==" => {
                let (capture, flag) = rest.split_once(' ').unwrap_or((rest, ""));
                assert!(["", "runs"].contains(&flag), "unknown line: {line}");
                playbacks.push(Playback { capture, runs: flag == "runs", ..Playback::default() });
                continue;
            }
            "--" => {
                unsupported.push(rest.split_once(": ").expect("a reason"));
                continue;
            }
            "~" => Step::Wait(Duration::from_millis(rest.parse().unwrap())),
            "killed" => Step::Killed,
            ">>" => Step::Do { action: rest, times: 1, settles: false },
            mark => {
                let times = mark.strip_prefix('>').unwrap_or_else(|| panic!("unknown line: {line}"));
                let times = if times.is_empty() { 1 } else { times.parse().unwrap() };
                Step::Do { action: rest, times, settles: true }
            }
        };
        playbacks.last_mut().expect("a capture begins with ==").steps.push(step);
    }
    (playbacks, unsupported)
}

fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../qmp-real-qemu/captures")
}

/// Returns the captures: the release line, and the name.
fn captures() -> Vec<(String, String)> {
    let names = |path: PathBuf| -> Vec<String> {
        let entries = std::fs::read_dir(path).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    };
    let mut captures = Vec::new();
    for line in names(directory()).into_iter().filter(|name| name.starts_with("qemu-")) {
        let files = names(directory().join(&line));
        captures.extend(
            files.iter().filter_map(|file| file.strip_suffix(".qmp")).map(|name| (line.clone(), name.into())),
        );
    }
    captures.sort();
    captures
}

/// Returns a capture: the release of its greeting, the options, and the lines of its events.
fn read(line: &str, name: &str) -> ((u32, u32, u32), String, Vec<String>) {
    let path = directory().join(line).join(name);
    let text = std::fs::read_to_string(path.with_extension("qmp")).unwrap();
    let about: toml::Table = std::fs::read_to_string(path.with_extension("toml")).unwrap().parse().unwrap();
    let greeting: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    let version = &greeting["QMP"]["version"]["qemu"];
    let [major, minor, micro] =
        ["major", "minor", "micro"].map(|part| u32::try_from(version[part].as_u64().unwrap()).unwrap());
    let options = about["options"].as_str().unwrap().to_owned();
    ((major, minor, micro), options, events(text.lines()))
}

/// Returns the events of a stream, from their names on, without the accepted differences.
fn events<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<String> {
    let events =
        lines.filter(|line| !line.starts_with("{\"QMP\"")).filter_map(|line| line.split_once("\"event\": "));
    events.map(|(_, event)| comparable(event)).collect()
}

fn comparable(event: &str) -> String {
    let difference = KNOWN.iter().filter(|difference| event[1..].starts_with(difference.event));
    difference.fold(event.to_owned(), |event, difference| without_value(&event, difference.member))
}

/// Replaces each value of `member`, a number or a text without commas, by a star.
fn without_value(event: &str, member: &str) -> String {
    let member = format!("\"{member}\": ");
    let mut parts = event.split(&*member);
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find([',', '}']).expect("an object ends");
        text.extend([&*member, "*", &part[end..]]);
    }
    text
}

/// Returns the events of a machine with these actions.
fn play_back(playback: &Playback, release: (u32, u32, u32), given: &str) -> Vec<String> {
    let (major, minor, micro) = release;
    let mut config = MachineConfig::bare()
        .with_release(qmp_events::Release::from_version(major, minor, micro))
        .with_memory_bytes(16 << 20)
        .with_start_stopped(!playback.runs);
    options::apply(&mut config, &given.split_whitespace().collect::<Vec<_>>());
    let running = Machine::start(config).unwrap_or_else(|error| panic!("{}: {error}", playback.capture));
    let mut client = Client::new(running.connect().unwrap());
    let mut killed = false;
    for step in &playback.steps {
        match step {
            Step::Wait(time) => running.advance(*time).unwrap(),
            Step::Killed => killed = true,
            Step::Do { action: line, times, settles } => {
                for _ in 0..*times {
                    act(&running, &mut client, playback.capture, line);
                    if *settles {
                        running.advance(SETTLES_IN).unwrap();
                    }
                }
            }
        }
    }
    if killed {
        running.stop().unwrap();
    } else if running.machine().exit_status().is_none() {
        client.send(&action("quit"));
    }
    client.rest();
    events(client.take_transcript().iter().map(String::as_str))
}

/// Commands that a real QEMU refused, too.
const REFUSED: [(&str, &str); 2] = [("shutdown-no-shutdown", "cont"), ("suspend", "system_wakeup")];

fn act(running: &RunningMachine, client: &mut Client, capture: &str, line: &str) {
    if running.machine().exit_status().is_some() {
        return;
    }
    let messages = client.ask(&action(line));
    let refused = messages.last().is_some_and(|message| message.get("error").is_some());
    assert!(!refused || REFUSED.contains(&(capture, line)), "{capture}: {line}: {messages:?}");
}

#[test]
fn machine_sends_the_events_of_each_capture() {
    let (playbacks, _) = playbacks();
    let only = std::env::var("QMP_SCENARIO").unwrap_or_default();
    let mut differences = Vec::new();
    for (line, name) in captures().iter().filter(|(_, name)| name.contains(&only)) {
        let Some(playback) = playbacks.iter().find(|playback| playback.capture == name) else { continue };
        let (release, options, expected) = read(line, name);
        let actual = play_back(playback, release, &options);
        if actual != expected {
            let text =
                |events: &[String]| events.iter().map(|event| format!("\n      {event}")).collect::<String>();
            differences.push(format!(
                "{line} {name}\n    real{}\n    emulated{}",
                text(&expected),
                text(&actual)
            ));
        }
    }
    assert!(differences.is_empty(), "{} differences\n{}", differences.len(), differences.join("\n"));
}

#[test]
fn every_capture_is_played_back_or_has_a_reason() {
    let (playbacks, unsupported) = playbacks();
    assert!(unsupported.iter().all(|(_, why)| why.len() > 10), "{unsupported:?}");
    let mut listed: Vec<&str> = playbacks.iter().map(|playback| playback.capture).collect();
    listed.extend(unsupported.iter().map(|(name, _)| *name));
    let distinct: BTreeSet<&str> = listed.iter().copied().collect();
    assert_eq!(distinct.len(), listed.len(), "a capture is listed twice");
    let captures = captures();
    let stored: BTreeSet<&str> = captures.iter().map(|(_, name)| &**name).collect();
    assert_eq!(distinct, stored);
}

/// Each accepted difference has a reason and occurs in a capture.
#[test]
fn known_difference_occurs_in_a_capture() {
    let captures: Vec<String> = captures()
        .iter()
        .map(|(line, name)| {
            std::fs::read_to_string(directory().join(line).join(format!("{name}.qmp"))).unwrap()
        })
        .collect();
    for KnownDifference { event, member, why } in KNOWN {
        assert!(why.len() > 10, "{event}");
        let member = format!("\"{member}\": ");
        let has = |line: &str| line.contains(&format!("\"event\": \"{event}")) && line.contains(&member);
        assert!(captures.iter().any(|capture| capture.lines().any(has)), "{event} {member}");
    }
}
