//! `GET /v1/hub`: who serves here.

use axum::Json;
use axum::extract::State;
use serde::Serialize;

use super::rfc3339::rfc3339;
use super::sinks::stuck;
use super::stall;
use crate::served::Served;

#[derive(Serialize)]
pub(super) struct HubStatus {
    version: &'static str,
    journal: String,
    head: u64,
    /// `writing`, or since when and why nothing can be written.
    journal_health: String,
    /// Since when nothing can be written; null while everything is.
    journal_stalled_since: Option<String>,
    started: String,
    pid: u32,
    /// Rules that do not get on: their receiver is away, or they cannot read the journal.
    stuck_rules: Vec<Box<str>>,
}

pub(super) async fn hub(State(served): State<Served>) -> Json<HubStatus> {
    Json(HubStatus {
        version: env!("CARGO_PKG_VERSION"),
        journal: served.journal.display().to_string(),
        head: served.head().0,
        journal_health: served.health.borrow().to_string(),
        journal_stalled_since: stall::since(&served),
        started: rfc3339(served.started),
        pid: std::process::id(),
        stuck_rules: stuck(&served),
    })
}
