//! Bodies of requests: JSON, limited in length and time.

use std::time::Duration;

use axum::Extension;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use qmp_wire::has_memory;

use super::auth::Principal;
use super::error::ApiError;

/// How long reading the body of a request may take.
const BODY_READ_MAX: Duration = Duration::from_secs(30);

/// Passes a request on if its body is JSON, is no longer than the caller's commands may be, and arrives in time.
pub(super) async fn json_only(
    Extension(principal): Extension<Principal>,
    request: Request,
    next: Next,
) -> Response {
    if !is_json(request.headers()) {
        let desc = "send the header `Content-Type: application/json`";
        return ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "NotJson", desc).into_response();
    }
    let (head, body) = request.into_parts();
    let max_bytes = principal.command_max_bytes();
    if !has_memory(max_bytes) {
        let desc = "there is no memory for the request; send it again later";
        return ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "NoMemory", desc).into_response();
    }
    match tokio::time::timeout(BODY_READ_MAX, to_bytes(body, max_bytes)).await {
        Ok(Ok(bytes)) => next.run(Request::from_parts(head, Body::from(bytes))).await,
        Ok(Err(error)) => {
            let desc = format!("the request cannot be read ({error}); it may have {max_bytes} bytes");
            ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "TooLong", desc).into_response()
        }
        Err(_) => {
            let desc = format!("the request did not arrive within {} s", BODY_READ_MAX.as_secs());
            ApiError::new(StatusCode::REQUEST_TIMEOUT, "TooSlow", desc).into_response()
        }
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_type_of_a_form_or_plain_text_is_not_json() {
        let cases = [
            ("application/json", true),
            ("Application/JSON; charset=utf-8", true),
            ("text/plain", false),
            ("text/plain;application/json", false),
            ("application/x-www-form-urlencoded", false),
            ("application/jsonx", false),
        ];
        for (value, expected) in cases {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, value.parse().expect("a header"));
            assert_eq!(is_json(&headers), expected, "{value}");
        }
        assert!(!is_json(&HeaderMap::new()), "none at all");
    }
}
