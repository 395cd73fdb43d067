//! Errors of the HTTP interface: `{"error": {"class": …, "desc": …}}`, the form of QMP's errors.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use qmp_host::reader_memory::MemoryShort;
use serde_json::json;

use super::reads::ReadError;

/// An error response: what failed, why, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ApiError {
    pub(super) status: StatusCode,
    pub(super) class: &'static str,
    pub(super) desc: String,
}

impl ApiError {
    pub(super) fn new(status: StatusCode, class: &'static str, desc: impl Into<String>) -> Self {
        Self { status, class, desc: desc.into() }
    }

    /// The request is malformed.
    pub(super) fn bad_request(desc: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadRequest", desc)
    }

    /// The journal cannot be read.
    pub(super) fn journal(error: &impl std::fmt::Display) -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "JournalError",
            format!("cannot read the journal: {error}"),
        )
    }

    /// There is no memory for the response.
    pub(super) fn no_memory(error: &MemoryShort) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "NoMemory", format!("{error}; ask again later"))
    }
}

impl From<ReadError> for ApiError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Journal(error) => Self::journal(&error),
            ReadError::Memory(error) => Self::no_memory(&error),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        (self.status, Json(json!({"error": {"class": self.class, "desc": self.desc}}))).into_response()
    }
}
