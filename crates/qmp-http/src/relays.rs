//! `GET /v1/relays`: the sockets that the hub serves in place of VMs, and their clients; also as metrics.

use axum::Json;
use axum::extract::State;
use qmp_hub::relay::RelayStatus;

use super::exposition::{Exposition, Type};
use crate::state::ApiState;

pub(super) async fn relays(State(api): State<ApiState>) -> Json<Vec<RelayStatus>> {
    Json(api.registry.relays())
}

/// The relays of one VM, in the order of its configuration.
pub(super) fn of_vm(api: &ApiState, vm: &str) -> Vec<RelayStatus> {
    api.registry.relays().into_iter().filter(|relay| &*relay.vm == vm).collect()
}

/// Metrics for Prometheus. The labels are names and paths of the operator's configuration.
pub(super) fn figures(api: &ApiState, to: &mut Exposition) {
    type Read = fn(&RelayStatus) -> u64;
    let families: [(&'static str, Type, &str, Read); 6] = [
        ("qmp_relay_clients", Type::Gauge, "Clients of the relay at the moment.", |relay| relay.clients),
        ("qmp_relay_clients_accepted_total", Type::Counter, "Clients that the relay accepted.", |relay| {
            relay.accepted
        }),
        (
            "qmp_relay_clients_turned_away_total",
            Type::Counter,
            "Connections that were closed because of their user or process.",
            |relay| relay.turned_away,
        ),
        (
            "qmp_relay_clients_slow_closed_total",
            Type::Counter,
            "Clients that were closed because they did not read.",
            |relay| relay.closed_slow,
        ),
        ("qmp_relay_commands_total", Type::Counter, "Commands that the relay passed to the VM.", |relay| {
            relay.commands
        }),
        (
            "qmp_relay_commands_refused_total",
            Type::Counter,
            "Commands that the role of the relay does not permit.",
            |relay| relay.refused,
        ),
    ];
    let relays = api.registry.relays();
    for (name, ty, help, read) in families {
        let mut family = to.family(name, ty, help);
        for relay in &relays {
            let path = relay.path.to_string_lossy();
            family.sample(&[("vm", &relay.vm), ("relay", &path)], read(relay));
        }
    }
}
