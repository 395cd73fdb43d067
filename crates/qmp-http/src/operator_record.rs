//! Records that operators write: the body of their request, and the record in the journal.

use std::time::Duration;

use axum::http::StatusCode;
use qmp_findings::assert_listed;
use qmp_host::clock;
use qmp_journal::{Batch, Draft};
use qmp_wire::{Body, Causes, Offset};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::error::ApiError;
use super::foreign;
use crate::state::ApiState;

/// How long the request of an operator waits for the commit of its record, which a full disk delays until it has room.
const COMMIT_MAX: Duration = Duration::from_secs(10);

/// Reads the body of a request; `form` is its form, for the error.
pub(super) fn read_json<T: DeserializeOwned>(body: &[u8], form: &str) -> Result<T, ApiError> {
    serde_json::from_slice(body).map_err(|error| ApiError::bad_request(format!("{error}; send {form}")))
}

/// Whether the hub follows the VM, or the journal has records of it.
pub(super) async fn is_known(api: &ApiState, name: &str) -> Result<bool, ApiError> {
    if api.vms.get(name).is_some() {
        return Ok(true);
    }
    Ok(foreign::in_journal(api).await?.iter().any(|vm| *vm.vm == *name))
}

/// The body of a finding that an operator wrote.
pub(super) fn body(
    kind: &'static str,
    summary: String,
    causes: Causes,
    data: Map<String, Value>,
) -> Body<'static> {
    assert_listed(kind, &data);
    let data = Some(Value::Object(data).to_string().into());
    Body::Finding { finding: kind.into(), summary: summary.into(), causes, data }
}

/// Appends a record of each VM, and waits until they are committed. Returns the offset of the last record then.
pub(super) async fn append<'v>(
    api: &ApiState,
    vms: impl IntoIterator<Item = &'v str>,
    body: &Body<'static>,
) -> Result<Offset, ApiError> {
    let mut batch = Batch::new();
    let received = clock::now();
    for vm in vms {
        batch.push(&Draft { vm, received, body: body.clone() });
    }
    let no_room = |_| {
        let desc = "the journal has no room; send the request again later";
        ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "JournalStalled", desc)
    };
    let ticket = api.appender.append(&mut batch).map_err(no_room)?;
    match tokio::time::timeout(COMMIT_MAX, api.appender.committed(ticket)).await {
        Ok(committed) => committed.map_err(|error| ApiError::journal(&error)),
        Err(_) => {
            let desc = "the journal is not written at present; the record is written when it is again";
            Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "JournalStalled", desc))
        }
    }
}

/// A whole number, which JSON may write as `5.0`, too.
#[derive(Clone, Copy)]
pub(super) struct WholeNumber(pub(super) u64);

impl<'de> serde::Deserialize<'de> for WholeNumber {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = serde_json::Number::deserialize(deserializer)?;
        let of_float = |value: f64| (value.fract() == 0.0).then(|| format!("{value:.0}").parse().ok())?;
        let whole = number.as_u64().or_else(|| number.as_f64().and_then(of_float));
        whole.map(Self).ok_or_else(|| serde::de::Error::custom("expected a whole number from 0 on"))
    }
}
