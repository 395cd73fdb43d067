//! `GET /v1/records/{offset}` and `GET /v1/vms/{name}/records/{epoch}/{seq}`: one record, with what it means, what caused it
//! and what it caused.
//!
//! The second address is that of the record in every copy of the journal.

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use qmp_history::Detail;
use qmp_journal::{JournalError, Reader};
use qmp_wire::{Epoch, Offset, Record, Seq};

use super::error::ApiError;
use super::query::{number, refuse_all};
use super::state::ApiState;
use super::vm_path::shortened;

pub(super) async fn by_offset(
    State(api): State<ApiState>,
    path: Result<Path<String>, PathRejection>,
    Query(parameters): Query<Vec<(String, String)>>,
) -> Result<Json<Detail>, ApiError> {
    refuse_all(&parameters)?;
    let Path(offset) = path.map_err(|error| ApiError::bad_request(format!("the offset: {error}")))?;
    let offset: u64 = number("offset", &offset)?;
    let missing = format!("there is no record {offset} in the journal, or it is kept no longer");
    respond(&api, missing, move |reader| reader.record(Offset(offset))).await
}

pub(super) async fn by_identity(
    State(api): State<ApiState>,
    path: Result<Path<(String, String, String)>, PathRejection>,
    Query(parameters): Query<Vec<(String, String)>>,
) -> Result<Json<Detail>, ApiError> {
    refuse_all(&parameters)?;
    let Path((vm, epoch, seq)) =
        path.map_err(|error| ApiError::bad_request(format!("the record's address: {error}")))?;
    let (epoch, seq) = (number("epoch", &epoch)?, number("seq", &seq)?);
    let shown = shortened(&vm);
    let missing = format!(
        "there is no record {seq} of epoch {epoch} of {shown} in the journal, or it is kept no longer"
    );
    respond(&api, missing, move |reader| reader.find(&vm, Epoch(epoch), Seq(seq))).await
}

async fn respond(
    api: &ApiState,
    missing: String,
    find: impl FnOnce(&Reader) -> Result<Option<Record<'static>>, JournalError> + Send + 'static,
) -> Result<Json<Detail>, ApiError> {
    let reader = api.reader.clone();
    let detail = api.read(move || match find(&reader)? {
        Some(record) => qmp_history::detail(&reader, &record).map(Some),
        None => Ok(None),
    });
    let detail = detail.await.map_err(|error| ApiError::journal(&error))?;
    detail.map(Json).ok_or_else(|| ApiError::new(StatusCode::NOT_FOUND, "RecordNotFound", missing))
}
