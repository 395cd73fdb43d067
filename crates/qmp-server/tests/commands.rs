//! Commands of an embedder: run by the loop, handed over, refused; and the listings of commands.
#![allow(clippy::unwrap_used, reason = "a test or a bench")]

mod support;

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use qmp_events::{Release, introspection};
use qmp_server::{
    Command, Monitor, MonitorBuilder, NoArguments, ObjectType, PendingCommand, RunState, TextEvent, Type,
};
use serde::{Deserialize, Serialize};
use support::machine::{client, unnegotiated_client};

fn monitor(describe: impl FnOnce(MonitorBuilder) -> MonitorBuilder) -> Monitor {
    describe(Monitor::builder(11, 1, 3)).build().unwrap()
}

/// Commands that wait for a reply of a test.
#[derive(Clone, Default)]
struct PendingQueue(Arc<Mutex<VecDeque<PendingCommand>>>);

impl PendingQueue {
    fn command(&self, name: &str) -> Command {
        let pending = self.clone();
        Command::new(name)
            .returns(Type::Any)
            .hand_over(move |command| pending.0.lock().unwrap().push_back(command))
    }

    fn take(&self) -> PendingCommand {
        self.0.lock().unwrap().pop_front().expect("a command waits")
    }

    fn len(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

#[test]
fn arguments_and_return_values_are_typed() {
    #[derive(Deserialize)]
    #[serde(rename_all = "kebab-case")]
    struct Resize {
        node_name: String,
        size: u64,
        mode: Option<Mode>,
        tags: Option<Vec<i32>>,
    }
    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(rename_all = "lowercase")]
    enum Mode {
        Grow,
        Shrink,
    }
    #[derive(Serialize)]
    struct ResizeResult {
        speed: f64,
        len: u64,
        device: String,
    }
    let resize = Command::new("block_resize")
        .required("node-name", Type::Str)
        .required("size", Type::Size)
        .optional("mode", Type::one_of("Mode", ["grow", "shrink"]))
        .optional("tags", Type::list(Type::Int32))
        .returns(
            ObjectType::new("ResizeResult")
                .required("len", Type::Size)
                .required("speed", Type::Number)
                .required("device", Type::Str),
        )
        .run(|Resize { node_name, size, mode, tags }| {
            assert_ne!(mode, Some(Mode::Shrink));
            let len = size + u64::from(tags.is_some());
            Ok(ResizeResult { speed: 0.1, len, device: node_name })
        });
    let mut monitor = monitor(|builder| builder.command(resize));
    let mut client = client(&mut monitor);
    let cases = [
        (
            r#"{"node-name":"d0","size":7}"#,
            r#"{"return": {"device": "d0", "len": 7, "speed": 0.10000000000000001}}"#,
        ),
        (
            r#"{"node-name":"d0","size":7,"mode":"grow","tags":[1,-2]}"#,
            r#"{"return": {"device": "d0", "len": 8, "speed": 0.10000000000000001}}"#,
        ),
        (
            r#"{"node-name":"d0","size":-1}"#,
            r#"{"return": {"device": "d0", "len": 18446744073709551615, "speed": 0.10000000000000001}}"#,
        ),
        (
            r#"{"node-name":"d0","size":7,"tags":[1,2147483648]}"#,
            r#"{"error": {"class": "GenericError", "desc": "Parameter 'null' expects int32_t"}}"#,
        ),
    ];
    for (arguments, expected) in cases {
        client.send(format!(r#"{{"execute":"block_resize","arguments":{arguments}}}"#));
        monitor.process().unwrap();
        assert_eq!(client.lines_now(), [expected], "{arguments}");
    }
}

#[test]
fn negative_integers_wrap_only_where_the_type_is_uint64_or_size() {
    #[derive(Deserialize)]
    struct Arguments {
        value: u64,
    }
    #[derive(Deserialize)]
    struct Inner {
        inner: Arguments,
    }
    #[derive(Deserialize)]
    struct List {
        values: Vec<u64>,
    }
    let with = |name: &str, ty: Type| {
        let command = Command::new(name).required("value", ty).returns(Type::Uint64);
        command.run(|Arguments { value }| Ok(value))
    };
    let inner = ObjectType::new("Inner").required("value", Type::Int);
    let list = Command::new("list").required("values", Type::list(Type::Size)).returns(Type::Uint64);
    let mut monitor = monitor(|builder| {
        builder
            .command(with("balloon", Type::Int))
            .command(with("int64", Type::Int64))
            .command(with("uint64", Type::Uint64))
            .command(with("size", Type::Size))
            .command(list.run(|List { values }| Ok(values[1])))
            .command(
                Command::new("nested")
                    .required("inner", inner)
                    .returns(Type::Uint64)
                    .run(|Inner { inner }| Ok(inner.value)),
            )
    });
    let mut client = client(&mut monitor);
    let refused = |name: &str| {
        let desc = format!("Parameter '{name}' expects uint64");
        format!(r#"{{"error": {{"class": "GenericError", "desc": "{desc}"}}}}"#)
    };
    let wrapped = || r#"{"return": 18446744073709551611}"#.to_owned();
    let rows = [
        // command   arguments                    reply
        ("balloon", r#"{"value":-5}"#, refused("value")),
        ("int64", r#"{"value":-5}"#, refused("value")),
        ("nested", r#"{"inner":{"value":-5}}"#, refused("inner.value")),
        ("uint64", r#"{"value":-5}"#, wrapped()),
        ("size", r#"{"value":-5}"#, wrapped()),
        ("list", r#"{"values":[1,-5]}"#, wrapped()),
        ("balloon", r#"{"value":5}"#, r#"{"return": 5}"#.into()),
    ];
    for (command, arguments, reply) in rows {
        client.send(format!(r#"{{"execute":"{command}","arguments":{arguments}}}"#));
        monitor.process().unwrap();
        assert_eq!(client.lines_now(), [reply], "{command} {arguments}");
    }
}

#[test]
fn checks_run_in_the_order_of_qemu() {
    let mut monitor = monitor(|builder| {
        builder
            .ready_when(|| false)
            .command(Command::new("off").disabled("the host says so"))
            .command(Command::new("late").required("x", Type::Int))
            .command(Command::new("early").required("x", Type::Int).allow_in_preconfig())
    });
    let mut client = unnegotiated_client(&mut monitor);
    client.send(r#"{"execute":"qmp_capabilities","arguments":{"enable":["oob"]}}"#);
    monitor.process().unwrap();
    client.lines_now();
    let cases = [
        // request                       class                desc
        (r#"{"execute":"none"}"#, "CommandNotFound", "The command none has not been found"),
        (r#"{"exec-oob":"off"}"#, "CommandNotFound", "Command off has been disabled: the host says so"),
        (r#"{"exec-oob":"late"}"#, "GenericError", "The command late does not support OOB"),
        (
            r#"{"execute":"late"}"#,
            "GenericError",
            "The command 'late' is permitted only after machine initialization has completed",
        ),
        (r#"{"execute":"early"}"#, "GenericError", "Parameter 'x' is missing"),
    ];
    for (request, class, desc) in cases {
        client.send(request);
        monitor.process().unwrap();
        let expected = format!(r#"{{"error": {{"class": "{class}", "desc": "{desc}"}}}}"#);
        assert_eq!(client.lines_now(), [expected], "{request}");
    }
}

#[test]
fn handed_over_command_is_replied_to_from_any_thread() {
    let pending = PendingQueue::default();
    let mut monitor = monitor(|builder| builder.command(pending.command("slow")));
    let (mut asking, mut other) = (client(&mut monitor), client(&mut monitor));
    asking.send(r#"{"execute":"slow","id":1}{"execute":"slow","id":2}{"execute":"query-name","id":3}"#);
    other.send(r#"{"execute":"query-name"}"#);
    monitor.process().unwrap();
    assert_eq!(asking.lines_now().len(), 0);
    assert_eq!(other.lines_now(), [r#"{"return": {}}"#], "others do not wait");
    assert_eq!(pending.len(), 1, "one in-band command at a time");
    let (first, before) = (pending.take(), monitor.emitter());
    std::thread::spawn(move || {
        before.emit(&TextEvent { name: "STOP", data: None });
        first.reply(Ok(7));
        before.emit(&TextEvent { name: "RESUME", data: None });
    })
    .join()
    .unwrap();
    monitor.process().unwrap();
    let names = |lines: Vec<String>| -> Vec<String> {
        lines.iter().map(|line| support::exchange::without_time(line)).collect()
    };
    let (stop, resume) =
        (r#"{"timestamp": {*}, "event": "STOP"}"#, r#"{"timestamp": {*}, "event": "RESUME"}"#);
    assert_eq!(names(asking.lines_now()), [stop, r#"{"return": 7, "id": 1}"#, resume]);
    assert_eq!(names(other.lines_now()), [stop, resume]);
    drop(pending.take());
    monitor.process().unwrap();
    let dropped =
        r#"{"id": 2, "error": {"class": "GenericError", "desc": "The command slow was not answered"}}"#;
    assert_eq!(asking.lines_now(), [dropped, r#"{"return": {}, "id": 3}"#]);
}

/// QEMU writes such a reply to the next client.
#[test]
fn reply_to_disconnected_client_is_discarded() {
    let pending = PendingQueue::default();
    let mut monitor = monitor(|builder| builder.command(pending.command("slow")));
    let mut disconnected = client(&mut monitor);
    disconnected.send(r#"{"execute":"slow","id":"old"}"#);
    monitor.process().unwrap();
    drop(disconnected);
    monitor.process().unwrap();
    let mut fresh = unnegotiated_client(&mut monitor);
    pending.take().reply(Ok(()));
    monitor.process().unwrap();
    let lines = fresh.lines_now();
    assert!(lines.len() == 1 && lines[0].starts_with(r#"{"QMP""#), "{lines:?}");
    assert_eq!(monitor.stats().replies_discarded, 1);
}

#[test]
fn out_of_band_command_overtakes_in_band_ones() {
    let pending = PendingQueue::default();
    let mut monitor = monitor(|builder| {
        builder
            .command(pending.command("block"))
            .command(Command::new("oob").allow_out_of_band().run(|NoArguments {}| Ok(())))
    });
    let mut client = unnegotiated_client(&mut monitor);
    client.send(r#"{"execute":"qmp_capabilities","arguments":{"enable":["oob"]}}"#);
    client.send(r#"{"execute":"block","id":"blocked"}{"execute":"nope","id":"quick"}[1 2]"#);
    client.send(r#"{"exec-oob":"oob","id":"oob-1"}{"exec-oob":"block","id":"oob-2"}"#);
    monitor.process().unwrap();
    let early = client.lines_now();
    let no_oob = r#"{"id": "oob-2", "error": {"class": "GenericError", "desc": "The command block does not support OOB"}}"#;
    assert_eq!(early[2..], [r#"{"return": {}, "id": "oob-1"}"#, no_oob]);
    pending.take().reply(Ok(()));
    monitor.process().unwrap();
    let late: Vec<_> = client.lines_now();
    assert_eq!(late[0], r#"{"return": {}, "id": "blocked"}"#);
    assert!(late[1].starts_with(r#"{"id": "quick", "error""#), "{late:?}");
    assert!(late[2].starts_with(r#"{"error": {"class": "GenericError", "desc": "1:"#), "{late:?}");
}

/// Source: measured on QEMU 7.2 and 11.1: one running and seven queued leave room for an out-of-band command.
#[test]
fn ninth_in_band_command_stops_reading() {
    for (queued, overtakes) in [(7, true), (8, false)] {
        let pending = PendingQueue::default();
        let mut monitor = monitor(|builder| {
            builder.command(pending.command("block")).command(Command::new("oob").allow_out_of_band())
        });
        let mut client = unnegotiated_client(&mut monitor);
        client.send(r#"{"execute":"qmp_capabilities","arguments":{"enable":["oob"]}}"#);
        client.send(r#"{"execute":"block"}"#.repeat(1 + queued));
        client.send(r#"{"exec-oob":"oob"}"#);
        monitor.process().unwrap();
        assert_eq!(client.lines_now().len(), if overtakes { 3 } else { 2 }, "{queued} queued");
        pending.take().reply(Ok(()));
        monitor.process().unwrap();
        assert_eq!(client.lines_now().len(), if overtakes { 1 } else { 2 }, "{queued} queued");
    }
}

#[test]
fn command_without_reply_sends_none() {
    let mut monitor =
        monitor(|builder| builder.command(Command::new("shutdown").optional("x", Type::Int).without_reply()));
    let mut client = client(&mut monitor);
    client.send(r#"{"execute":"shutdown","id":1}{"execute":"shutdown","arguments":{"x":""},"id":2}{"execute":"query-name","id":3}"#);
    monitor.process().unwrap();
    let lines = client.lines_now();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].starts_with(r#"{"id": 2, "error""#), "a failure is reported: {lines:?}");
}

#[test]
fn built_in_command_replies_as_its_release() {
    let ask = |version: (u32, u32, u32), command: &str| {
        let mut monitor = Monitor::builder(version.0, version.1, version.2)
            .package("Example 1")
            .name("vm1")
            .uuid("6ba7b810-9dad-11d1-80b4-00c04fd430c8")
            .run_state(|| RunState::Suspended)
            .build()
            .unwrap();
        let mut client = client(&mut monitor);
        client.send(format!(r#"{{"execute":"{command}"}}"#));
        monitor.process().unwrap();
        client.lines_now().remove(0)
    };
    let cases = [
        // release      command           return value
        ((8, 2, 0), "query-status", r#"{"status": "suspended", "singlestep": false, "running": false}"#),
        ((9, 0, 0), "query-status", r#"{"status": "suspended", "running": false}"#),
        ((9, 0, 0), "query-name", r#"{"name": "vm1"}"#),
        ((9, 0, 0), "query-uuid", r#"{"UUID": "6ba7b810-9dad-11d1-80b4-00c04fd430c8"}"#),
        (
            (9, 0, 4),
            "query-version",
            r#"{"qemu": {"micro": 4, "minor": 0, "major": 9}, "package": "Example 1"}"#,
        ),
    ];
    for (version, command, expected) in cases {
        assert_eq!(ask(version, command), format!(r#"{{"return": {expected}}}"#), "{command} {version:?}");
    }
    assert!(ask((1, 1, 0), "query-events").contains("has not been found"));
    assert!(ask((5, 2, 0), "query-events").contains(r#"{"name": "WATCHDOG"}"#));
    assert!(!ask((5, 2, 0), "query-events").contains("VFU_CLIENT_HANGUP"), "added in 7.1");
    assert!(ask((6, 0, 0), "query-events").contains("has not been found"));
    assert!(ask((2, 4, 0), "query-qmp-schema").contains("has not been found"));
}

#[test]
fn query_commands_lists_enabled_commands() {
    let mut monitor =
        monitor(|builder| builder.command(Command::new("stop")).command(Command::new("off").disabled("no")));
    let mut client = client(&mut monitor);
    client.send(r#"{"execute":"query-commands"}"#);
    monitor.process().unwrap();
    let reply: serde_json::Value = serde_json::from_str(&client.lines_now()[0]).unwrap();
    let mut names: Vec<_> =
        reply["return"].as_array().unwrap().iter().map(|entry| entry["name"].as_str().unwrap()).collect();
    names.sort_unstable();
    let expected = [
        "qmp_capabilities",
        "query-commands",
        "query-name",
        "query-qmp-schema",
        "query-status",
        "query-uuid",
        "query-version",
        "stop",
    ];
    assert_eq!(names, expected);
}

/// The events of the schema equal those of the catalogue; every named type is described once.
#[test]
fn schema_describes_every_type_once() {
    for (version, release) in [((7, 2, 22), Release::new(7, 2)), ((11, 1, 3), Release::new(11, 1))] {
        let mut monitor = support::machine::with(version, "", |builder| builder);
        let mut client = client(&mut monitor);
        client.send(r#"{"execute":"query-qmp-schema"}"#);
        monitor.process().unwrap();
        let line = client.lines_now().remove(0);
        let text = line.strip_prefix(r#"{"return": "#).unwrap().strip_suffix('}').unwrap();
        let schema = introspection::Schema::parse(text).unwrap();
        assert_eq!(introspection::compare(&schema, release), [], "{release}");
        let entries: Vec<serde_json::Value> = serde_json::from_str(text).unwrap();
        let names: Vec<_> = entries.iter().map(|entry| entry["name"].as_str().unwrap()).collect();
        let mut unique = names.clone();
        unique.sort_unstable();
        unique.dedup();
        assert_eq!(unique.len(), names.len(), "two entries of one name");
        for entry in &entries {
            for name in ["arg-type", "ret-type", "element-type"].iter().filter_map(|key| entry[key].as_str())
            {
                assert!(names.contains(&name), "{name}");
            }
            for member in ["members", "variants"].iter().filter_map(|key| entry[key].as_array()).flatten() {
                assert!(member["type"].as_str().is_none_or(|ty| names.contains(&ty)), "{member}");
            }
        }
        let yank = entries.iter().find(|entry| entry["name"] == "query-yank").unwrap();
        assert_eq!((&yank["meta-type"], &yank["allow-oob"]), (&"command".into(), &true.into()));
        let ty = |name: &serde_json::Value| entries.iter().find(|entry| entry["name"] == *name).unwrap();
        let instance = ty(&ty(&yank["ret-type"])["element-type"]);
        assert_eq!(instance["tag"], "type");
        assert_eq!(instance["variants"][0]["case"], "chardev");
    }
}
