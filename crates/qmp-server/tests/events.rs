//! Events through a monitor: their recipients, times and form. Without a thread, on a clock that the test sets.
#![allow(clippy::unwrap_used, reason = "a test or a bench")]

mod support;

use std::{sync::Arc, time::Duration};

use qmp_events::EventKind;
use qmp_server::{
    Command, EmitOutcome, HiddenOutput, ManualClock, Monitor, MonitorBuilder, NoArguments, ObjectType,
    Refusal, TextEvent, TimeSource, Type,
};
use support::{
    exchange::without_time,
    machine::{client, event, unnegotiated_client},
};

type Version = (u32, u32, u32);

const START: Duration = Duration::new(1_700_000_000, 0);

#[derive(Clone, Debug)]
struct SharedClock(Arc<ManualClock>);

impl TimeSource for SharedClock {
    fn monotonic(&self) -> std::time::Instant {
        self.0.monotonic()
    }

    fn wall(&self) -> Duration {
        self.0.wall()
    }
}

fn monitor(
    version: (u32, u32, u32),
    describe: impl FnOnce(MonitorBuilder) -> MonitorBuilder,
) -> (Monitor, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new(START));
    let builder = Monitor::builder(version.0, version.1, version.2).clock(SharedClock(Arc::clone(&clock)));
    (describe(builder).build().unwrap(), clock)
}

/// Returns `EVENT@milliseconds` since the start, and the first member of its data.
fn summary(line: &str) -> String {
    let message: serde_json::Value = serde_json::from_str(line).unwrap();
    let time = &message["timestamp"];
    let since = time["seconds"].as_u64().unwrap() - START.as_secs();
    let ms = since * 1000 + time["microseconds"].as_u64().unwrap() / 1000;
    let data = message["data"].as_object().and_then(|data| data.values().next());
    format!(
        "{}@{ms}{}",
        message["event"].as_str().unwrap(),
        data.map_or(String::new(), |data| format!(" {data}"))
    )
}

