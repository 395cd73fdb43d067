//! `GET /v1/hub`: the status of the hub.

use axum::Json;
use axum::extract::State;
use qmp_history::DamagedRecords;
use qmp_hub::FleetStatus;
use serde::Serialize;

use super::rfc3339::rfc3339;
use super::sinks::stuck;
use super::stall;
use crate::state::ApiState;

#[derive(Serialize)]
pub(super) struct HubStatus {
    version: &'static str,
    journal: String,
    /// The journal's own name, the same in every copy of the file.
    journal_id: Option<Box<str>>,
    head: u64,
    /// `writing`, or the time and reason of the stall.
    journal_health: String,
    /// Since when the journal cannot be written; null if it can.
    journal_stalled_since: Option<String>,
    started: String,
    pid: u32,
    /// Rules that are not delivering: their receiver is unreachable, or they cannot read the journal.
    stuck_rules: Vec<Box<str>>,
    /// The damaged parts of the journal, as far as the hub has read them since its start.
    damaged: Vec<DamagedRecords>,
    /// The streams with records of other hosts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    from: Vec<FleetStatus>,
    /// The addresses at which it serves, as `qmp --hub` takes them.
    addresses: Vec<String>,
}

pub(super) async fn hub(State(api): State<ApiState>) -> Json<HubStatus> {
    Json(HubStatus {
        version: env!("CARGO_PKG_VERSION"),
        journal: api.journal.display().to_string(),
        journal_id: api.journal_id.clone(),
        head: api.head().0,
        journal_health: api.health.borrow().to_string(),
        journal_stalled_since: stall::since(&api),
        started: rfc3339(api.started),
        pid: std::process::id(),
        stuck_rules: stuck(&api),
        damaged: DamagedRecords::of(&api.reader),
        from: api.sources.read(),
        addresses: api.endpoints.iter().map(ToString::to_string).collect(),
    })
}
