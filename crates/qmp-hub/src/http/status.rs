//! `GET /v1/hub` and `GET /v1/vms`: who serves here, and how things stand.

use std::collections::HashMap;

use axum::Json;
use axum::extract::State;
use qmp_wire::UnixMicros;
use serde::Serialize;

use super::Served;
use super::refusal::Refusal;

#[derive(Serialize)]
pub(super) struct HubStatus {
    version: &'static str,
    journal: String,
    head: u64,
    /// `writing`, or since when and why nothing can be written.
    journal_health: String,
    started: String,
    pid: u32,
}

#[derive(Serialize)]
pub(super) struct VmStatus {
    vm: String,
    address: String,
    state: &'static str,
    /// The epoch that is open, or was the last one; none if there never was one.
    epoch: Option<u32>,
    /// Since when it is in that state.
    since: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Box<str>>,
}

pub(super) async fn hub(State(served): State<Served>) -> Json<HubStatus> {
    Json(HubStatus {
        version: env!("CARGO_PKG_VERSION"),
        journal: served.journal.display().to_string(),
        head: served.head().0,
        journal_health: served.health.borrow().to_string(),
        started: rfc3339(served.started),
        pid: std::process::id(),
    })
}

pub(super) async fn vms(State(served): State<Served>) -> Result<Json<Vec<VmStatus>>, Refusal> {
    let epochs = epochs(&served).await?;
    let status = |vm: &std::sync::Arc<crate::vms::Vm>| {
        let standing = vm.standing();
        VmStatus {
            vm: vm.name.to_string(),
            address: vm.address.to_string(),
            state: standing.state.name(),
            epoch: epochs.get(vm.name.as_str()).copied(),
            since: rfc3339(standing.since),
            error: standing.error,
        }
    };
    Ok(Json(served.vms.iter().map(status).collect()))
}

/// The last epoch of each VM. The journal counts them, so the journal is asked.
async fn epochs(served: &Served) -> Result<HashMap<Box<str>, u32>, Refusal> {
    let reader = served.reader.clone();
    let known = served.read(move || reader.vms()).await.map_err(|error| Refusal::journal(&error))?;
    Ok(known.into_iter().map(|vm| (vm.vm, vm.epoch.0)).collect())
}

/// A moment as RFC 3339 in UTC, with six digits of fraction.
pub(super) fn rfc3339(micros: UnixMicros) -> String {
    let moment = jiff::Timestamp::from_microsecond(micros.0).unwrap_or(jiff::Timestamp::MAX);
    format!("{moment:.6}")
}