#[test]
fn timeline_equals_that_of_a_real_qemu() {
    let (mut monitor, clock) = monitor((11, 1, 3), |builder| builder);
    let mut client = client(&mut monitor);
    let emitter = monitor.emitter();
    let mut now = 0;
    let rows: [(u64, Option<i64>, &[&str]); 12] = [
        // ms   raised    sent: with the time at which it was raised
        (0, Some(1), &["RTC_CHANGE@0 1"]),
        (100, Some(2), &[]),
        (500, Some(3), &[]),
        (999, None, &[]),
        (1000, None, &["RTC_CHANGE@500 3"]),
        (1500, Some(4), &[]),
        (1999, None, &[]),
        (2000, None, &["RTC_CHANGE@1500 4"]),
        (2999, None, &[]),
        (3000, None, &[]),
        (3000, Some(5), &["RTC_CHANGE@3000 5"]),
        (3100, Some(6), &[]),
    ];
    for (time, raised, expected) in rows {
        clock.advance(Duration::from_millis(time - now));
        now = time;
        monitor.process().unwrap();
        if let Some(offset) = raised {
            let data = format!(r#"{{"offset": {offset}, "qom-path": "/machine/rtc"}}"#);
            emitter.emit(&TextEvent { name: "RTC_CHANGE", data: Some(&data) });
        }
        monitor.process().unwrap();
        let sent: Vec<_> = client.lines_now().iter().map(|line| summary(line)).collect();
        assert_eq!(sent, expected, "at {time}");
    }
    assert_eq!(monitor.stats().merged, 1, "the second, by the third");
    // QEMU loses this one.
    monitor.shutdown();
    let flushed: Vec<_> = client.rest().iter().map(|line| summary(line)).collect();
    assert_eq!(flushed, ["RTC_CHANGE@3100 6"]);
    assert_eq!(emitter.emit(&event("STOP", "{}")), EmitOutcome::Closed);
}

#[test]
fn held_event_at_shutdown_is_lost_with_lose_held() {
    let (mut monitor, _) = monitor((11, 1, 3), |builder| builder.lose_held_at_shutdown(true));
    let mut client = client(&mut monitor);
    let watchdog = event("WATCHDOG", r#"{"action": "none"}"#);
    let emitter = monitor.emitter();
    assert_eq!((emitter.emit(&watchdog), emitter.emit(&watchdog)), (EmitOutcome::Queued, EmitOutcome::Held));
    monitor.shutdown();
    assert_eq!(client.rest().len(), 1);
}

#[test]
fn unknown_event_is_sent_with_any_event() {
    let (mut monitor, _) = monitor((4, 0, 0), |builder| builder.any_event(true));
    let mut client = client(&mut monitor);
    let reset = Some(r#"{"guest": true, "reason": "guest-reset"}"#);
    for (name, data) in [("UNKNOWN_EVENT", None), ("VFIO_MIGRATION", None), ("RESET", reset)] {
        assert_eq!(monitor.emitter().emit(&TextEvent { name, data }), EmitOutcome::Queued);
    }
    monitor.process().unwrap();
    assert_eq!(client.lines_now().len(), 3);
}

#[test]
fn keys_are_limited_separately() {
    let (mut monitor, clock) = monitor((11, 1, 3), |builder| builder);
    let mut client = client(&mut monitor);
    for (after, id, expected) in
        [(0, "a", EmitOutcome::Queued), (10, "b", EmitOutcome::Queued), (10, "a", EmitOutcome::Held)]
    {
        clock.advance(Duration::from_millis(after));
        let data = format!(r#"{{"open": true, "id": "{id}"}}"#);
        assert_eq!(monitor.emitter().emit(&event("VSERPORT_CHANGE", &data)), expected);
    }
    monitor.process().unwrap();
    assert_eq!(client.lines_now().len(), 2);
    assert_eq!(monitor.next_timeout(), Some(Duration::from_millis(980)));
    clock.advance(Duration::from_millis(980));
    monitor.process().unwrap();
    let sent: Vec<_> = client.lines_now().iter().map(|line| summary(line)).collect();
    assert_eq!(sent, [r#"VSERPORT_CHANGE@20 "a""#]);
}

/// The limits of each release: the second of two events at once is held, or it is not.
#[test]
fn limits_are_those_of_the_release() {
    let io_error =
        r#"{"device": "d", "qom-path": "/p", "operation": "read", "action": "ACTION", "reason": "r"}"#;
    let report = io_error.replace("ACTION", "report");
    let stop = io_error.replace("ACTION", "stop");
    let ports = (r#"{"open": true, "id": "a"}"#, r#"{"open": true, "id": "b"}"#);
    let cases: [(&str, Version, &str, &str, EmitOutcome); 10] = [
        // event              release      first     second    the second is
        ("BLOCK_IO_ERROR", (7, 2, 22), &report, &report, EmitOutcome::Queued),
        ("BLOCK_IO_ERROR", (10, 0, 0), &report, &report, EmitOutcome::Held),
        ("BLOCK_IO_ERROR", (10, 0, 0), &stop, &stop, EmitOutcome::Held),
        ("BLOCK_IO_ERROR", (10, 0, 9), &stop, &stop, EmitOutcome::Queued),
        ("BLOCK_IO_ERROR", (11, 1, 3), &report, &stop, EmitOutcome::Queued),
        ("BLOCK_IO_ERROR", (11, 1, 3), &report, &report, EmitOutcome::Held),
        ("VSERPORT_CHANGE", (2, 4, 0), ports.0, ports.1, EmitOutcome::Held),
        ("VSERPORT_CHANGE", (2, 5, 0), ports.0, ports.1, EmitOutcome::Queued),
        ("VSERPORT_CHANGE", (2, 5, 0), ports.0, ports.0, EmitOutcome::Held),
        ("WATCHDOG", (1, 1, 0), r#"{"action": "none"}"#, r#"{"action": "none"}"#, EmitOutcome::Queued),
    ];
    for (name, version, first, second, expected) in cases {
        // 1.1 and 2.4 have no VSERPORT_CHANGE, or no negotiation of a capability; all have the commands of this test.
        let (mut monitor, _) = monitor(version, |builder| builder);
        let _client = client(&mut monitor);
        let emitter = monitor.emitter();
        assert_eq!(
            emitter.emit(&TextEvent { name, data: Some(first) }),
            EmitOutcome::Queued,
            "{name} {version:?}"
        );
        assert_eq!(emitter.emit(&TextEvent { name, data: Some(second) }), expected, "{name} {version:?}");
    }
}

#[test]
fn window_opened_without_clients_holds_events() {
    let (mut monitor, clock) = monitor((11, 1, 3), |builder| builder);
    let emitter = monitor.emitter();
    let watchdog = event("WATCHDOG", r#"{"action": "none"}"#);
    assert_eq!(emitter.emit(&watchdog), EmitOutcome::Unheard);
    clock.advance(Duration::from_millis(100));
    assert_eq!(emitter.emit(&watchdog), EmitOutcome::Held);
    let mut client = client(&mut monitor);
    clock.advance(Duration::from_millis(900));
    monitor.process().unwrap();
    assert_eq!(
        client.lines_now().iter().map(|line| summary(line)).collect::<Vec<_>>(),
        [r#"WATCHDOG@100 "none""#]
    );
}

#[test]
fn held_event_sets_the_next_timeout() {
    let (mut monitor, _) = monitor((11, 1, 3), |builder| builder);
    monitor.process().unwrap();
    assert_eq!(monitor.next_timeout(), None);
    monitor.emitter().emit(&event("WATCHDOG", r#"{"action": "none"}"#));
    monitor.process().unwrap();
    assert_eq!(monitor.next_timeout(), Some(Duration::from_secs(1)));
}

#[test]
fn nothing_is_delivered_before_negotiation_ends() {
    let (mut monitor, _) = monitor((11, 1, 3), |builder| builder);
    let emitter = monitor.emitter();
    let mut other = client(&mut monitor);
    let mut client = unnegotiated_client(&mut monitor);
    emitter.emit(&event("STOP", "{}"));
    client.send(r#"{"execute":"qmp_capabilities"}"#);
    monitor.process().unwrap();
    emitter.emit(&event("RESUME", "{}"));
    monitor.process().unwrap();
    let lines: Vec<_> = client.lines_now().iter().map(|line| without_time(line)).collect();
    assert!(lines[0].starts_with(r#"{"QMP": "#));
    assert_eq!(lines[1..], [r#"{"return": {}}"#, r#"{"timestamp": {*}, "event": "RESUME"}"#]);
    let others: Vec<_> = other.lines_now().iter().map(|line| without_time(line)).collect();
    assert_eq!(
        others,
        [r#"{"timestamp": {*}, "event": "STOP"}"#, r#"{"timestamp": {*}, "event": "RESUME"}"#]
    );
}

#[test]
fn every_client_gets_every_event_byte_for_byte() {
    let (mut monitor, _) = monitor((11, 1, 3), |builder| builder);
    let mut clients: Vec<_> = (0..3).map(|_| client(&mut monitor)).collect();
    monitor.emitter().emit(&event("RESET", r#"{"reason": "guest-reset", "guest": true}"#));
    monitor.emitter().emit(&event("STOP", "{}"));
    monitor.process().unwrap();
    for client in &mut clients {
        assert_eq!(
            client.lines_now(),
            [
                r#"{"timestamp": {"seconds": 1700000000, "microseconds": 0}, "event": "RESET", "data": {"guest": true, "reason": "guest-reset"}}"#,
                r#"{"timestamp": {"seconds": 1700000000, "microseconds": 0}, "event": "STOP"}"#,
            ]
        );
    }
    assert_eq!((monitor.stats().emitted, monitor.stats().delivered), (2, 6));
}

/// A release has the events and the members that it had.
#[test]
fn event_has_the_members_of_its_release() {
    let reset = ("RESET", r#"{"guest": true, "reason": "guest-reset"}"#);
    let stream = (
        "NETDEV_STREAM_CONNECTED",
        r#"{"netdev-id": "n", "addr": {"type": "inet", "host": "h", "port": "1", "keep-alive-count": 3}}"#,
    );
    let cases: [(Version, (&str, &str), Option<&str>); 9] = [
        // release      event     data on the wire; None if the release does not have the event
        ((2, 9, 1), reset, Some("")),
        ((2, 10, 0), reset, Some(r#"{"guest": true}"#)),
        ((3, 1, 1), reset, Some(r#"{"guest": true}"#)),
        ((4, 0, 0), reset, Some(r#"{"guest": true, "reason": "guest-reset"}"#)),
        ((7, 1, 0), stream, None),
        (
            (7, 2, 22),
            stream,
            Some(r#"{"netdev-id": "n", "addr": {"port": "1", "host": "h", "type": "inet"}}"#),
        ),
        (
            (11, 1, 3),
            stream,
            Some(
                r#"{"netdev-id": "n", "addr": {"port": "1", "host": "h", "type": "inet", "keep-alive-count": 3}}"#,
            ),
        ),
        (
            (9, 0, 0),
            ("MEM_UNPLUG_ERROR", r#"{"device": "d", "msg": "m"}"#),
            Some(r#"{"device": "d", "msg": "m"}"#),
        ),
        ((9, 1, 0), ("MEM_UNPLUG_ERROR", r#"{"device": "d", "msg": "m"}"#), None),
    ];
    for (version, (name, data), expected) in cases {
        let (mut monitor, _) = monitor(version, |builder| builder);
        let mut client = client(&mut monitor);
        let emitted = monitor.emitter().emit(&event(name, data));
        monitor.process().unwrap();
        let lines = client.lines_now();
        let Some(expected) = expected else {
            assert_eq!((emitted, lines.len()), (EmitOutcome::NotInRelease, 0), "{name} {version:?}");
            continue;
        };
        let (_, summary) = lines[0].split_once(r#", "event": "#).unwrap();
        let data = if expected.is_empty() { String::new() } else { format!(r#", "data": {expected}"#) };
        assert_eq!(summary, format!(r#""{name}"{data}}}"#), "{version:?}");
    }
}

#[test]
fn deprecated_event_is_not_sent_when_hidden() {
    let unplug = ("MEM_UNPLUG_ERROR", r#"{"device": "d", "msg": "m"}"#);
    for (deprecated, expected) in [(false, EmitOutcome::Queued), (true, EmitOutcome::NotInRelease)] {
        let hidden = HiddenOutput::default().with_deprecated(deprecated);
        let (mut monitor, _) = monitor((7, 2, 22), |builder| builder.hide(hidden));
        let _client = client(&mut monitor);
        assert_eq!(monitor.emitter().emit(&event(unplug.0, unplug.1)), expected);
    }
}

#[test]
fn rx_filter_change_is_silent_until_queried() {
    let filters = Command::new("query-rx-filter").optional("name", Type::Str).returns(Type::list(Type::Any));
    let filters = filters.run_untyped(|_| Ok(Vec::<()>::new()));
    let (mut monitor, _) = monitor((11, 1, 3), |builder| builder.command(filters));
    let mut client = client(&mut monitor);
    let emitter = monitor.emitter();
    let change = |name: &str| {
        let data = format!(r#"{{"name": "{name}", "path": "/machine/{name}"}}"#);
        emitter.emit(&event("NIC_RX_FILTER_CHANGED", &data))
    };
    assert_eq!(
        (change("a"), change("a"), change("b")),
        (EmitOutcome::Queued, EmitOutcome::Silent, EmitOutcome::Queued)
    );
    client.send(r#"{"execute":"query-rx-filter","arguments":{"name":"a"}}"#);
    monitor.process().unwrap();
    assert_eq!(
        (change("a"), change("a"), change("b")),
        (EmitOutcome::Queued, EmitOutcome::Silent, EmitOutcome::Silent)
    );
    client.send(r#"{"execute":"query-rx-filter","arguments":{"name":1}}"#);
    monitor.process().unwrap();
    assert_eq!(change("a"), EmitOutcome::Silent, "a command that failed arms nothing");
    client.send(r#"{"execute":"query-rx-filter"}"#);
    monitor.process().unwrap();
    assert_eq!((change("a"), change("b")), (EmitOutcome::Queued, EmitOutcome::Queued));
    emitter.arm(EventKind::NicRxFilterChanged, None);
    assert_eq!(change("b"), EmitOutcome::Queued);
}

#[test]
fn node_reports_corruption_and_threshold_once() {
    let (sender, receiver) = std::sync::mpsc::channel();
    let threshold = Command::new("block-set-write-threshold")
        .required("node-name", Type::Str)
        .required("write-threshold", Type::Uint64)
        .hand_over(move |command| sender.send(command).unwrap());
    let (mut monitor, _) = monitor((11, 1, 3), |builder| builder.command(threshold));
    let mut client = client(&mut monitor);
    let emitter = monitor.emitter();
    let corrupted = |fatal: bool| {
        let data = format!(r#"{{"device": "", "node-name": "n", "msg": "m", "fatal": {fatal}}}"#);
        emitter.emit(&event("BLOCK_IMAGE_CORRUPTED", &data))
    };
    assert_eq!((corrupted(false), corrupted(false)), (EmitOutcome::Queued, EmitOutcome::Silent));
    assert_eq!((corrupted(true), corrupted(true)), (EmitOutcome::Queued, EmitOutcome::Silent));
    emitter.arm(EventKind::BlockImageCorrupted, Some("n"));
    assert_eq!((corrupted(false), corrupted(true)), (EmitOutcome::Queued, EmitOutcome::Queued));
    let exceeded = || {
        let data = r#"{"node-name": "n", "amount-exceeded": 1, "write-threshold": 2}"#;
        emitter.emit(&event("BLOCK_WRITE_THRESHOLD", data))
    };
    assert_eq!((exceeded(), exceeded()), (EmitOutcome::Queued, EmitOutcome::Silent));
    for (result, expected) in
        [(Err(Refusal::generic("no")), EmitOutcome::Silent), (Ok(()), EmitOutcome::Queued)]
    {
        client.send(
            r#"{"execute":"block-set-write-threshold","arguments":{"node-name":"n","write-threshold":1}}"#,
        );
        monitor.process().unwrap();
        receiver.recv().unwrap().reply(result);
        assert_eq!(exceeded(), expected, "armed when the command succeeds, by then");
        monitor.process().unwrap();
    }
}

#[test]
fn events_of_the_embedder_are_registered() {
    let data = ObjectType::default().required("level", Type::Int);
    let (mut monitor, _) = monitor((11, 1, 3), |builder| builder.event("__org.example_LEVEL", data));
    let mut client = client(&mut monitor);
    let own = TextEvent { name: "__org.example_LEVEL", data: Some(r#"{"level": 3}"#) };
    assert_eq!(monitor.emitter().emit(&own), EmitOutcome::Queued);
    assert_eq!(
        monitor.emitter().emit(&TextEvent { name: "__org.example_OTHER", data: None }),
        EmitOutcome::NotInRelease
    );
    monitor.process().unwrap();
    assert_eq!(client.lines_now().len(), 1);
    client.send(r#"{"execute":"query-qmp-schema"}"#);
    monitor.process().unwrap();
    assert!(client.lines_now()[0].contains("__org.example_LEVEL"));
}

#[test]
fn events_of_a_command_precede_its_reply() {
    let emitter = Arc::new(std::sync::OnceLock::new());
    let inside = Arc::clone(&emitter);
    let stop = Command::new("stop").run(move |NoArguments {}| {
        let emitter: &qmp_server::Emitter = inside.get().unwrap();
        emitter.emit(&TextEvent { name: "STOP", data: None });
        Err::<(), _>(Refusal::generic("stopped, and failed"))
    });
    let (mut monitor, _) = monitor((11, 1, 3), |builder| builder.command(stop));
    emitter.set(monitor.emitter()).unwrap();
    let (mut asking, mut other) = (client(&mut monitor), client(&mut monitor));
    asking.send(r#"{"execute":"stop","id":1}{"execute":"query-name","id":2}"#);
    monitor.process().unwrap();
    let lines: Vec<_> = asking.lines_now().iter().map(|line| without_time(line)).collect();
    assert_eq!(
        lines,
        [
            r#"{"timestamp": {*}, "event": "STOP"}"#,
            r#"{"id": 1, "error": {"class": "GenericError", "desc": "stopped, and failed"}}"#,
            r#"{"return": {}, "id": 2}"#,
        ]
    );
    assert_eq!(other.lines_now().len(), 1);
}

#[test]
fn pretty_monitor_spreads_event_over_lines() {
    let (mut monitor, _) = monitor((11, 1, 3), |builder| builder.pretty(true));
    let mut client = unnegotiated_client(&mut monitor);
    client.send(r#"{"execute":"qmp_capabilities"}"#);
    monitor.process().unwrap();
    client.lines_now();
    monitor.emitter().emit(&event("RESET", r#"{"guest": true, "reason": "guest-reset"}"#));
    monitor.process().unwrap();
    let expected = [
        "{",
        r#"    "timestamp": {"#,
        r#"        "seconds": 1700000000,"#,
        r#"        "microseconds": 0"#,
        "    },",
        r#"    "event": "RESET","#,
        r#"    "data": {"#,
        r#"        "guest": true,"#,
        r#"        "reason": "guest-reset""#,
        "    }",
        "}",
    ];
    assert_eq!(client.lines_now(), expected);
}
