//! Network cards and their back ends.

use std::collections::BTreeSet;

use qmp_events::EventKind;
use qmp_server::{ObjectType, Refusal, Type};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{bus::Device, power::expect_running};
use crate::{
    commands::{Entry, one_of, optional_any},
    refusals::{device_not_found, generic},
    vm::Vm,
};

/// Back ends, and the cards whose next filter change raises an event.
#[derive(Debug, Default)]
pub(crate) struct Net {
    netdevs: Vec<Netdev>,
    /// Paths of the cards whose next change raises an event: new cards, and cards that were queried since their
    /// last event.
    armed: BTreeSet<Box<str>>,
    promiscuous: BTreeSet<Box<str>>,
}

impl Net {
    /// Returns the number of back ends.
    pub(super) fn len(&self) -> usize {
        self.netdevs.len()
    }
}

#[derive(Debug)]
struct Netdev {
    id: Box<str>,
    kind: Box<str>,
    properties: Map<String, Value>,
    connected: bool,
}

#[derive(Deserialize)]
struct Add {
    id: Box<str>,
    #[serde(rename = "type")]
    kind: Box<str>,
    #[serde(flatten)]
    properties: Map<String, Value>,
}

#[derive(Deserialize)]
struct Id {
    id: Box<str>,
}

#[derive(Deserialize)]
struct Name {
    name: Option<Box<str>>,
}

#[derive(Deserialize)]
struct Filter {
    id: Box<str>,
    promiscuous: Option<bool>,
}

#[derive(Deserialize)]
struct Connect {
    id: Box<str>,
    addr: Option<Value>,
}

const KINDS: &str = "\
    bridge dgram hubport l2tpv3 nic none passt socket stream tap user vde vhost-user vhost-vdpa";
const OPTIONS: &str = "\
    addr chardev hostfwd ifname listen local net queues reconnect reconnect-ms remote restrict server";

pub(crate) fn commands() -> Vec<Entry> {
    let add = |arguments: ObjectType| {
        let kinds = one_of("NetClientDriver", KINDS);
        let arguments = arguments.required("type", kinds).required("id", Type::Str);
        optional_any(arguments, OPTIONS)
    };
    let id = |arguments: ObjectType| arguments.required("id", Type::Str);
    let filter = |arguments: ObjectType| id(arguments).optional("promiscuous", Type::Bool);
    let connect = |arguments: ObjectType| id(arguments).optional("addr", Type::Any);
    vec![
        Entry::new("netdev_add", add, netdev_add),
        Entry::new("netdev_del", id, |vm, Id { id }| {
            let netdevs = &mut vm.devices.net.netdevs;
            let index =
                netdevs.iter().position(|netdev| netdev.id == id).ok_or_else(|| device_not_found(&id))?;
            netdevs.remove(index);
            Ok(())
        }),
        Entry::new("query-rx-filter", |arguments| arguments.optional("name", Type::Str), query_rx_filter)
            .since(1, 6),
        Entry::new("x-guest-change-rx-filter", filter, change_filter),
        Entry::new("x-guest-negotiate-failover", id, |vm, Id { id }| {
            expect_running(vm)?;
            let device = vm.devices.bus.expect(&id)?;
            if !device.is("virtio-net") {
                return Err(generic(format!("Device '{id}' is no virtio network card")));
            }
            vm.raise(EventKind::FailoverNegotiated, json!({"device-id": id}));
            Ok(())
        }),
        Entry::new("x-host-net-connect", connect, |vm, Connect { id, addr }| {
            set_connected(vm, &id, true, addr)
        }),
        Entry::new("x-host-net-disconnect", id, |vm, Id { id }| set_connected(vm, &id, false, None)),
    ]
}

fn netdev_add(vm: &mut Vm, Add { id, kind, properties }: Add) -> Result<(), Refusal> {
    vm.expect_room()?;
    let netdevs = &mut vm.devices.net.netdevs;
    if netdevs.iter().any(|netdev| netdev.id == id) {
        return Err(generic(format!("Duplicate ID '{id}'")));
    }
    netdevs.push(Netdev { id, kind, properties, connected: false });
    Ok(())
}

fn cards(vm: &Vm) -> impl Iterator<Item = &Device> {
    vm.devices.bus.iter().filter(|device| device.is("virtio-net"))
}

