//! `GET /v1/alerts`: the alerts of the rules on states that are raised at present.

use axum::Json;
use axum::extract::State;
use qmp_findings::OpenAlert;
use qmp_wire::QualifiedName;
use serde::Serialize;

use crate::state::ApiState;

/// An alert that is not resolved.
#[derive(Serialize)]
pub(super) struct Alert {
    /// The host of a VM of another host.
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<Box<str>>,
    vm: Box<str>,
    rule: Box<str>,
    /// The state for which it was raised.
    state: Box<str>,
    /// When the state began.
    since: String,
}

pub(super) async fn alerts(State(api): State<ApiState>) -> Json<Vec<Alert>> {
    let alerts = api.vm_states.alerts(api.head()).await;
    Json(alerts.into_iter().map(Alert::from).collect())
}

impl From<OpenAlert> for Alert {
    fn from(OpenAlert { rule, vm, state, since }: OpenAlert) -> Self {
        let (host, vm) = QualifiedName::divide(&vm);
        Self { host: host.map(Into::into), vm: vm.into(), rule, state, since: since.to_string() }
    }
}
