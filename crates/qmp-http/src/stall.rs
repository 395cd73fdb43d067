//! Stalls of the journal: since when it cannot be written, in every response.
//!
//! Responses come from committed records. While the journal stalls, a response is as old as the stall, and the header
//! [`STALLED_HEADER`] has its beginning; responses with members for it have it there, too.

use axum::extract::{Request, State};
use axum::http::HeaderValue;
use axum::middleware::Next;
use axum::response::Response;
use qmp_host::clock;
use qmp_hub::relay::REPLY_JOURNAL_MAX;
use qmp_journal::Health;
use qmp_wire::UnixMicros;

use super::rfc3339::rfc3339;
use crate::state::ApiState;

/// A header of every response: since when the journal cannot be written; absent while it can.
const STALLED_HEADER: &str = "qmp-events-journal-stalled";

/// A journal that cannot be written.
pub(super) struct Stall {
    pub(super) since: UnixMicros,
    /// The reason, as far as it is known.
    pub(super) error: String,
}

/// Adds the header to an answer.
pub(super) async fn add_header(State(api): State<ApiState>, request: Request, next: Next) -> Response {
    let mut answer = next.run(request).await;
    if let Some(value) = since(&api).and_then(|since| HeaderValue::from_str(&since).ok()) {
        answer.headers_mut().insert(STALLED_HEADER, value);
    }
    answer
}

/// Since when the journal cannot be written, in RFC 3339.
pub(super) fn since(api: &ApiState) -> Option<String> {
    stall(api).map(|stall| rfc3339(stall.since))
}

/// The stall, if there is one. A failing disk is known at once; one that does not respond, after
/// [`REPLY_JOURNAL_MAX`].
pub(super) fn stall(api: &ApiState) -> Option<Stall> {
    if let Health::Stalled { since, error } = &*api.health.borrow() {
        return Some(Stall { since: *since, error: error.to_string() });
    }
    let since = api.gauge.in_commit_since()?;
    let waited_us = clock::now().0.saturating_sub(since.0);
    let is_late = u128::try_from(waited_us).is_ok_and(|waited_us| waited_us > REPLY_JOURNAL_MAX.as_micros());
    is_late.then(|| Stall { since, error: "the disk does not answer".to_owned() })
}
