//! `GET /v1/health`: whether the hub works, for service managers and alerts.
//!
//! An unreachable VM is no fault of the hub; a journal that cannot be written is.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use qmp_sinks::{SinkState, SinkStatus};
use serde::Serialize;

use super::error::ApiError;
use super::rfc3339::rfc3339;
use super::stall::{Stall, stall};
use crate::state::ApiState;

/// Problems in one response; of more, the last one has the number of the others.
const PROBLEMS_MAX: usize = 16;

#[derive(Serialize)]
pub(super) struct HealthReport {
    status: &'static str,
    /// Faults outside the hub's own work.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    problems: Vec<Problem>,
}

/// A fault that a restart of the hub would not repair.
#[derive(Serialize)]
struct Problem {
    class: &'static str,
    desc: String,
}

pub(super) async fn health(State(api): State<ApiState>) -> Result<Json<HealthReport>, ApiError> {
    match trouble(&api) {
        None => Ok(Json(HealthReport { status: "ok", problems: problems(&api) })),
        Some((class, desc)) => Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, class, desc)),
    }
}

fn problems(api: &ApiState) -> Vec<Problem> {
    let left_out = api.vms.all().iter().filter(|vm| vm.is_left_out()).count();
    let left_out = (left_out > 0).then(|| Problem {
        class: "NoDescriptors",
        desc: format!(
            "{left_out} VMs are not attached for want of open files; raise the limit with `ulimit -n` or LimitNOFILE="
        ),
    });
    let relays = api.registry.relays().into_iter().filter_map(|relay| {
        let desc = format!("the relay of {} is not served: {}", relay.vm, relay.error?);
        Some(Problem { class: "RelayNotServed", desc })
    });
    let sources = api.sources.read().into_iter().filter_map(|status| {
        let desc = format!("{} ({}): {}", status.source, status.state, status.problem?);
        Some(Problem { class: "FleetSource", desc })
    });
    let rules = api.rules.statuses().into_iter().filter_map(|status| {
        let SinkStatus { rule, state, last_error, problem, .. } = status;
        let error = last_error.filter(|_| state != SinkState::Delivering);
        let fault = error.or(problem)?;
        Some(Problem { class: "RuleFailing", desc: format!("rule {rule}: {fault}") })
    });
    // The relays are the last ones, because of many only the first are shown.
    shortened(left_out.into_iter().chain(sources).chain(rules).chain(relays).collect())
}

/// The first problems; of more than the limit, the last one has the number of the others.
fn shortened(mut problems: Vec<Problem>) -> Vec<Problem> {
    if problems.len() > PROBLEMS_MAX {
        let more = problems.split_off(PROBLEMS_MAX - 1);
        let class = more.last().map_or("RelayNotServed", |last| last.class);
        let count = more.len();
        let desc = format!("and {count} more; `qmp status`, `qmp status NAME` and the log list them");
        problems.push(Problem { class, desc });
    }
    problems
}

fn trouble(api: &ApiState) -> Option<(&'static str, String)> {
    if *api.ends.borrow() {
        return Some(("HubStopping", "the hub stops".into()));
    }
    // The writer owns the sender; without a writer nothing is recorded.
    if api.health.has_changed().is_err() {
        let desc = "the journal's writer has ended; the hub's log says why, and a restart helps";
        return Some(("JournalEnded", desc.into()));
    }
    let ended = api.duties.ended();
    if !ended.is_empty() {
        let desc =
            format!("ended unexpectedly: {}; the hub's log says why, and a restart helps", ended.join(", "));
        return Some(("TaskEnded", desc));
    }
    let stall = stall(api);
    let overrun = api.vms.all().iter().filter(|vm| vm.is_overrun()).count();
    if overrun > 0 {
        let why = stall.as_ref().map(|stall| format!("; {}", described(stall))).unwrap_or_default();
        let desc =
            format!("the journal has no room; events of {overrun} VMs are discarded until it has{why}");
        return Some(("JournalOverrun", desc));
    }
    if let Some(stall) = stall {
        return Some(("JournalStalled", described(&stall)));
    }
    // Last, because a restart does not help and the rest of the hub works.
    let damage = api.reader.damage();
    let first = damage.iter().find(|span| span.loses_records()).or_else(|| damage.first())?;
    let desc = format!(
        "the journal is damaged in {} places, which are skipped: {first}; `qmp journal verify` lists all of it",
        damage.len(),
    );
    Some(("JournalDamaged", desc))
}

fn described(stall: &Stall) -> String {
    format!("nothing could be written since {}: {}", rfc3339(stall.since), stall.error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_over_the_limit_are_counted() {
        let problems = |count: usize| {
            let relay = |index| Problem { class: "RelayNotServed", desc: format!("relay {index}") };
            shortened((0..count).map(relay).collect())
        };
        assert_eq!(problems(PROBLEMS_MAX).last().expect("the last").desc, "relay 15");
        let shown = problems(PROBLEMS_MAX + 4);
        assert_eq!(shown.len(), PROBLEMS_MAX);
        assert!(shown[PROBLEMS_MAX - 1].desc.starts_with("and 5 more; "), "{}", shown[PROBLEMS_MAX - 1].desc);
    }
}
