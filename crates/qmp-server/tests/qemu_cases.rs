//! The checks of QEMU's own tests of its monitor, applied to ours: `qmp-test` (protocol, malformed, oob, preconfig),
//! `test-qmp-cmds` and `test-qmp-event`. The cases of `check-qjson` are those of `qmp-wire`, `tests/server_dialect.rs`.
#![allow(clippy::unwrap_used, reason = "a test or a bench")]

mod support;

use std::sync::mpsc;

use qmp_server::{
    Command, EmitOutcome, HiddenOutput, Monitor, NamedEvent, NoArguments, ObjectType, Refusal, RunState, Type,
};
use serde::Serialize;
use serde_json::{Value, json};
use support::{
    client::Client,
    machine::{self, client, event, unnegotiated_client},
};

/// Sends a request and returns the only message that follows.
fn ask(monitor: &mut Monitor, client: &mut Client, request: &[u8]) -> Value {
    client.send(request);
    monitor.process().unwrap();
    let lines = client.lines_now();
    assert_eq!(lines.len(), 1, "{lines:?}");
    serde_json::from_str(&lines[0]).unwrap()
}

fn class(reply: &Value) -> &str {
    reply["error"]["class"].as_str().unwrap_or_else(|| panic!("{reply} is no error"))
}

/// Each is refused, and an unknown command is still understood after it.
fn malformed(monitor: &mut Monitor, client: &mut Client) {
    let cases: [&[u8]; 11] = [
        b"{]\n",
        b"{\xFF",
        b"{\x01",
        b"{'bad \xFF",
        b"{'execute': 'multi\nline'}",
        b"%p\n",
        b"null\n",
        b"{}",
        b"{'execute': true}",
        b"{'execute': 'no-such-cmd', 'arguments': []}",
        b"{'execute': 'no-such-cmd', 'extra': true}",
    ];
    for case in cases {
        client.send(case);
        monitor.process().unwrap();
        let lines = client.lines_now();
        assert!(!lines.is_empty(), "{case:?}");
        for line in &lines {
            assert_eq!(class(&serde_json::from_str(line).unwrap()), "GenericError", "{case:?}");
        }
        let unknown = ask(monitor, client, b"\n{'execute': 'no-such-cmd'}");
        assert_eq!(class(&unknown), "CommandNotFound", "after {case:?}");
    }
}

#[test]
fn protocol() {
    for version in [(7, 2, 22), (11, 1, 3)] {
        let mut monitor = machine::monitor(version, "");
        let mut client = unnegotiated_client(&mut monitor);
        monitor.process().unwrap();
        let greeting: Value = serde_json::from_str(&client.lines_now()[0]).unwrap();
        assert!(greeting["QMP"]["version"]["qemu"]["major"].is_number());
        assert!(greeting["QMP"]["capabilities"].is_array());
        assert_eq!(
            class(&ask(&mut monitor, &mut client, b"{'execute': 'query-version'}")),
            "CommandNotFound"
        );
        malformed(&mut monitor, &mut client);
        let negotiated = ask(&mut monitor, &mut client, b"{'execute': 'qmp_capabilities'}");
        assert_eq!(negotiated, json!({"return": {}}));
        let again = ask(&mut monitor, &mut client, b"{'execute': 'qmp_capabilities'}");
        assert_eq!(class(&again), "CommandNotFound");
        malformed(&mut monitor, &mut client);
        let known = ask(&mut monitor, &mut client, b"{'execute': 'query-name', 'id': 'cookie#1'}");
        assert_eq!(known, json!({"return": {}, "id": "cookie#1"}));
        let failed = ask(&mut monitor, &mut client, b"{'execute': 'human-monitor-command', 'id': 2}");
        assert_eq!((class(&failed), &failed["id"]), ("CommandNotFound", &json!(2)));
    }
}

