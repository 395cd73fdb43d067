//! Remote viewers: VNC clients, and channels of SPICE clients.

use qmp_events::EventKind;
use qmp_server::{ObjectType, Refusal, Type};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::{commands::Entry, refusals::generic, vm::Vm};

/// The connected viewers, by the number of the connection.
#[derive(Debug, Default)]
pub(crate) struct Display {
    viewers: Vec<Viewer>,
    connected: u64,
    /// Whether a migration takes the SPICE clients along.
    pub(super) spice_moves: bool,
}

impl Display {
    /// Returns the number of viewers.
    pub(super) fn len(&self) -> usize {
        self.viewers.len()
    }
}

#[derive(Clone, Debug)]
struct Viewer {
    number: u64,
    protocol: Protocol,
    host: Box<str>,
    port: Box<str>,
    family: Box<str>,
    websocket: bool,
    /// The authentication method of the server.
    auth: Box<str>,
    /// Number of the session, which SPICE events contain.
    session: i32,
    /// The authenticated identity of the client, and its channel.
    identity: Map<String, Value>,
    initialized: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Vnc,
    Spice,
}

#[derive(Deserialize)]
struct Connect {
    host: Option<Box<str>>,
    port: Option<Box<str>>,
    family: Option<Box<str>>,
    websocket: Option<bool>,
    auth: Option<Box<str>>,
}

/// The properties of a client at the end of its authentication.
#[derive(Deserialize)]
struct Initialize {
    client: u64,
    #[serde(flatten)]
    identity: Map<String, Value>,
}

#[derive(Deserialize)]
struct Client {
    client: u64,
}

pub(crate) fn commands() -> Vec<Entry> {
    [for_protocol(Protocol::Vnc), for_protocol(Protocol::Spice), queries()].into_iter().flatten().collect()
}

fn for_protocol(protocol: Protocol) -> Vec<Entry> {
    let (connect, initialize, disconnect) = match protocol {
        Protocol::Vnc => ("x-host-vnc-connect", "x-host-vnc-initialize", "x-host-vnc-disconnect"),
        Protocol::Spice => ("x-host-spice-connect", "x-host-spice-initialize", "x-host-spice-disconnect"),
    };
    let arrival = |arguments: ObjectType| {
        arguments
            .optional("host", Type::Str)
            .optional("port", Type::Str)
            .optional(
                "family",
                Type::one_of("NetworkAddressFamily", ["ipv4", "ipv6", "unix", "vsock", "unknown"]),
            )
            .optional("websocket", Type::Bool)
            .optional("auth", Type::Str)
    };
    let identity = move |arguments: ObjectType| {
        let arguments = arguments.required("client", Type::Uint64);
        match protocol {
            Protocol::Vnc => arguments.optional("x509_dname", Type::Str).optional("sasl_username", Type::Str),
            Protocol::Spice => arguments
                .optional("connection-id", Type::Int)
                .optional("channel-type", Type::Int)
                .optional("channel-id", Type::Int)
                .optional("tls", Type::Bool),
        }
    };
    let client = |arguments: ObjectType| arguments.required("client", Type::Uint64);
    vec![
        Entry::new(connect, arrival, move |vm, arrival| {
            vm.expect_room()?;
            Ok(arrive(vm, protocol, arrival))
        }),
        Entry::new(initialize, identity, move |vm, Initialize { client, identity }| {
            let viewer = find(vm, protocol, client)?;
            viewer.identity = identity;
            viewer.initialized = true;
            let viewer = viewer.clone();
            raise(vm, &viewer, ViewerEvent::Initialized);
            Ok(())
        }),
        Entry::new(disconnect, client, move |vm, Client { client }| {
            let viewer = find(vm, protocol, client)?.clone();
            vm.devices.display.viewers.retain(|other| other.number != client);
            raise(vm, &viewer, ViewerEvent::Disconnected);
            Ok(())
        }),
    ]
}

fn queries() -> Vec<Entry> {
    const MOVE: [&str; 5] = ["protocol", "hostname", "port", "tls-port", "cert-subject"];
    let describe = |arguments: ObjectType| {
        MOVE.iter().fold(arguments, |arguments, name| match *name {
            "protocol" | "hostname" => arguments.required(name, Type::Str),
            _ => arguments.optional(name, Type::Any),
        })
    };
    vec![
        Entry::new("client_migrate_info", describe, |vm, _: Map<String, Value>| {
            vm.devices.display.spice_moves = true;
            Ok(())
        }),
        Entry::plain("query-vnc", |vm| {
            let clients = viewers(vm, Protocol::Vnc).filter(|viewer| viewer.initialized).map(client);
            let clients: Vec<_> = clients.collect();
            let server = json!({
                "enabled": true, "host": "127.0.0.1", "service": "5900", "family": "ipv4", "auth": "none",
                "clients": clients,
            });
            Ok(server)
        }),
        Entry::plain("query-spice", |vm| {
            let channels: Vec<_> =
                viewers(vm, Protocol::Spice).filter(|viewer| viewer.initialized).map(client).collect();
            Ok(json!({
                "enabled": true, "host": "127.0.0.1", "port": 5930, "auth": "none", "migrated": false,
                "mouse-mode": "server", "compiled-version": "0.15.1", "channels": channels,
            }))
        }),
    ]
}

