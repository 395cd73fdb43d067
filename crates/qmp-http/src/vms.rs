//! `GET /v1/vms` and `GET /v1/vms/{name}`: the state of the VMs.
//!
//! `state` and `since` describe the connection to the monitor, `run_state` and `run_since` the VM. Without a connection,
//! the run state is the last known one. While the journal stalls, the state of the VM is as old as the stall, and `as_of`
//! has its beginning; the state of the connection is current. With `left=SECONDS` the list also has VMs that left the
//! hub.
//!
//! VMs of other hosts are in the list of a fleet hub. Their state is that of their host's hub, by its records.

use std::collections::HashMap;

use axum::Json;
use axum::extract::{Query, State};
use qmp_findings::state::{Explanation, LastEvent, VmState};
use qmp_hub::relay::RelayStatus;
use qmp_hub::{FollowedVm, VmOnTwoHosts};
use qmp_journal::JournalVm;
use qmp_wire::{QualifiedName, UnixMicros};
use serde::Serialize;

use super::error::ApiError;
use super::foreign;
use super::left::{self, LeftVm};
use super::relays;
use super::rfc3339::rfc3339;
use super::stall;
use super::vm_path::VmPath;
use crate::state::ApiState;

/// A VM in the list of VMs.
#[derive(Serialize)]
pub(super) struct VmEntry {
    #[serde(flatten)]
    connection: Connection,
    /// The open epoch, or the last one; `None` if the VM never had one.
    epoch: Option<u32>,
    run_state: Option<Box<str>>,
    #[serde(rename = "run_state_assumed", skip_serializing_if = "std::ops::Not::not")]
    is_run_state_assumed: bool,
    run_since: Option<String>,
    why: Option<Explanation>,
    last_event: Option<LastEvent>,
    #[serde(skip_serializing_if = "Option::is_none")]
    as_of: Option<String>,
}

/// All that is known of one VM.
#[derive(Serialize)]
pub(super) struct VmDetail {
    #[serde(flatten)]
    connection: Connection,
    #[serde(flatten)]
    known: VmState,
    /// The sockets that the hub serves in place of the VM.
    relays: Vec<RelayStatus>,
    #[serde(skip_serializing_if = "Option::is_none")]
    as_of: Option<String>,
}

/// The connection to a VM.
#[derive(Serialize)]
struct Connection {
    /// The host of a VM of another host.
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<String>,
    vm: String,
    address: String,
    /// The source of the VM: the configuration or a discovery rule.
    origin: String,
    state: &'static str,
    /// Since when the connection is in that state.
    since: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Box<str>>,
    /// Since when an attached monitor has not answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    silent_since: Option<String>,
    /// Why an attached monitor does not answer, as far as the host shows.
    #[serde(skip_serializing_if = "Option::is_none")]
    unresponsive: Option<String>,
    /// Since when the VM has been running on several hosts at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    two_hosts_since: Option<String>,
    /// The other hosts on which it runs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    also_on: Vec<Box<str>>,
    /// The reason, in one word, why the monitor is not attached.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
}

pub(super) async fn vms(
    State(api): State<ApiState>,
    Query(parameters): Query<Vec<(String, String)>>,
) -> Result<Json<Vec<VmEntry>>, ApiError> {
    let left = left::read(&parameters)?;
    let vms = api.vms.all();
    let names: Vec<Box<str>> = vms.iter().map(|vm| vm.name.as_str().into()).collect();
    let states = api.vm_states.states(names, api.head()).await;
    let in_journal = foreign::in_journal(&api).await?;
    // The journal counts epochs, so it has the number of the last one.
    let epochs: HashMap<Box<str>, u32> = in_journal.iter().map(|vm| (vm.vm.clone(), vm.epoch.0)).collect();
    let as_of = stall::since(&api);
    let in_list = |(vm, known): (&std::sync::Arc<FollowedVm>, Option<VmState>)| {
        let known = known.unwrap_or_default();
        VmEntry::new(connection(vm, false), epochs.get(vm.name.as_str()).copied(), known, as_of.clone())
    };
    let mut list: Vec<VmEntry> = vms.iter().zip(states).map(in_list).collect();
    let of_other_hosts = foreign::of_other_hosts(&in_journal);
    let known = known_of_other_hosts(&api, &of_other_hosts).await;
    let mut on_two_hosts = api.vm_states.on_two_hosts();
    let entries = of_other_hosts.iter().zip(known).map(|(vm, (address, known))| {
        let two_hosts = on_two_hosts.remove(&vm.vm);
        let connection = of_other_host(&api, vm, (address, two_hosts), &known);
        VmEntry::new(connection, Some(vm.epoch.0), known, as_of.clone())
    });
    list.extend(entries);
    if let Some(seconds) = left {
        let left = left::left(&api, in_journal, seconds).await.map_err(|error| ApiError::journal(&error))?;
        list.extend(left.into_iter().map(|vm| of_left(vm, as_of.clone())));
    }
    Ok(Json(list))
}

