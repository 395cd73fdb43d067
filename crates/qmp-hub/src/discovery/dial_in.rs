//! QEMUs that dial in: any number, at one socket (`-chardev socket,path=…,reconnect=1`).
//!
//! Each connection is identified by the VM's name, else by its UUID, else by the command line of its process. A connection of a
//! known VM begins that VM's next epoch. A VM that does not dial in again is removed after [`AWAY_MAX`].

use std::collections::HashMap;
use std::io;
use std::time::Duration;

use qmp_client::{AcceptedStream, Address, ConnectConfig, ConnectError, IncomingMonitor, IncomingMonitors};
use qmp_host::{SocketAccess, SocketFile, listen_unix};
use tokio::net::{TcpListener, UnixListener};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::keeper::RuleKeeper;
use super::rule_update::RuleUpdate;
use super::vm_source::DISCOVERED_MAX;
use super::{naming, processes};
use crate::layout::Parts;
use crate::registry::VmRegistryError;
use crate::vm::{MonitorState, VmName};

/// Connections that are being identified. Others wait in the socket's queue.
const ASKED_AT_ONCE_MAX: usize = 64;

/// How long the identification may take. QEMU answers at once unless it is just starting.
const ASKED_MAX: Duration = Duration::from_secs(10);

/// How long a disconnected VM may take to dial in again; then it is removed. Usual settings are `reconnect=1` to
/// `reconnect=10`.
const AWAY_MAX: Duration = Duration::from_secs(30);

/// How often disconnected VMs are checked.
const TIDY: Duration = Duration::from_secs(1);

/// How long to wait after listening or accepting failed.
const RETRY: Duration = Duration::from_secs(1);

/// How long the end of the old connection may take, when the same VM dials in again.
const OLD_ONE_ENDS: Duration = Duration::from_millis(500);

enum Listener {
    Unix { socket: UnixListener, _file: SocketFile },
    Tcp(TcpListener),
}

/// A VM that dialled in.
struct DialedInVm {
    name: VmName,
    parts: Parts,
    callers: IncomingMonitors,
    away_since: Option<Instant>,
}

/// The identity of a VM: only what the VM itself reported.
type Identity = (String, Option<String>);

/// Accepts for ever.
pub(super) async fn serve(address: Address, mut keeper: RuleKeeper) {
    let mode = keeper.rule.dial_in_mode;
    let listener = loop {
        match listen(&address, mode).await {
            Ok(listener) => break listener,
            Err(error) => keeper.say_once(&error, &format!("QEMUs cannot dial in: {error}")),
        }
        tokio::time::sleep(RETRY).await;
    };
    let mut known: HashMap<Identity, DialedInVm> = HashMap::new();
    let mut asked = JoinSet::new();
    let mut tidy = tokio::time::interval(TIDY);
    loop {
        tokio::select! {
            accepted = accept(&listener), if asked.len() < ASKED_AT_ONCE_MAX => match accepted {
                Ok((stream, pid)) => {
                    let address = address.clone();
                    asked.spawn(async move { (meet(stream, &address).await, pid) });
                }
                Err(error) => {
                    keeper.say_once("accept", &format!("cannot accept: {error}"));
                    tokio::time::sleep(RETRY).await;
                }
            },
            Some(met) = asked.join_next() => match met {
                Ok((Ok(caller), pid)) => register(caller, pid, &address, &mut known, &mut keeper).await,
                Ok((Err(error), _)) => keeper.say_once(&error.to_string(), &format!("{error}")),
                Err(error) => tracing::error!("a task of the hub died: {error}"),
            },
            Some(RuleUpdate { rule, done }) = keeper.updates.recv() => {
                keeper.rule = rule;
                follow_rule(&mut known, &keeper).await;
                drop(done);
            }
            _ = tidy.tick() => remove_those_away(&mut known, &keeper).await,
        }
    }
}

async fn listen(address: &Address, mode: u32) -> Result<Listener, String> {
    match address {
        Address::Unix { path, .. } => {
            let (socket, _file) = listen_unix(path, SocketAccess::new(Some(mode), None))
                .await
                .map_err(|error| error.to_string())?;
            Ok(Listener::Unix { socket, _file })
        }
        Address::Tcp { host, port, .. } => {
            let listener = TcpListener::bind((host.as_str(), *port)).await;
            Ok(Listener::Tcp(listener.map_err(|error| format!("cannot listen at {address}: {error}"))?))
        }
        Address::Fd { .. } => Err(format!("QEMUs cannot dial in at {address}")),
    }
}

async fn accept(listener: &Listener) -> io::Result<(AcceptedStream, Option<i32>)> {
    match listener {
        Listener::Unix { socket, .. } => {
            let (stream, _) = socket.accept().await?;
            let pid = stream.peer_cred().ok().and_then(|peer| peer.pid());
            Ok((AcceptedStream::Unix(stream), pid))
        }
        Listener::Tcp(listener) => {
            let (stream, _) = listener.accept().await?;
            Ok((AcceptedStream::Tcp(stream), None))
        }
    }
}