fn viewers(vm: &Vm, protocol: Protocol) -> impl Iterator<Item = &Viewer> {
    vm.devices.display.viewers.iter().filter(move |viewer| viewer.protocol == protocol)
}

/// Whether a SPICE client is connected.
pub(super) fn has_spice_client(vm: &Vm) -> bool {
    viewers(vm, Protocol::Spice).next().is_some()
}

/// Disconnects every SPICE client and sends it to the destination of the migration.
pub(super) fn disconnect_spice_clients(vm: &mut Vm) {
    let viewers = std::mem::take(&mut vm.devices.display.viewers);
    let (removed, kept): (Vec<_>, _) =
        viewers.into_iter().partition(|viewer| viewer.protocol == Protocol::Spice);
    vm.devices.display.viewers = kept;
    removed.iter().for_each(|viewer| raise(vm, viewer, ViewerEvent::Disconnected));
}

fn arrive(
    vm: &mut Vm,
    protocol: Protocol,
    Connect { host, port, family, websocket, auth }: Connect,
) -> Value {
    let family = family.unwrap_or_else(|| "ipv4".into());
    let has_address = &*family != "unix";
    let session = connection_id(vm.random.number());
    let display = &mut vm.devices.display;
    display.connected += 1;
    let number = display.connected;
    let viewer = Viewer {
        number,
        protocol,
        host: host.unwrap_or_else(|| if has_address { "127.0.0.1".into() } else { "".into() }),
        port: port
            .unwrap_or_else(|| if has_address { (40_000 + number).to_string().into() } else { "".into() }),
        family,
        websocket: websocket.unwrap_or(false),
        auth: auth.unwrap_or_else(|| "none".into()),
        identity: Map::new(),
        session,
        initialized: false,
    };
    display.viewers.push(viewer.clone());
    raise(vm, &viewer, ViewerEvent::Connected);
    json!({"client": number})
}

/// Returns a random session number: SPICE uses a signed one of 32 bits.
#[expect(clippy::cast_possible_truncation, reason = "half of the random bits are enough")]
fn connection_id(random: u64) -> i32 {
    random as i32
}

fn find(vm: &mut Vm, protocol: Protocol, number: u64) -> Result<&mut Viewer, Refusal> {
    let mut viewers = vm.devices.display.viewers.iter_mut();
    let viewer = viewers.find(|viewer| viewer.number == number && viewer.protocol == protocol);
    viewer.ok_or_else(|| generic(format!("there is no client {number}")))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ViewerEvent {
    Connected,
    Initialized,
    Disconnected,
}

fn raise(vm: &mut Vm, viewer: &Viewer, event: ViewerEvent) {
    let kind = match (viewer.protocol, event) {
        (Protocol::Vnc, ViewerEvent::Connected) => EventKind::VncConnected,
        (Protocol::Vnc, ViewerEvent::Initialized) => EventKind::VncInitialized,
        (Protocol::Vnc, ViewerEvent::Disconnected) => EventKind::VncDisconnected,
        (Protocol::Spice, ViewerEvent::Connected) => EventKind::SpiceConnected,
        (Protocol::Spice, ViewerEvent::Initialized) => EventKind::SpiceInitialized,
        (Protocol::Spice, ViewerEvent::Disconnected) => EventKind::SpiceDisconnected,
    };
    let mut client = client(viewer);
    if let (Value::Object(members), true) = (&mut client, is_basic(viewer, event)) {
        members.retain(|name, _| ["host", "port", "service", "family", "websocket"].contains(&name.as_str()));
    }
    vm.raise(kind, json!({"server": server(viewer, event), "client": client}));
}

/// Returns whether the event contains the client's address only.
fn is_basic(viewer: &Viewer, event: ViewerEvent) -> bool {
    event == ViewerEvent::Connected
        || event == ViewerEvent::Disconnected && viewer.protocol == Protocol::Spice
}

fn server(viewer: &Viewer, event: ViewerEvent) -> Value {
    let is_unix = &*viewer.family == "unix";
    let host = if is_unix { "" } else { "127.0.0.1" };
    match viewer.protocol {
        Protocol::Vnc => json!({
            "host": host, "service": if is_unix { "vnc.sock" } else { "5900" }, "family": viewer.family,
            "websocket": viewer.websocket, "auth": viewer.auth,
        }),
        Protocol::Spice => json!({
            "host": host, "port": "5930", "family": viewer.family,
            "auth": (event == ViewerEvent::Initialized).then_some(&viewer.auth),
        }),
    }
}

fn client(viewer: &Viewer) -> Value {
    let mut client = json!({"host": viewer.host, "family": viewer.family});
    let Value::Object(members) = &mut client else { return client };
    match viewer.protocol {
        Protocol::Vnc => {
            members.insert("service".into(), (*viewer.port).into());
            members.insert("websocket".into(), viewer.websocket.into());
        }
        Protocol::Spice => {
            members.insert("port".into(), (*viewer.port).into());
            members.insert("connection-id".into(), viewer.session.into());
            members.insert("channel-type".into(), 1.into());
            members.insert("channel-id".into(), 0.into());
            members.insert("tls".into(), false.into());
        }
    }
    for (name, value) in &viewer.identity {
        members.insert(name.clone(), value.clone());
    }
    client
}