/// A VM that left the hub, as the journal has it.
fn of_left(vm: LeftVm, as_of: Option<String>) -> VmEntry {
    let connection = Connection {
        host: None,
        vm: vm.vm.into(),
        address: vm.address,
        origin: "journal".to_owned(),
        state: "left",
        since: rfc3339(vm.since),
        error: vm.known.detached.as_ref().and_then(|detached| detached.detail.clone()),
        silent_since: None,
        unresponsive: None,
        two_hosts_since: None,
        also_on: Vec::new(),
        reason: None,
    };
    VmEntry::new(connection, Some(vm.epoch), vm.known, as_of)
}

impl VmEntry {
    fn new(connection: Connection, epoch: Option<u32>, known: VmState, as_of: Option<String>) -> Self {
        Self {
            connection,
            epoch,
            run_state: known.run_state,
            is_run_state_assumed: known.is_run_state_assumed,
            run_since: known.run_since.map(|at| at.to_string()),
            why: known.why,
            last_event: known.last_events.last().cloned(),
            as_of,
        }
    }
}

pub(super) async fn vm(
    State(api): State<ApiState>,
    VmPath(name): VmPath,
) -> Result<Json<VmDetail>, ApiError> {
    let Some(vm) = api.vms.get(&name) else {
        let vm = foreign::find(&api, &name).await?;
        let (address, known) = known_of_other_hosts(&api, &[&vm]).await.pop().unwrap_or_default();
        let two_hosts = api.vm_states.on_two_hosts().remove(&vm.vm);
        let connection = of_other_host(&api, &vm, (address, two_hosts), &known);
        let as_of = stall::since(&api);
        return Ok(Json(VmDetail { connection, known, relays: Vec::new(), as_of }));
    };
    let relays = relays::of_vm(&api, &name);
    let states = api.vm_states.states(vec![name.into()], api.head()).await;
    let known = states.into_iter().next().flatten().unwrap_or_default();
    let as_of = stall::since(&api);
    Ok(Json(VmDetail { connection: connection(&vm, true), known, relays, as_of }))
}

/// The addresses and the states of VMs of other hosts, by their records.
async fn known_of_other_hosts(api: &ApiState, vms: &[&JournalVm]) -> Vec<(Option<Box<str>>, VmState)> {
    if vms.is_empty() {
        return Vec::new();
    }
    let names = vms.iter().map(|vm| vm.vm.clone()).collect();
    let states = api.vm_states.states(names, api.head()).await;
    let addresses = api.vm_states.addresses(vms.iter().map(|vm| &*vm.vm));
    addresses.into_iter().zip(states.into_iter().map(Option::unwrap_or_default)).collect()
}

