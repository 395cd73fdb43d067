//! Each fault and its effect on `qmp-client`: the client never hangs, never mispairs replies, never loses received
//! messages.

#![allow(clippy::unwrap_used, reason = "a failure is the end of a test")]

use std::time::Duration;

use qmp_client::{
    Address, ConnectConfig, ConnectError, EventItem, Events, ExecuteError, FollowConfig, FollowEvent,
    MonitorClient,
};
use qmp_machine::fault::{Fault, FaultKind, FaultProxy, Faults, Messages, Stage, StageOutput};
use qmp_machine::{Action, Machine, MachineConfig, RunningMachine};
use qmp_server::Listener;
use tempfile::TempDir;

/// A machine behind faults.
struct FaultyMachine {
    running: std::sync::Arc<RunningMachine>,
    directory: TempDir,
    _proxy: FaultProxy,
}

impl FaultyMachine {
    fn start(faults: Faults) -> Self {
        let running = std::sync::Arc::new(Machine::start(MachineConfig::bare()).unwrap());
        let directory = tempfile::tempdir().unwrap();
        let machine = std::sync::Arc::clone(&running);
        let listener = Listener::unix(directory.path().join("qmp")).unwrap();
        let proxy = FaultProxy::start(listener, faults, move || machine.connect()).unwrap();
        Self { running, directory, _proxy: proxy }
    }

    fn of(fault: Fault) -> Self {
        Self::start(Faults::new(1).with(fault))
    }

    fn address(&self) -> Address {
        Address::Unix { path: self.directory.path().join("qmp"), listen: false }
    }

    async fn connect(&self) -> (MonitorClient, Events) {
        qmp_client::connect(&self.address()).await.unwrap()
    }

    /// Causes STOP and RESUME.
    fn stop_and_go(&self) {
        for command in ["stop", "cont"] {
            self.running.machine().perform(&Action::new(command)).unwrap();
        }
    }
}

/// Returns the next item of the stream as one line.
async fn next_item(events: &mut Events) -> String {
    match events.next().await {
        None => "nothing".to_owned(),
        Some(EventItem::Event(event)) => event.name.into(),
        Some(EventItem::Lagged { missed }) => format!("lagged {missed}"),
        Some(EventItem::Ended(reason)) => format!("ended: {reason}"),
        Some(other) => format!("{other:?}"),
    }
}

#[tokio::test]
async fn events_arrive_as_the_fault_leaves_them() {
    use FaultKind::{Close, Corrupt, Delay, Drop, Duplicate, Reorder, Truncate};
    let delay = Delay { by: Duration::from_millis(30), jitter: Duration::from_millis(5) };
    let cut = "ended: the VM closed the connection in the middle of a message, after 13 bytes of it";
    let of_stop = |kind| Fault::new(kind).of_event("ST*");
    let cases: [(&str, Fault, &[&str]); 8] = [
        ("none", of_stop(Drop).on_connection(2), &["STOP", "RESUME"]),
        ("drop", of_stop(Drop), &["RESUME"]),
        ("drop once", of_stop(Drop).times(1), &["RESUME", "STOP", "RESUME"]),
        ("delay", of_stop(delay), &["STOP", "RESUME"]),
        ("duplicate", of_stop(Duplicate), &["STOP", "STOP", "RESUME"]),
        ("reorder", of_stop(Reorder), &["RESUME", "STOP"]),
        ("close", Fault::new(Close { bytes: Some(13) }).after(1), &["STOP", cut, "nothing"]),
        ("truncate", of_stop(Truncate { bytes: Some(20) }), &["ended: ", "nothing"]),
    ];
    for (name, fault, expected) in cases {
        let machine = FaultyMachine::of(fault);
        let (_monitor, mut events) = machine.connect().await;
        machine.stop_and_go();
        machine.stop_and_go();
        for expected in expected {
            let item = next_item(&mut events).await;
            assert!(item.starts_with(expected) && !expected.is_empty(), "{name}: {item}, not {expected}");
        }
    }
    // With any changed byte the stream continues, or ends with a reason.
    for seed in 0..20 {
        let faults = Faults::new(seed).with(Fault::new(Corrupt { bytes: 2 }));
        let machine = FaultyMachine::start(faults);
        let (_monitor, mut events) = machine.connect().await;
        machine.stop_and_go();
        // A damaged message without end waits for more bytes: dropping the machine ends the wait.
        drop(machine);
        let mut last = String::new();
        while last != "nothing" {
            let next = next_item(&mut events).await;
            assert!(next != "nothing" || last.starts_with("ended: "), "{seed}: no reason after {last}");
            last = next;
        }
    }
}

