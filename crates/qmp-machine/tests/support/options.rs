//! The emulated machine that the options of a QEMU describe.

use qmp_machine::{Action, MachineConfig, PanicAction, RebootAction, ShutdownAction, WatchdogPolicy};
use serde_json::{Map, Value, json};

/// Options without an argument that are ignored.
const FLAGS: [&str; 1] = ["-usb"];

/// Options with an argument that are ignored: boards, viewers and clocks are not emulated by their options.
const WITHOUT_EFFECT: [&str; 7] = ["-global", "-M", "-machine", "-smp", "-rtc", "-vnc", "-spice"];

/// Size of a file that an option names: the emulated machine reads no files.
const FILE_BYTES: u64 = 1 << 20;

/// Configures a machine by the options of a QEMU.
pub fn apply(config: &mut MachineConfig, options: &[&str]) {
    let mut options = options.iter();
    while let Some(option) = options.next() {
        match *option {
            "-S" => config.start_stopped = true,
            "-no-shutdown" => config.policy.shutdown = ShutdownAction::Pause,
            "-no-reboot" => config.policy.reboot = RebootAction::Shutdown,
            flag if FLAGS.contains(&flag) => {}
            with_value => set(config, with_value, options.next().expect("an option has a value")),
        }
    }
}

fn set(config: &mut MachineConfig, option: &str, value: &str) {
    match option {
        "-name" => config.name = Some(value.into()),
        "-uuid" => config.uuid = value.into(),
        "-incoming" => config.incoming = true,
        "-m" => {
            let size = value.split(',').next().unwrap();
            let megabytes: u64 = size.trim_end_matches('M').parse().unwrap();
            config.memory_bytes = megabytes << 20;
        }
        "-action" => members(value, "").for_each(|(event, action)| set_action(config, event, action)),
        "-device" => config.devices.push(device(config, value)),
        "-drive" => config.devices.push(drive(value)),
        "-blockdev" => config.devices.push(node(value)),
        "-netdev" => config.devices.push(created("netdev_add", tree(members(value, "type")))),
        "-object" => config.devices.push(created("object-add", tree(members(value, "qom-type")))),
        "-chardev" => {
            let mut members = tree(members(value, "type"));
            let backend = json!({"type": members.remove("type"), "data": {}});
            members.insert("backend".into(), backend);
            config.devices.push(created("chardev-add", members));
        }
        option if WITHOUT_EFFECT.contains(&option) => {}
        other => panic!("the emulated machine has no {other}"),
    }
}

fn set_action(config: &mut MachineConfig, event: &str, action: &str) {
    let (policy, action) = (&mut config.policy, json!(action));
    match event {
        "reboot" => policy.reboot = serde_json::from_value::<RebootAction>(action).unwrap(),
        "shutdown" => policy.shutdown = serde_json::from_value::<ShutdownAction>(action).unwrap(),
        "panic" => policy.panic = serde_json::from_value::<PanicAction>(action).unwrap(),
        "watchdog" => policy.watchdog = serde_json::from_value::<WatchdogPolicy>(action).unwrap(),
        other => panic!("{other}"),
    }
}

/// Returns a device, with the name that `-drive` gave its medium.
fn device(config: &MachineConfig, value: &str) -> Action {
    let device = members(value, "driver")
        .fold(Action::new("device_add"), |device, (name, value)| device.with(name, value));
    let drive = device.arguments.get("drive").cloned();
    let by_drive = |node: &&Action| {
        node.arguments.contains_key("export") && node.arguments.get("node-name") == drive.as_ref()
    };
    match (config.devices.iter().any(|node| by_drive(&node)), drive) {
        (true, Some(name)) => device.with("x-drive-name", name),
        _ => device,
    }
}

/// Returns the node that `-drive` creates, marked by an ignored option to distinguish it from nodes of `-blockdev`.
fn drive(value: &str) -> Action {
    let id = members(value, "").find(|(name, _)| *name == "id").expect("a drive has a name").1;
    let file = Action::new("blockdev-add").with("driver", "file").with("node-name", id);
    file.with("size", FILE_BYTES).with("export", true)
}

fn node(value: &str) -> Action {
    let mut members = match serde_json::from_str(value) {
        Ok(Value::Object(members)) => members,
        _ => tree(members(value, "driver")),
    };
    if members.contains_key("filename") || members.contains_key("file") {
        members.insert("size".into(), FILE_BYTES.into());
    }
    created("blockdev-add", members)
}

fn created(command: &str, arguments: Map<String, Value>) -> Action {
    Action { execute: command.into(), arguments }
}

/// Returns the members of an option's value; `implied` is the name of the first one if it has none.
fn members<'a>(value: &'a str, implied: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
    value.split(',').map(move |member| member.split_once('=').unwrap_or((implied, member)))
}

/// Returns members with dotted names as nested objects.
fn tree<'a>(members: impl Iterator<Item = (&'a str, &'a str)>) -> Map<String, Value> {
    let mut tree = Map::new();
    for (path, value) in members {
        let mut at = &mut tree;
        let mut names = path.split('.').peekable();
        while let Some(name) = names.next() {
            if names.peek().is_none() {
                at.insert(name.into(), scalar(value));
                break;
            }
            let below = at.entry(name).or_insert_with(|| json!({}));
            at = below.as_object_mut().expect("a name is one of a member or of an object");
        }
    }
    tree
}

/// Returns a number, also with a unit, or a text.
fn scalar(value: &str) -> Value {
    let number = |digits: &str| digits.parse::<u64>().ok();
    let megabytes = value.strip_suffix('M').and_then(number).map(|megabytes| megabytes << 20);
    number(value).or(megabytes).map_or_else(|| value.into(), Value::from)
}
