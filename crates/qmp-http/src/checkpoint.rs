//! `GET /v1/vms/{name}/checkpoint`: the newest saved state of a VM's correlators in the journal, for `qmp why`.
//!
//! A client that reads the records of the VM after `offset` continues from that state, as from the journal's file.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;

use super::error::ApiError;
use super::state::ApiState;
use super::vm_path::{VmPath, shortened};

#[derive(Serialize)]
pub(super) struct CheckpointBody {
    /// The last record of the VM that the state covers.
    offset: u64,
    /// The version of the code that can read the state.
    version: Box<str>,
    checksum: i64,
    state: Box<str>,
}

pub(super) async fn checkpoint(
    State(api): State<ApiState>,
    VmPath(name): VmPath,
) -> Result<Json<CheckpointBody>, ApiError> {
    let (reader, vm) = (api.reader.clone(), name.clone());
    let checkpoint = api.read(move || reader.checkpoint(&vm)).await;
    let checkpoint = checkpoint.map_err(|error| ApiError::journal(&error))?.ok_or_else(|| {
        let name = shortened(&name);
        let desc = format!("the journal has no checkpoint of {name}: read its epoch from the beginning");
        ApiError::new(StatusCode::NOT_FOUND, "CheckpointNotFound", desc)
    })?;
    Ok(Json(CheckpointBody {
        offset: checkpoint.offset.0,
        version: checkpoint.version,
        checksum: checkpoint.checksum,
        state: checkpoint.state,
    }))
}