#[tokio::test]
async fn replies_stay_paired_under_faults() {
    use FaultKind::{Delay, Drop, Duplicate, EarlyEvent, Reorder};
    let early = r#"{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "EARLY"}"#;
    let delay = Delay { by: Duration::from_millis(20), jitter: Duration::ZERO };
    let cases = [
        ("duplicate replies", Fault::new(Duplicate).of(Messages::Reply)),
        ("slow replies", Fault::new(delay).of(Messages::Reply)),
        ("events before replies are lost", Fault::new(Drop)),
        ("events overtake", Fault::new(Reorder)),
        ("event before the greeting", Fault::new(EarlyEvent { message: early.into() })),
    ];
    for (name, fault) in cases {
        let machine = FaultyMachine::of(fault);
        let (monitor, mut events) = machine.connect().await;
        for round in 0..3 {
            monitor.execute("stop", ()).await.unwrap();
            let status: serde_json::Value = monitor.execute_as("query-status", ()).await.unwrap();
            assert_eq!(status["status"], "paused", "{name} {round}");
            monitor.execute("cont", ()).await.unwrap();
            let version: serde_json::Value = monitor.execute_as("query-version", ()).await.unwrap();
            assert_eq!(version["qemu"]["major"], 11, "{name} {round}");
        }
        if name == "event before the greeting" {
            assert_eq!(next_item(&mut events).await, "EARLY");
            assert_eq!(next_item(&mut events).await, "STOP");
        }
    }
}

#[tokio::test]
async fn missing_reply_times_out_its_command_only() {
    let machine = FaultyMachine::of(Fault::new(FaultKind::Drop).of(Messages::Reply).after(1).times(1));
    let (monitor, _events) = machine.connect().await;
    let commander = monitor.commander().clone().with_timeout(Duration::from_millis(100));
    let error = commander.execute("query-name", ()).await.unwrap_err();
    assert!(matches!(error, ExecuteError::TimedOut { .. }), "{error:?}");
    let status: serde_json::Value = monitor.execute_as("query-status", ()).await.unwrap();
    assert_eq!(status["status"], "running");
}

#[tokio::test]
async fn fault_of_one_command_does_not_affect_others() {
    let running = Machine::start(MachineConfig::bare()).unwrap();
    let faults = Faults::new(1).with(Fault::new(FaultKind::Drop).of_reply_to("query-block"));
    let address: Address = running.address_with(faults).unwrap();
    let (monitor, mut events) = qmp_client::connect(&address).await.unwrap();
    for _ in 0..2 {
        let commander = monitor.commander().clone().with_timeout(Duration::from_millis(100));
        let error = commander.execute("query-block", ()).await.unwrap_err();
        assert!(matches!(error, ExecuteError::TimedOut { .. }), "{error:?}");
        let status: serde_json::Value = monitor.execute_as("query-status", ()).await.unwrap();
        assert_eq!(status["status"], "running");
    }
    running.machine().perform(&Action::new("stop")).unwrap();
    assert_eq!(next_item(&mut events).await, "STOP");
    // Another address has no faults.
    let (monitor, _events) = qmp_client::connect(&running.address().unwrap()).await.unwrap();
    monitor.execute("query-block", ()).await.unwrap();
}

#[tokio::test]
async fn silent_monitor_is_reported_as_such() {
    let machine = FaultyMachine::of(Fault::new(FaultKind::NeverGreet));
    let mut config = ConnectConfig::default();
    config.negotiation_timeout = Duration::from_millis(100);
    let error = qmp_client::connect_with(&machine.address(), &config).await.unwrap_err();
    assert!(!matches!(error, ConnectError::Ended { .. }), "{error}");
    assert!(error.to_string().contains("greet"), "{error}");
}

#[tokio::test]
async fn follower_reconnects_after_each_fault() {
    use FaultKind::{Close, Corrupt, Truncate};
    let cases = [
        Fault::new(Close { bytes: None }).of(Messages::Greeting),
        Fault::new(Close { bytes: None }).of(Messages::Reply),
        Fault::new(Close { bytes: Some(5) }).of(Messages::Reply).after(3),
        Fault::new(Truncate { bytes: None }).of(Messages::Greeting),
        Fault::new(Truncate { bytes: Some(1) }).of(Messages::Reply),
        Fault::new(Corrupt { bytes: usize::MAX }).of(Messages::Any),
    ];
    for fault in cases {
        let shown = format!("{fault:?}");
        let machine = FaultyMachine::of(fault.on_connection(1));
        let mut config = FollowConfig::default();
        config.connect.negotiation_timeout = Duration::from_millis(300);
        let mut follow = qmp_client::follow(machine.address(), config);
        let mut troubles = 0;
        loop {
            match follow.next().await {
                // The first connection may have got this far.
                FollowEvent::Attached { .. } if troubles > 0 => break,
                FollowEvent::Detached { .. } => troubles += 1,
                FollowEvent::Failed { retry_in, .. } => {
                    assert!(retry_in.is_some(), "{shown}");
                    troubles += 1;
                }
                _ => {}
            }
        }
        machine.stop_and_go();
        let FollowEvent::Events(mut batch) = follow.next().await else { panic!("{shown}: no events") };
        assert_eq!(batch.next().map(|event| event.name.into_owned()).as_deref(), Some("STOP"));
    }
}

