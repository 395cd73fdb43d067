//! `POST /v1/vms/{name}/notes`: an operator's remark about a VM, on record.

use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use qmp_findings::NOTE;
use qmp_wire::{Causes, Offset};
use serde::{Deserialize, Serialize};

use super::auth::Principal;
use super::error::ApiError;
use super::foreign;
use super::operator_record::{WholeNumber, append, body, is_known, read_json};
use super::vm_path::VmPath;
use crate::state::ApiState;

/// The longest text of a note, in bytes: some paragraphs that a person types.
const NOTE_MAX_BYTES: usize = 4 << 10;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    text: String,
    /// The offset of the record that the note is about.
    #[serde(default)]
    about: Option<WholeNumber>,
}

/// The record of the note.
#[derive(Serialize)]
pub(super) struct NoteResponse {
    offset: u64,
}

pub(super) async fn note(
    State(api): State<ApiState>,
    VmPath(name): VmPath,
    Extension(principal): Extension<Principal>,
    request: Bytes,
) -> Result<Json<NoteResponse>, ApiError> {
    principal.may(NOTE)?;
    let Request { text, about } = read_json(&request, "{\"text\": TEXT, \"about\": OFFSET}")?;
    if text.trim().is_empty() || text.len() > NOTE_MAX_BYTES {
        return Err(ApiError::bad_request(format!("the text of a note has 1 to {NOTE_MAX_BYTES} bytes")));
    }
    // The remark about a VM of another host is a record of this hub.
    let name = match is_known(&api, &name).await? {
        true => name,
        false => foreign::find(&api, &name).await?.vm.into(),
    };
    let mut data = principal.identity().members();
    data.insert("text".into(), text.clone().into());
    let mut causes = Causes::new();
    if let Some(WholeNumber(about)) = about {
        data.insert("about".into(), about.into());
        causes = about_record(&api, &name, Offset(about)).await?;
    }
    let summary = format!("{} ({})", text.trim(), principal.identity().who());
    let offset = append(&api, [&*name], &body(NOTE, summary, causes, data)).await?;
    Ok(Json(NoteResponse { offset: offset.0 }))
}

/// The identity of the record that a note is about, which must be of the same VM.
async fn about_record(api: &ApiState, name: &str, about: Offset) -> Result<Causes, ApiError> {
    let reader = api.reader.clone();
    let record = api.read(move || reader.record(about)).await.map_err(|error| ApiError::journal(&error))?;
    let refused = |desc| ApiError::new(StatusCode::NOT_FOUND, "RecordNotFound", desc);
    match record {
        None => {
            Err(refused(format!("there is no record {} in the journal, or it is kept no longer", about.0)))
        }
        Some(record) if record.vm != name => {
            Err(refused(format!("record {} is of {}, and the note is about {name}", about.0, record.vm)))
        }
        Some(record) => Ok(vec![(record.epoch, record.seq)]),
    }
}