async fn meet(stream: AcceptedStream, address: &Address) -> Result<Box<IncomingMonitor>, ConnectError> {
    let config = ConnectConfig::default();
    match tokio::time::timeout(ASKED_MAX, IncomingMonitor::identify(stream, address, &config)).await {
        Ok(met) => met,
        Err(_) => Err(ConnectError::NegotiationTimeout { address: address.clone(), waited: ASKED_MAX }),
    }
}

/// Hands a connection to its VM, or adds the VM.
async fn register(
    caller: Box<IncomingMonitor>,
    pid: Option<i32>,
    address: &Address,
    known: &mut HashMap<Identity, DialedInVm>,
    keeper: &mut RuleKeeper,
) {
    let told = caller.name.clone().or_else(|| caller.uuid.clone());
    let text = told.or_else(|| pid.and_then(processes::name_of)).unwrap_or_else(|| match pid {
        Some(pid) => format!("pid-{pid}"),
        None => "vm".to_owned(),
    });
    let identity = (text.clone(), caller.uuid.clone());
    let stem = pid.map(|pid| pid.to_string()).unwrap_or_default();
    let uuid = caller.uuid.clone().unwrap_or_default();
    let parts = Parts { name: text, stem, uuid, ..Parts::default() };
    if keeper.is_excluded(&parts) {
        return;
    }
    if let Some(vm) = known.get(&identity) {
        if ended(&vm.name, keeper).await && vm.callers.send(caller).is_ok() {
            return;
        }
        let text =
            format!("{} dialled in although it is connected; the other connection was closed", vm.name);
        return keeper.say_once(vm.name.as_str(), &text);
    }
    if known.len() >= DISCOVERED_MAX {
        return keeper
            .say_once("", &format!("more than {DISCOVERED_MAX} VMs dialled in; others are refused"));
    }
    if let Some((name, callers)) = add(&parts, address, keeper).await {
        // The VM was just added, so its follower waits for this connection.
        let _ = callers.send(caller);
        known.insert(identity, DialedInVm { name, parts, callers, away_since: None });
    }
}

/// Waits until the VM's connection has ended; `false` if it does not.
async fn ended(name: &VmName, keeper: &RuleKeeper) -> bool {
    let over = async {
        while is_attached(name, keeper) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(OLD_ONE_ENDS, over).await.is_ok()
}

fn is_attached(name: &VmName, keeper: &RuleKeeper) -> bool {
    let vm = keeper.registry.vms().get(name.as_str());
    vm.is_some_and(|vm| matches!(vm.status().state, MonitorState::Attached | MonitorState::Overrun))
}

async fn add(
    parts: &Parts,
    address: &Address,
    keeper: &mut RuleKeeper,
) -> Option<(VmName, IncomingMonitors)> {
    let text = keeper.rule.name.fill(parts);
    for name in naming::candidates(&text) {
        let relays = keeper.rule.relays_of(&name);
        let (follow, callers) = keeper.registry.follow_incoming(address.clone());
        match keeper.add_followed(&name, follow, relays, &parts.uuid).await {
            Ok(()) => {
                tracing::info!(vm = %name, "dialled in");
                return Some((name, callers));
            }
            Err(VmRegistryError::NameTaken { .. } | VmRegistryError::NameInUse { .. }) => {}
            Err(_) => return None,
        }
    }
    keeper.say_once(&text, &format!("too many VMs are called {text:?}; one was refused"));
    None
}

/// The rule has changed: removes the VMs that it does not select or names otherwise, and sets the relays of the others. A removed
/// VM that dials in again gets its other name.
async fn follow_rule(known: &mut HashMap<Identity, DialedInVm>, keeper: &RuleKeeper) {
    for (identity, vm) in std::mem::take(known) {
        // Errors mean that the VM was removed otherwise.
        if let Some(detail) = keeper.rule.rejection(&vm.parts, &vm.name) {
            let _ = keeper.registry.remove(vm.name.as_str(), detail).await;
        } else {
            let _ = keeper.registry.set_relays(vm.name.as_str(), keeper.rule.relays_of(&vm.name)).await;
            known.insert(identity, vm);
        }
    }
}

async fn remove_those_away(known: &mut HashMap<Identity, DialedInVm>, keeper: &RuleKeeper) {
    let mut gone = Vec::new();
    for (identity, vm) in known.iter_mut() {
        if is_attached(&vm.name, keeper) {
            vm.away_since = None;
        } else if vm.away_since.get_or_insert_with(Instant::now).elapsed() >= AWAY_MAX {
            gone.push(identity.clone());
        }
    }
    for identity in gone {
        if let Some(vm) = known.remove(&identity) {
            let detail = format!("it has not dialled in again within {AWAY_MAX:?}");
            let _ = keeper.registry.remove(vm.name.as_str(), &detail).await;
        }
    }
}