/// The stream of a machine: greeting, reply, events.
const STREAM: &str = "{\"QMP\": {\"version\": {}, \"capabilities\": []}}\r\n{\"return\": {}, \"id\": 1}\r\n\
                      {\"event\": \"STOP\"}\r\n{\"event\": \"RESUME\"}\r\n{\"event\": \"RESET\", \"data\": {\"guest\": true}}\r\n";

/// Returns all output of a stage, with the times.
fn output_of(faults: &Faults, connection: u64, pieces: &[&[u8]]) -> Vec<(Duration, StageOutput)> {
    let mut stage = Stage::new(faults, connection);
    let (mut now, mut outputs) = (Duration::ZERO, Vec::new());
    for piece in pieces {
        stage.handle_input(piece, now);
    }
    stage.handle_end(now);
    loop {
        while let Some(output) = stage.poll_output(now) {
            outputs.push((now, output));
        }
        match stage.poll_timeout() {
            Some(next) => now = now.max(next),
            None => return outputs,
        }
    }
}

mod properties {
    use proptest::prelude::*;

    use super::*;

    fn kinds() -> impl Strategy<Value = FaultKind> {
        let bytes = || prop::option::of(1_usize..40);
        let span = || (0_u64..5000).prop_map(Duration::from_millis);
        prop_oneof![
            Just(FaultKind::Drop),
            (span(), span()).prop_map(|(by, jitter)| FaultKind::Delay { by, jitter }),
            Just(FaultKind::Duplicate),
            Just(FaultKind::Reorder),
            bytes().prop_map(|bytes| FaultKind::Truncate { bytes }),
            (1_usize..40).prop_map(|bytes| FaultKind::Corrupt { bytes }),
            bytes().prop_map(|bytes| FaultKind::Close { bytes }),
            Just(FaultKind::EarlyEvent { message: "{\"event\": \"EARLY\"}".into() }),
            Just(FaultKind::NeverGreet),
        ]
    }

    fn rules() -> impl Strategy<Value = Faults> {
        let messages = prop_oneof![
            Just(Messages::Any),
            Just(Messages::Greeting),
            Just(Messages::Reply),
            Just(Messages::Event("RES*".into())),
        ];
        let rule =
            (kinds(), messages, 0_u64..3, 0.0_f64..=1.0).prop_map(|(kind, messages, skip, probability)| {
                Fault::new(kind).of(messages).after(skip).with_probability(probability)
            });
        (any::<u64>(), prop::collection::vec(rule, 0..5)).prop_map(|(seed, rules)| Faults { seed, rules })
    }

    proptest! {
        /// The same rules, seed and messages give the same bytes at the same times, wherever the stream is cut.
        #[test]
        fn same_seed_gives_same_output(faults in rules(), connection in 1_u64..4, cut in 0..STREAM.len()) {
            let (first, second) = STREAM.as_bytes().split_at(cut);
            let whole = output_of(&faults, connection, &[STREAM.as_bytes()]);
            prop_assert_eq!(output_of(&faults, connection, &[first, second]), whole);
        }

        /// With any faults the connection ends once, and no output follows.
        #[test]
        fn connection_ends_once(faults in rules()) {
            let outputs = output_of(&faults, 1, &[STREAM.as_bytes()]);
            let ends = outputs.iter().filter(|(_, output)| *output == StageOutput::Close).count();
            prop_assert_eq!(ends, 1);
            prop_assert!(matches!(outputs.last(), Some((_, StageOutput::Close))));
        }

        /// Without a matching rule, the bytes from the machine pass unchanged and at once.
        #[test]
        fn unmatched_stream_passes_unchanged(faults in rules(), cut in 0..STREAM.len()) {
            let rules = faults.rules.into_iter().map(|rule| rule.on_connection(7)).collect();
            let faults = Faults { rules, ..faults };
            let (first, second) = STREAM.as_bytes().split_at(cut);
            let mut bytes = Vec::new();
            for (at, output) in output_of(&faults, 1, &[first, second]) {
                prop_assert_eq!(at, Duration::ZERO);
                if let StageOutput::Bytes(piece) = output {
                    bytes.extend(piece);
                }
            }
            prop_assert_eq!(bytes, STREAM.as_bytes());
        }
    }
}