fn query_rx_filter(vm: &mut Vm, Name { name }: Name) -> Result<Value, Refusal> {
    if let Some(name) = &name {
        let Some(device) = vm.devices.bus.find(name) else {
            return Err(generic(format!("invalid net client name: {name}")));
        };
        if device.text("netdev").is_none() && !device.is("virtio-net") {
            return Err(generic(format!("net client({name}) isn't a NIC")));
        }
        if !device.is("virtio-net") {
            return Err(generic(format!("net client({name}) doesn't support rx-filter querying")));
        }
    }
    let queried: Vec<_> = cards(vm)
        .filter(|card| name.is_none() || card.id == name)
        .map(|card| (card.path.clone(), card.id.clone(), card.text("mac").map(str::to_owned)))
        .collect();
    let mut filters = Vec::new();
    for (path, id, mac) in queried {
        let promiscuous = vm.devices.net.promiscuous.contains(&path);
        filters.push(json!({
            "name": id, "promiscuous": promiscuous, "multicast": "normal", "unicast": "normal", "vlan": "all",
            "broadcast-allowed": true, "multicast-overflow": false, "unicast-overflow": false,
            "main-mac": mac.as_deref().unwrap_or("52:54:00:12:34:56"),
            "vlan-table": [], "unicast-table": [], "multicast-table": [],
        }));
        vm.devices.net.armed.insert(path);
    }
    Ok(Value::Array(filters))
}

/// Changes the receive filter of a card. Raises an event once, and once again after each query.
fn change_filter(vm: &mut Vm, Filter { id, promiscuous }: Filter) -> Result<(), Refusal> {
    expect_running(vm)?;
    let device = vm.devices.bus.expect(&id)?;
    if !device.is("virtio-net") {
        return Err(generic(format!("Device '{id}' has no filter events")));
    }
    let (path, id) = (device.path.clone(), device.id.clone());
    let net = &mut vm.devices.net;
    let was = net.promiscuous.contains(&path);
    if promiscuous.unwrap_or(!was) {
        net.promiscuous.insert(path.clone());
    } else {
        net.promiscuous.remove(&path);
    }
    if net.armed.remove(&path) {
        let path = format!("{path}/virtio-backend");
        vm.raise(EventKind::NicRxFilterChanged, json!({"name": id, "path": path}));
    }
    Ok(())
}

/// Connects or disconnects the peer of a back end.
fn set_connected(vm: &mut Vm, id: &str, connected: bool, addr: Option<Value>) -> Result<(), Refusal> {
    let netdevs = &mut vm.devices.net.netdevs;
    let netdev = netdevs.iter_mut().find(|netdev| *netdev.id == *id).ok_or_else(|| device_not_found(id))?;
    if netdev.connected == connected {
        return Ok(());
    }
    netdev.connected = connected;
    let configured = netdev.properties.get("addr").cloned();
    let chardev = netdev.properties.get("chardev").cloned();
    match (&*netdev.kind, connected) {
        ("stream", true) => {
            let addr = addr
                .or(configured)
                .unwrap_or_else(|| json!({"type": "unix", "path": format!("/run/{id}.sock")}));
            vm.raise(EventKind::NetdevStreamConnected, json!({"netdev-id": id, "addr": addr}));
        }
        ("stream", false) => vm.raise(EventKind::NetdevStreamDisconnected, json!({"netdev-id": id})),
        ("vhost-user", true) => {
            let chardev = chardev.unwrap_or_else(|| format!("{id}-socket").into());
            vm.raise(EventKind::NetdevVhostUserConnected, json!({"netdev-id": id, "chardev-id": chardev}));
        }
        ("vhost-user", false) => vm.raise(EventKind::NetdevVhostUserDisconnected, json!({"netdev-id": id})),
        (kind, _) => return Err(generic(format!("a netdev of type {kind} has no events for its peer"))),
    }
    Ok(())
}

/// Arms a new card: its first change raises an event without a query.
pub(super) fn at_plug(vm: &mut Vm, device: &Device) {
    if device.is("virtio-net") {
        vm.devices.net.armed.insert(device.path.clone());
    }
}

/// Disarms an unplugged card.
pub(super) fn at_unplug(vm: &mut Vm, device: &Device) {
    vm.devices.net.armed.remove(&device.path);
    vm.devices.net.promiscuous.remove(&device.path);
}