#[test]
fn out_of_band() {
    let (sender, receiver) = mpsc::channel();
    let block = Command::new("block").hand_over(move |command| sender.send(command).unwrap());
    let mut monitor = machine::with((7, 2, 22), "", |builder| builder.command(block));
    let mut client = unnegotiated_client(&mut monitor);
    monitor.process().unwrap();
    assert!(client.lines_now()[0].ends_with(r#""capabilities": ["oob"]}}"#));
    let unknown = b"{'execute': 'qmp_capabilities', 'arguments': {'enable': ['cap-does-not-exist']}}";
    assert_eq!(class(&ask(&mut monitor, &mut client, unknown)), "GenericError");
    let enable = b"{'execute': 'qmp_capabilities', 'arguments': {'enable': ['oob']}}";
    assert_eq!(ask(&mut monitor, &mut client, enable), json!({"return": {}}));
    let plain = ask(&mut monitor, &mut client, b"{'exec-oob': 'query-version'}");
    assert_eq!(class(&plain), "GenericError");
    // An out-of-band command overtakes one that is blocked, and the commands queued after it.
    client.send("{'execute': 'block', 'id': 'blocks-1'}{'execute': 'query-name', 'id': 'ib-quick-1'}");
    client.send("{'exec-oob': 'query-yank', 'id': 'oob-1'}");
    monitor.process().unwrap();
    let ids = |client: &mut Client| -> Vec<Value> {
        let lines = client.lines_now();
        lines.iter().map(|line| serde_json::from_str::<Value>(line).unwrap()["id"].clone()).collect()
    };
    assert_eq!(ids(&mut client), ["oob-1"]);
    receiver.recv().unwrap().reply(Ok(()));
    monitor.process().unwrap();
    assert_eq!(ids(&mut client), ["blocks-1", "ib-quick-1"]);
    // A malformed in-band request gets its reply in order, too.
    client.send(
        "{'execute': 'block', 'id': 'blocks-2'}{'id': 'err-2'}{'exec-oob': 'query-yank', 'id': 'oob-2'}",
    );
    monitor.process().unwrap();
    assert_eq!(ids(&mut client), ["oob-2"]);
    receiver.recv().unwrap().reply(Ok(()));
    monitor.process().unwrap();
    assert_eq!(ids(&mut client), ["blocks-2", "err-2"]);
}

#[test]
fn preconfig() {
    let (sender, receiver) = mpsc::channel::<()>();
    let ready = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let (is_ready, make_ready) = (ready.clone(), ready);
    let emitter = std::sync::Arc::new(std::sync::OnceLock::<qmp_server::Emitter>::new());
    let inside = emitter.clone();
    let exit = Command::new("x-exit-preconfig").allow_in_preconfig().run(move |NoArguments {}| {
        make_ready.store(true, std::sync::atomic::Ordering::Relaxed);
        inside.get().unwrap().emit(&event("RESUME", "{}"));
        sender.send(()).map_err(|_| Refusal::generic("no receiver"))
    });
    let mut monitor = Monitor::builder(7, 2, 22)
        .run_state(|| RunState::Prelaunch)
        .ready_when(move || is_ready.load(std::sync::atomic::Ordering::Relaxed))
        .command(exit)
        .command(Command::new("query-cpus-fast"))
        .command(Command::new("qom-set").required("value", Type::Any).allow_in_preconfig())
        .build()
        .unwrap();
    emitter.set(monitor.emitter()).unwrap();
    let mut client = client(&mut monitor);
    assert!(ask(&mut monitor, &mut client, b"{'execute': 'query-commands'}")["return"].is_array());
    let status = ask(&mut monitor, &mut client, b"{'execute': 'query-status'}");
    assert_eq!(status["return"]["status"], "prelaunch");
    assert_eq!(class(&ask(&mut monitor, &mut client, b"{'execute': 'query-cpus-fast'}")), "GenericError");
    // A mandatory argument of type any.
    let missing = ask(&mut monitor, &mut client, b"{'execute': 'qom-set'}");
    assert_eq!(missing["error"], json!({"class": "GenericError", "desc": "Parameter 'value' is missing"}));
    client.send("{'execute': 'x-exit-preconfig'}");
    monitor.process().unwrap();
    let lines = client.lines_now();
    assert!(lines[0].ends_with(r#""event": "RESUME"}"#) && lines[1] == r#"{"return": {}}"#, "{lines:?}");
    receiver.recv().unwrap();
    assert!(ask(&mut monitor, &mut client, b"{'execute': 'query-cpus-fast'}")["return"].is_object());
}

/// `test-qmp-cmds`: an error has its two members and nothing else.
#[test]
fn commands() {
    let mut monitor = machine::monitor((7, 2, 22), "");
    let mut client = client(&mut monitor);
    for (request, desc) in [
        (&b"{'execute': 'device_del'}"[..], "Parameter 'id' is missing"),
        (b"{'execute': 'device_del', 'arguments': {'id': 'a', 'b': 1}}", "Parameter 'b' is unexpected"),
    ] {
        let reply = ask(&mut monitor, &mut client, request);
        assert_eq!(reply, json!({"error": {"class": "GenericError", "desc": desc}}));
    }
}

#[derive(Serialize)]
struct Inner {
    integer: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    string: Option<&'static str>,
}

#[derive(Serialize)]
struct Outer {
    inner: Inner,
    #[serde(skip_serializing_if = "Option::is_none")]
    b: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    enum3: Option<&'static str>,
}

#[derive(Serialize)]
struct Empty {}

/// `test-qmp-event`: the form of an event with every kind of data.
#[test]
fn events() {
    let inner = ObjectType::new("Inner").required("integer", Type::Int).optional("string", Type::Str);
    let outer = ObjectType::new("Outer").required("inner", inner).optional("b", Type::Str);
    let outer = outer.optional("enum3", Type::one_of("Enum3", ["value3"]));
    let builder = Monitor::builder(7, 2, 22)
        .event("__EVENT_A", ObjectType::default())
        .event("__EVENT_B", ObjectType::default())
        .event("__EVENT_C", outer.clone())
        .event("__EVENT_D", outer);
    let mut monitor = builder.build().unwrap();
    let mut client = client(&mut monitor);
    let emitter = monitor.emitter();
    let full = Inner { integer: 2, string: Some("test2") };
    let part = Inner { integer: 2, string: None };
    emitter.emit(&NamedEvent { name: "__EVENT_A", data: () });
    emitter.emit(&NamedEvent { name: "__EVENT_B", data: Empty {} });
    emitter
        .emit(&NamedEvent { name: "__EVENT_C", data: Outer { inner: full, b: Some("test3"), enum3: None } });
    emitter
        .emit(&NamedEvent { name: "__EVENT_D", data: Outer { inner: part, b: None, enum3: Some("value3") } });
    monitor.process().unwrap();
    let expected = [
        ("__EVENT_A", None),
        ("__EVENT_B", None),
        ("__EVENT_C", Some(json!({"inner": {"integer": 2, "string": "test2"}, "b": "test3"}))),
        ("__EVENT_D", Some(json!({"inner": {"integer": 2}, "enum3": "value3"}))),
    ];
    let lines = client.lines_now();
    assert_eq!(lines.len(), expected.len());
    for (line, (name, data)) in lines.iter().zip(expected) {
        let message: Value = serde_json::from_str(line).unwrap();
        let time = message["timestamp"].as_object().unwrap();
        assert_eq!(time.len(), 2);
        assert!(time["seconds"].as_i64().unwrap() >= 0);
        assert!((0..=999_999).contains(&time["microseconds"].as_i64().unwrap()));
        assert_eq!((&message["event"], message.get("data")), (&json!(name), data.as_ref()));
    }
}

/// `test-qmp-event`: deprecated output is sent unless it is hidden; data without members is then left out.
#[test]
fn deprecated_events() {
    for (deprecated, expected) in [(false, EmitOutcome::Queued), (true, EmitOutcome::NotInRelease)] {
        let hidden = HiddenOutput::default().with_deprecated(deprecated);
        let mut monitor = Monitor::builder(7, 2, 22).hide(hidden).build().unwrap();
        let _client = client(&mut monitor);
        let unplug = event("MEM_UNPLUG_ERROR", r#"{"device": "d", "msg": "m"}"#);
        assert_eq!(monitor.emitter().emit(&unplug), expected);
    }
}
