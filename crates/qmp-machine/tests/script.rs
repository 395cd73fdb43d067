//! Scripts on machines: the bundled scripts cause their events, reproducibly.

#![allow(clippy::unwrap_used, reason = "a failure is the end of a test")]

use std::{
    io::{BufRead, BufReader, Write},
    sync::mpsc,
    time::Duration,
};

use qmp_machine::script::{EmulationConfig, EmulationEvent, Player, Script, bundled};
use qmp_machine::{Machine, MachineConfig, RunningMachine};
use qmp_server::Listener;

/// Virtual time that scripts are played.
const SPAN: Duration = Duration::from_secs(120);

/// The result of playing a script.
struct PlayResult {
    bytes: String,
    refused: Vec<String>,
}

impl PlayResult {
    /// Returns the names of the events in order.
    fn names(&self) -> Vec<String> {
        let messages =
            self.bytes.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"));
        messages.filter_map(|message| message["event"].as_str().map(str::to_owned)).collect()
    }
}

fn play(script: &Script, seed: u64, span: Duration) -> PlayResult {
    let mut config = MachineConfig::default().with_seed(seed);
    script.machine.apply(&mut config);
    let running = Machine::start(config).unwrap();
    let mut client = running.connect().unwrap();
    let mut lines = BufReader::new(client.try_clone().unwrap());
    let mut bytes = String::new();
    client.write_all(b"{'execute': 'qmp_capabilities'}").unwrap();
    lines.read_line(&mut bytes).unwrap();
    lines.read_line(&mut bytes).unwrap();
    let reading = std::thread::spawn(move || read(lines, bytes));
    let mut player = Player::new(script, seed, 1.0);
    let refused = player.play_for(&running, span).unwrap();
    end(running, &mut client);
    let bytes = reading.join().unwrap();
    PlayResult { bytes, refused: refused.iter().map(ToString::to_string).collect() }
}

/// Lets the client read everything: to the end of the machine, or to a reply after all other messages.
fn end(running: RunningMachine, client: &mut std::os::unix::net::UnixStream) {
    if running.machine().exit_status().is_some() {
        running.wait().unwrap();
        return;
    }
    client.write_all(b"{'execute': 'query-status', 'id': 'end'}").unwrap();
    // The reader ends after the reply and drops the client.
    while running.stats().connections > 0 {
        std::thread::yield_now();
    }
}

fn read(mut lines: BufReader<std::os::unix::net::UnixStream>, mut bytes: String) -> String {
    while lines.read_line(&mut bytes).unwrap() > 0 {
        if bytes.trim_end().ends_with("\"id\": \"end\"}") {
            lines.get_ref().shutdown(std::net::Shutdown::Both).unwrap();
            break;
        }
    }
    bytes
}

#[test]
fn bundled_script_plays_reproducibly_without_refusals() {
    for bundled in bundled::SCRIPTS {
        let script = bundled.script();
        assert!(script.summary.is_some(), "{}", bundled.name);
        let first = play(&script, 7, SPAN);
        assert!(first.refused.is_empty(), "{}: {:#?}", bundled.name, first.refused);
        assert!(first.names().len() >= 4, "{}: {:?}", bundled.name, first.names());
        let second = play(&script, 7, SPAN);
        assert_eq!(first.bytes, second.bytes, "{}: the same script and seed give other bytes", bundled.name);
    }
}

