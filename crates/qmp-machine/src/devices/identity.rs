//! Queries about the machine, and the commands of the human monitor that are emulated.

use qmp_events::EventKind;
use qmp_server::{ObjectType, Type};
use serde::Deserialize;
use serde_json::{Value, json};

use super::block;
use crate::{
    commands::Entry,
    transitions::{MachineEvent, PanicSource},
    vm::Vm,
};

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Line {
    command_line: Box<str>,
}

pub(crate) fn commands() -> Vec<Entry> {
    let line = |arguments: ObjectType| {
        arguments.required("command-line", Type::Str).optional("cpu-index", Type::Int)
    };
    vec![
        Entry::plain("query-kvm", |_| Ok(json!({"enabled": false, "present": true}))),
        Entry::plain("query-target", |_| Ok(json!({"arch": "x86_64"}))).since(1, 2),
        Entry::plain("query-current-machine", |_| Ok(json!({"wakeup-suspend-support": true}))).since(4, 0),
        Entry::plain("inject-nmi", |_| Ok(())),
        Entry::plain("query-block", |vm| Ok(query_block(vm))),
        Entry::new("human-monitor-command", line, |vm, Line { command_line }| Ok(human(vm, &command_line))),
    ]
}

fn query_block(vm: &Vm) -> Value {
    let drives = vm
        .devices
        .bus
        .iter()
        .filter(|device| device.properties.contains_key("drive") || device.driver.ends_with("-cd"));
    let entries = drives.map(|device| {
        let removable = device.driver.ends_with("-cd");
        let mut entry = json!({
            "device": "", "qdev": device.id.as_deref().unwrap_or(&device.path), "locked": false, "removable": removable,
            "type": "unknown", "io-status": "ok",
        });
        if let Value::Object(members) = &mut entry {
            if removable {
                members.insert("tray_open".into(), vm.devices.block.is_tray_open(&device.path).into());
            }
            if let Some(node) = device.text("drive").and_then(|name| vm.devices.block.nodes.get(name)) {
                let inserted = json!({
                    "node-name": node.name, "drv": node.driver, "file": node.name, "ro": false, "encrypted": false,
                    "image": {"filename": node.name, "format": node.driver, "virtual-size": node.size_bytes},
                });
                members.insert("inserted".into(), inserted);
            }
        }
        entry
    });
    Value::Array(entries.collect())
}

/// Executes a line of the human monitor: the commands that exist here under the same name, and `info status`.
fn human(vm: &mut Vm, line: &str) -> String {
    match line.trim() {
        "info status" => {
            let state = vm.status.state.as_str();
            let text = if vm.is_running() { "running".into() } else { format!("paused ({state})") };
            format!("VM status: {text}\r\n")
        }
        word @ ("stop" | "cont" | "system_reset" | "system_powerdown" | "system_wakeup" | "quit") => {
            match vm.run(word, json!({})) {
                Ok(_) => String::new(),
                Err(error) => format!("Error: {}\r\n", error.desc),
            }
        }
        line if line.starts_with("qemu-io ") => {
            let (node, command) = line["qemu-io ".len()..].split_once(' ').unwrap_or_default();
            block::qemu_io(vm, node, command.trim_matches('"'));
            String::new()
        }
        line if line.starts_with("o/b ") || line.starts_with("o /b ") => {
            write_port(vm, line);
            String::new()
        }
        other => {
            let word = other.split_whitespace().next().unwrap_or_default();
            format!("unknown command: '{word}'\r\n")
        }
    }
}

/// Port of the device that reports panics, and its bits.
const PVPANIC: &str = "0x505";
const PANICKED: u8 = 1;
const CRASH_LOADED: u8 = 2;

/// Writes a byte to a port. Only the port of pvpanic has an effect.
fn write_port(vm: &mut Vm, line: &str) {
    let mut words = line.split_whitespace().skip_while(|word| !word.starts_with("0x"));
    let (port, value) = (words.next(), words.next().and_then(|value| value.parse::<u8>().ok()));
    if port != Some(PVPANIC) || vm.devices.bus.first("pvpanic").is_none() {
        return;
    }
    let value = value.unwrap_or(0);
    if value & PANICKED != 0 {
        vm.force(MachineEvent::Panic { info: None, source: PanicSource::Monitor });
    } else if value & CRASH_LOADED != 0 {
        vm.raise(EventKind::GuestCrashloaded, json!({"action": "run"}));
    }
}
