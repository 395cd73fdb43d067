//! Memory of whole responses: a client that does not read keeps its response in memory.

use std::sync::Arc;

use axum::Extension;
use axum::body::{Body, Bytes, HttpBody as _, to_bytes};
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::auth::ConnectionState;
use super::error::ApiError;

/// Responses up to so many bytes are not counted in the memory of readers: with one for each connection they are 64 MiB.
const ANSWER_UNCOUNTED_MAX_BYTES: u64 = 16 << 10;

/// Counts a response until the client has read it, or returns an error. Streams count their own text.
pub(super) async fn count(
    Extension(connection): Extension<Arc<ConnectionState>>,
    request: Request,
    next: Next,
) -> Response {
    let response = next.run(request).await;
    match response.body().size_hint().exact() {
        Some(bytes) if bytes > ANSWER_UNCOUNTED_MAX_BYTES => {}
        _ => return response,
    }
    let (head, body) = response.into_parts();
    // A complete body is neither awaited nor copied.
    let Ok(text) = to_bytes(body, usize::MAX).await else { return Response::from_parts(head, Body::empty()) };
    match connection.shared.memory.try_take(text.len()) {
        Ok(memory) => {
            let lent = connection.recipient.lend(memory.of(text));
            Response::from_parts(head, Body::from(Bytes::from_owner(lent)))
        }
        Err(error) => ApiError::no_memory(&error).into_response(),
    }
}