/// The events that each script has to cause, in this order, among others.
#[test]
fn bundled_script_causes_its_events() {
    let stories: [(&str, &[&str]); 10] = [
        (
            "day",
            &[
                "RTC_CHANGE",
                "VSERPORT_CHANGE",
                "VNC_CONNECTED",
                "VNC_INITIALIZED",
                "DEVICE_DELETED",
                "SUSPEND",
                "WAKEUP",
                "STOP",
                "JOB_STATUS_CHANGE",
                "BLOCK_JOB_COMPLETED",
                "VNC_DISCONNECTED",
                "POWERDOWN",
                "SHUTDOWN",
            ],
        ),
        (
            "io-errors",
            &["BLOCK_IO_ERROR", "BLOCK_IO_ERROR", "STOP", "RESUME", "BLOCK_IO_ERROR", "STOP", "RESUME"],
        ),
        ("migration", &["MIGRATION", "MIGRATION_PASS", "MIGRATION", "STOP", "MIGRATION"]),
        (
            "watchdog-loop",
            &["WATCHDOG", "RESET", "WATCHDOG", "STOP", "RESUME", "WATCHDOG", "WATCHDOG", "POWERDOWN"],
        ),
        (
            "unplug-race",
            &[
                "DEVICE_DELETED",
                "DEVICE_DELETED",
                "DEVICE_DELETED",
                "STOP",
                "RESET",
                "DEVICE_DELETED",
                "RESUME",
            ],
        ),
        ("reboot-loop", &["RESET", "RESET", "RESET", "RESET"]),
        (
            "panic",
            &["GUEST_CRASHLOADED", "GUEST_PANICKED", "STOP", "RESET", "RESUME", "GUEST_PANICKED", "SHUTDOWN"],
        ),
        (
            "jobs",
            &[
                "JOB_STATUS_CHANGE",
                "BLOCK_JOB_READY",
                "BLOCK_JOB_COMPLETED",
                "BLOCK_JOB_PENDING",
                "BLOCK_JOB_COMPLETED",
                "BLOCK_JOB_READY",
                "BLOCK_JOB_CANCELLED",
                "BLOCK_JOB_ERROR",
                "BLOCK_JOB_COMPLETED",
            ],
        ),
        (
            "console",
            &[
                "VNC_CONNECTED",
                "VNC_INITIALIZED",
                "VSERPORT_CHANGE",
                "DEVICE_TRAY_MOVED",
                "RTC_CHANGE",
                "BALLOON_CHANGE",
                "VNC_DISCONNECTED",
                "SPICE_CONNECTED",
                "SPICE_INITIALIZED",
                "SPICE_DISCONNECTED",
                "SUSPEND",
                "WAKEUP",
            ],
        ),
        ("bad-monitor", &["STOP", "RESUME", "STOP", "RESUME"]),
    ];
    assert!(stories.iter().map(|(name, _)| *name).eq(bundled::SCRIPTS.iter().map(|script| script.name)));
    for (script, (name, expected)) in bundled::SCRIPTS.iter().zip(stories) {
        let names = play(&script.script(), 0, SPAN).names();
        let mut rest = names.iter();
        for event in expected {
            assert!(rest.any(|name| name == event), "{name}: {event} is missing at its position: {names:#?}");
        }
    }
}

#[test]
fn bundled_script_causes_an_event_within_a_second() {
    for script in bundled::SCRIPTS {
        let played = play(&script.script(), 0, Duration::from_millis(900));
        assert!(!played.names().is_empty(), "{}: a viewer waits for more than a second", script.name);
    }
}

#[test]
fn other_seed_gives_other_bytes() {
    let script = bundled::find("reboot-loop").unwrap().script();
    assert_ne!(play(&script, 1, SPAN).bytes, play(&script, 2, SPAN).bytes);
}

#[test]
fn refused_action_is_reported_with_its_line_and_script_continues() {
    let text = "[[step]]\nat = '1s'\nexecute = 'system_wakeup'\n[[step]]\nat = '2s'\nexecute = 'stop'";
    let played = play(&Script::parse("own", text).unwrap(), 0, SPAN);
    let expected = "line 1: system_wakeup: GenericError: Unable to wake up: guest is not in suspended state";
    assert_eq!(played.refused, [expected]);
    assert_eq!(played.names(), ["STOP"]);
}

#[test]
fn factor_changes_times_only() {
    let text = "speed = 2\n[[step]]\nat = '1s'\nevery = '1s'\nsequence = [{ execute = 'stop' }, { execute = 'cont' }]";
    let script = Script::parse("own", text).unwrap();
    //  factor, events in ten seconds: two at each turn
    for (factor, expected) in [(1.0, 40), (0.5, 20), (2.0, 80)] {
        let running = Machine::start(MachineConfig::bare()).unwrap();
        let mut player = Player::new(&script, 0, factor);
        player.play_for(&running, Duration::from_secs(10)).unwrap();
        assert_eq!(running.stats().emitted, expected, "{factor}");
    }
}

#[test]
fn script_faster_than_the_machine_is_stopped() {
    for speed in ["1000000", "1e308"] {
        let text = format!("speed = {speed}\n[[step]]\nevery = '1s'\nexecute = 'system_wakeup'");
        let script = Script::parse("own", &text).unwrap();
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("a.sock");
        let (refused, first) = mpsc::sync_channel(1);
        let config =
            EmulationConfig { script: Some(script), ..EmulationConfig::new(MachineConfig::default()) };
        let report = move |event| {
            if matches!(event, EmulationEvent::Refused(_)) {
                let _ = refused.try_send(());
            }
        };
        let emulation = config.start(move || Listener::unix(&path), report).unwrap();
        first.recv().unwrap();
        emulation.stopper()();
        let (sender, ended) = mpsc::channel();
        std::thread::spawn(move || sender.send(emulation.wait()));
        let status = ended.recv_timeout(Duration::from_secs(20)).expect("it stops").unwrap();
        assert_eq!(status, 0, "{speed}");
    }
}
