//! A minimal machine, like a QEMU without one: stopped or running, and without the requested devices.

use std::sync::{Arc, Mutex, OnceLock};

use qmp_events::Event;
use qmp_server::{
    Command, Emitter, Monitor, MonitorBuilder, NoArguments, ObjectType, Refusal, RunState, TextEvent, Type,
};
use qmp_wire::dialect::Object;
use serde::{Deserialize, Serialize};

/// Returns a monitor with that machine.
pub fn monitor(version: (u32, u32, u32), package: &str) -> Monitor {
    with(version, package, |builder| builder)
}

/// Returns a monitor with that machine, and further configuration of a test.
pub fn with(
    version: (u32, u32, u32),
    package: &str,
    describe: impl FnOnce(MonitorBuilder) -> MonitorBuilder,
) -> Monitor {
    let state = Arc::new(Mutex::new(RunState::Prelaunch));
    let emitter: Arc<OnceLock<Emitter>> = Arc::default();
    let emit = {
        let emitter = Arc::clone(&emitter);
        move |name: &str, data: Option<&str>| {
            emitter.get().expect("it is set below").emit(&TextEvent { name, data });
        }
    };
    let state_of = Arc::clone(&state);
    let builder = Monitor::builder(version.0, version.1, version.2)
        .package(package)
        .run_state(move || *state_of.lock().unwrap());
    let builder = lifecycle(builder, &state, emit);
    let monitor = describe(devices(builder)).build().unwrap();
    emitter.set(monitor.emitter()).expect("it is set once");
    monitor
}

fn lifecycle(
    builder: MonitorBuilder,
    state: &Arc<Mutex<RunState>>,
    emit: impl Fn(&str, Option<&str>) + Clone + Send + 'static,
) -> MonitorBuilder {
    let go = |to: RunState, event: &'static str| {
        let (state, emit) = (Arc::clone(state), emit.clone());
        move |NoArguments {}| {
            let mut state = state.lock().unwrap();
            if (*state == RunState::Running) != (to == RunState::Running) {
                *state = to;
                emit(event, None);
            }
            Ok(())
        }
    };
    let signal = |event: &'static str, data: Option<&'static str>| {
        let emit = emit.clone();
        move |NoArguments {}| {
            emit(event, data);
            Ok(())
        }
    };
    let reset = Some(r#"{"guest": false, "reason": "host-qmp-system-reset"}"#);
    builder
        .command(Command::new("cont").run(go(RunState::Running, "RESUME")))
        .command(Command::new("stop").run(go(RunState::Paused, "STOP")))
        .command(Command::new("system_reset").run(signal("RESET", reset)))
        .command(Command::new("system_powerdown").run(signal("POWERDOWN", None)))
}

fn devices(builder: MonitorBuilder) -> MonitorBuilder {
    #[derive(Deserialize)]
    struct DeviceDel {
        id: String,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "kebab-case")]
    struct Threshold {
        node_name: String,
        #[expect(dead_code, reason = "read, since a client sends it")]
        write_threshold: u64,
    }
    #[derive(Serialize)]
    struct Yank {
        r#type: &'static str,
        id: &'static str,
    }
    let no_balloon =
        || Refusal { class: "DeviceNotActive", desc: "No balloon device has been activated".into() };
    builder
        .command(Command::new("device_del").required("id", Type::Str).run(|DeviceDel { id }| {
            Err::<(), _>(Refusal { class: "DeviceNotFound", desc: format!("Device '{id}' not found") })
        }))
        .command(
            Command::new("block-set-write-threshold")
                .required("node-name", Type::Str)
                .required("write-threshold", Type::Uint64)
                .run(|Threshold { node_name, .. }| {
                    Err::<(), _>(Refusal::generic(format!("Device '{node_name}' not found")))
                }),
        )
        .command(
            Command::new("balloon")
                .required("value", Type::Int)
                .run_untyped(move |_: Object| Err::<(), _>(no_balloon())),
        )
        .command(Command::new("query-balloon").run(move |NoArguments {}| Err::<(), _>(no_balloon())))
        .command(
            Command::new("query-yank")
                .allow_out_of_band()
                .returns(Type::list(yank_instance()))
                .run(|NoArguments {}| Ok([Yank { r#type: "chardev", id: "compat_monitor0" }])),
        )
        .command(settings("set-action").optional("watchdog", watchdog_action()))
        .command(Command::new("watchdog-set-action").required("action", watchdog_action()))
        .command(
            Command::new("screendump")
                .required("filename", Type::Str)
                .optional("device", Type::Str)
                .optional("head", Type::Int),
        )
        .command(migrate_set_capabilities())
        .command(netdev_add())
}

fn settings(name: &str) -> Command {
    Command::new(name)
        .optional("reboot", Type::one_of("RebootAction", ["reset", "shutdown"]))
        .optional("shutdown", Type::one_of("ShutdownAction", ["poweroff", "pause"]))
        .optional("panic", Type::one_of("PanicAction", ["pause", "shutdown", "exit-failure", "none"]))
}

fn watchdog_action() -> Type {
    let actions = ["reset", "shutdown", "poweroff", "pause", "debug", "none", "inject-nmi"];
    Type::one_of("WatchdogAction", actions)
}

fn migrate_set_capabilities() -> Command {
    let capability = Type::one_of("MigrationCapability", ["xbzrle", "events"]);
    let status = ObjectType::new("MigrationCapabilityStatus")
        .required("capability", capability)
        .required("state", Type::Bool);
    Command::new("migrate-set-capabilities").required("capabilities", Type::list(status))
}

fn netdev_add() -> Command {
    let l2tpv3 = ObjectType::new("NetdevL2TPv3Options")
        .required("src", Type::Str)
        .required("dst", Type::Str)
        .optional("srcport", Type::Str)
        .optional("dstport", Type::Str)
        .optional("ipv6", Type::Bool)
        .optional("udp", Type::Bool)
        .optional("cookie64", Type::Bool)
        .optional("counter", Type::Bool)
        .optional("pincounter", Type::Bool)
        .optional("txcookie", Type::Uint64)
        .optional("rxcookie", Type::Uint64)
        .required("txsession", Type::Uint32)
        .optional("rxsession", Type::Uint32)
        .optional("offset", Type::Uint32);
    let netdev = ObjectType::new("Netdev")
        .required("id", Type::Str)
        .required("type", Type::one_of("NetClientDriver", ["none", "nic", "user", "tap", "l2tpv3"]))
        .variant("type", "l2tpv3", l2tpv3);
    Command::new("netdev_add").takes(netdev)
}

fn yank_instance() -> ObjectType {
    let kinds = Type::one_of("YankInstanceType", ["block-node", "chardev", "migration"]);
    let chardev = ObjectType::new("YankInstanceChardev").required("id", Type::Str);
    ObjectType::new("YankInstance").required("type", kinds).variant("type", "chardev", chardev)
}

/// Returns an event of the catalogue by name and data.
pub fn event(name: &str, data: &str) -> Event {
    Event::decode(name, Some(data)).unwrap()
}

/// Connects a client, without a thread, and negotiates.
pub fn client(monitor: &mut Monitor) -> super::client::Client {
    let mut client = unnegotiated_client(monitor);
    client.send(r#"{"execute":"qmp_capabilities"}"#);
    monitor.process().unwrap();
    assert_eq!(client.lines_now().len(), 2, "the greeting and a reply");
    client
}

/// Connects a client without sending anything.
pub fn unnegotiated_client(monitor: &mut Monitor) -> super::client::Client {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    monitor.attach(theirs).unwrap();
    super::client::Client::new(ours)
}
