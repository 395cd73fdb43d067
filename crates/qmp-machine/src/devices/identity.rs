//! What the machine says of itself, and the commands of the human monitor that are worth having.

use qmp_server::{ObjectType, Type};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{action::Action, table::Entry, vm::Vm};

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

/// A line of the human monitor: the few that have a command of the same name here, and the state.
fn human(vm: &mut Vm, line: &str) -> String {
    match line.trim() {
        "info status" => {
            let state = vm.status.state.as_str();
            let text = if vm.is_running() { "running".into() } else { format!("paused ({state})") };
            format!("VM status: {text}\r\n")
        }
        word @ ("stop" | "cont" | "system_reset" | "system_powerdown" | "system_wakeup" | "quit") => {
            match vm.perform(&Action::new(word)) {
                Ok(_) => String::new(),
                Err(error) => format!("Error: {}\r\n", error.desc),
            }
        }
        other => {
            let word = other.split_whitespace().next().unwrap_or_default();
            format!("unknown command: '{word}'\r\n")
        }
    }
}
