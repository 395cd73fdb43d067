//! `GET /v1/sinks`: the state of each rule.

use axum::Json;
use axum::extract::State;
use qmp_sinks::{SinkState, SinkStatus};

use super::exposition::{Exposition, Type};
use crate::state::ApiState;

pub(super) async fn sinks(State(api): State<ApiState>) -> Json<Vec<SinkStatus>> {
    Json(api.rules.statuses())
}

/// The names of the rules that are not delivering.
pub(super) fn stuck(api: &ApiState) -> Vec<Box<str>> {
    let statuses = api.rules.statuses().into_iter();
    statuses.filter(|status| status.state != SinkState::Delivering).map(|status| status.rule).collect()
}

/// Metrics for Prometheus. The label `rule` is a name of the operator's configuration.
pub(super) fn metrics(api: &ApiState, to: &mut Exposition) {
    type Figure = (&'static str, Type, &'static str, fn(&SinkStatus) -> u64);
    let figures: [Figure; 9] = [
        ("qmp_sink_delivered_total", Type::Counter, "Records that the rule delivered.", |status| {
            status.delivered
        }),
        ("qmp_sink_failures_total", Type::Counter, "Attempts to deliver that failed.", |status| {
            status.failures
        }),
        (
            "qmp_sink_given_up_total",
            Type::Counter,
            "Records that were given up because the receiver refused them.",
            |status| status.given_up,
        ),
        ("qmp_sink_held_back_total", Type::Counter, "Records that at-most held back.", |status| {
            status.held_back
        }),
        (
            "qmp_sink_missed_total",
            Type::Counter,
            "Records that were removed from the journal before the rule read them, or that cannot be read.",
            |status| status.missed,
        ),
        (
            "qmp_sink_lag_records",
            Type::Gauge,
            "Selected records that the rule has not processed yet.",
            |status| status.lag_records,
        ),
        (
            "qmp_sink_retrying",
            Type::Gauge,
            "Whether the rule tries again because the receiver is unreachable or refuses.",
            |status| u64::from(status.state == SinkState::Retrying),
        ),
        (
            "qmp_sink_problem",
            Type::Gauge,
            "Whether the receiver has a fault that does not stop the deliveries.",
            |status| u64::from(status.problem.is_some()),
        ),
        (
            "qmp_sink_position_offset",
            Type::Gauge,
            "The offset up to which the rule has processed the journal.",
            |status| status.offset,
        ),
    ];
    let statuses = api.rules.statuses();
    for (name, ty, help, figure) in figures {
        let mut family = to.family(name, ty, help);
        for status in &statuses {
            family.sample(&[("rule", &status.rule), ("kind", status.kind)], figure(status));
        }
    }
}