/// The connection of the hub of another host, by its records.
fn of_other_host(
    api: &ApiState,
    vm: &JournalVm,
    (address, two_hosts): (Option<Box<str>>, Option<VmOnTwoHosts>),
    known: &VmState,
) -> Connection {
    let (host, name) = QualifiedName::divide(&vm.vm);
    // A host that is silent cannot say that its VM is.
    let host_silent_since = host.and_then(|host| api.sources.silent_since(host)).filter(|_| vm.attached);
    let silent_since = known.silence.map(|silence| silence.since).or(host_silent_since);
    let detached = known.detached.as_ref().filter(|_| !vm.attached);
    // The record that opened the epoch may be removed, or may not have been published.
    let since = vm.since.or(known.run_since).unwrap_or(UnixMicros(0));
    Connection {
        host: host.map(str::to_owned),
        vm: name.to_owned(),
        address: address.unwrap_or_default().into(),
        origin: "fleet".to_owned(),
        state: if vm.attached { "attached" } else { "detached" },
        since: rfc3339(since),
        error: detached.and_then(|detached| detached.detail.clone()),
        silent_since: silent_since.map(rfc3339),
        unresponsive: host_silent_since.map(|_| "its host is silent".to_owned()),
        two_hosts_since: two_hosts.as_ref().map(|two_hosts| rfc3339(two_hosts.since)),
        also_on: two_hosts.map(|two_hosts| two_hosts.also_on).unwrap_or_default(),
        reason: None,
    }
}

fn connection(vm: &FollowedVm, is_alone: bool) -> Connection {
    let silent_since = vm.silence.since();
    let status = vm.status();
    Connection {
        host: None,
        vm: vm.name.to_string(),
        address: vm.address.to_string(),
        origin: vm.origin.to_string(),
        state: status.state.name(),
        since: rfc3339(status.since),
        error: status.error,
        silent_since: silent_since.map(rfc3339),
        // In the list, only the processes of silent VMs are inspected.
        unresponsive: (is_alone || silent_since.is_some()).then(|| vm.silence.unresponsive()).flatten(),
        two_hosts_since: None,
        also_on: Vec::new(),
        reason: status.reason,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use qmp_findings::state::{Detachment, JobState, MissingRecords};
    use qmp_wire::{Epoch, Seq};
    use serde_json::{Map, Value};

    use super::*;

    /// With every member present: an absent one would be unknown to the test.
    fn connection() -> Connection {
        Connection {
            host: Some(String::new()),
            vm: String::new(),
            address: String::new(),
            origin: String::new(),
            state: "",
            since: String::new(),
            error: Some("".into()),
            silent_since: Some(String::new()),
            unresponsive: Some(String::new()),
            two_hosts_since: Some(String::new()),
            also_on: vec!["".into()],
            reason: Some(""),
        }
    }

    /// With every member present.
    fn known() -> VmState {
        let at = UnixMicros(0);
        let record = (Epoch(1), Seq(1));
        let migration = JobState { id: None, ty: None, status: "".into(), error: None, since: at };
        VmState {
            epoch: Some(Epoch(1)),
            attached: true,
            detached: Some(Detachment { reason: "".into(), detail: None, at, certain_until: at }),
            run_state: Some("".into()),
            is_run_state_assumed: true,
            run_since: Some(at),
            why: None,
            qemu: Some("".into()),
            name: Some("".into()),
            uuid: Some("".into()),
            last_events: Vec::new(),
            jobs: Vec::new(),
            migration: Some(migration),
            incomplete: Some(MissingRecords { after: None, before: record }),
            silence: None,
        }
    }

    #[test]
    fn document_has_exactly_the_members_of_a_vm() {
        let document: Value = serde_json::from_str(include_str!("openapi.json")).expect("JSON");
        let as_of = Some(String::new());
        let in_list = VmEntry::new(connection(), Some(1), known(), as_of.clone());
        let alone = VmDetail { connection: connection(), known: known(), relays: Vec::new(), as_of };
        let names = |members: &Map<String, Value>| members.keys().cloned().collect::<BTreeSet<_>>();
        for (schema, vm) in [("Vm", serde_json::to_value(in_list)), ("VmAlone", serde_json::to_value(alone))]
        {
            let described = document["components"]["schemas"][schema]["properties"].as_object();
            let vm = vm.expect("JSON");
            let members = names(vm.as_object().expect("an object"));
            assert_eq!(members, names(described.expect("properties")), "{schema}");
        }
    }
}
