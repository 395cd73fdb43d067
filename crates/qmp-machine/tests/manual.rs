//! `docs/machine.md` lists exactly the machine's own commands and its usual devices.
#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::collections::BTreeSet;

use qmp_machine::{Action, Machine, MachineConfig};
use support::{Client, action};

const MANUAL: &str = include_str!("../../../docs/machine.md");

#[test]
fn manual_lists_every_machine_command() {
    let running = Machine::start(MachineConfig::default()).unwrap();
    let mut client = Client::new(running.connect().unwrap());
    let commands = client.ask(&action("query-commands")).pop().unwrap();
    let names =
        commands["return"].as_array().unwrap().iter().map(|entry| entry["name"].as_str().unwrap().to_owned());
    let is_own =
        |name: &String| name.starts_with("x-guest-") || name.starts_with("x-host-") || name == "x-emit";
    let existing: BTreeSet<String> = names.filter(is_own).collect();
    let listed: BTreeSet<String> =
        MANUAL.split('`').map(str::to_owned).filter(is_own).filter(|name| !name.ends_with('-')).collect();
    assert_eq!(existing, listed);
}

#[test]
fn manual_lists_every_usual_device() {
    let table = MANUAL.split("## The usual devices").nth(1).unwrap().split("\n## ").next().unwrap();
    let listed: BTreeSet<&str> = table
        .lines()
        .filter(|line| line.starts_with("| `"))
        .flat_map(|line| line.split('|').nth(1).unwrap().split('`').skip(1).step_by(2))
        .collect();
    let config = MachineConfig::default();
    let name = |device: &'_ Action| {
        let name = device.arguments.get("id").or(device.arguments.get("node-name"));
        name.and_then(|name| name.as_str()).unwrap().to_owned()
    };
    let existing: BTreeSet<String> = config.devices.iter().map(name).collect();
    assert_eq!(listed, existing.iter().map(String::as_str).collect());
}
