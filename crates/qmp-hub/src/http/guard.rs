//! Keeps web pages away from the VMs.
//!
//! A page that a browser on this host shows can send requests to 127.0.0.1. What it can not do is to choose the
//! `Host` header (so a name of its own that was made to point here is told apart), to hide its `Origin`, or to
//! send `application/json` elsewhere without being asked for permission, which the hub never gives.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::execute::EXECUTE_BODY_MAX_BYTES;
use super::refusal::Refusal;

/// How long the body of a request may take to come.
const BODY_READ_MAX: Duration = Duration::from_secs(30);

/// Why a request of a TCP client without a token is refused, unless it names this host and comes from no page but
/// the hub's own.
pub(super) fn stranger_page(request: &Request, scheme: &str) -> Result<(), Refusal> {
    check_names(request.headers(), request.uri().authority(), scheme)
}

/// Lets a `POST` pass if its body is JSON, has a sane size, and comes in time.
pub(super) async fn json_only(request: Request, next: Next) -> Response {
    if request.method() != Method::POST {
        return next.run(request).await;
    }
    if !is_json(request.headers()) {
        let desc = "send the header `Content-Type: application/json`";
        return Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "NotJson", desc).into_response();
    }
    let (head, body) = request.into_parts();
    match tokio::time::timeout(BODY_READ_MAX, to_bytes(body, EXECUTE_BODY_MAX_BYTES)).await {
        Ok(Ok(bytes)) => next.run(Request::from_parts(head, Body::from(bytes))).await,
        Ok(Err(error)) => {
            let desc =
                format!("the request cannot be read ({error}); it may have {EXECUTE_BODY_MAX_BYTES} bytes");
            Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "TooLong", desc).into_response()
        }
        Err(_) => {
            let desc = format!("the request did not come within {} s", BODY_READ_MAX.as_secs());
            Refusal::new(StatusCode::REQUEST_TIMEOUT, "TooSlow", desc).into_response()
        }
    }
}

fn check_names(headers: &HeaderMap, target: Option<&Authority>, scheme: &str) -> Result<(), Refusal> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let host = text(header::HOST).unwrap_or_default();
    let names = [Some(host), target.map(Authority::as_str)];
    if let Some(stranger) = names.into_iter().flatten().find(|name| !is_loopback_name(name)) {
        let desc = format!("this hub is localhost, 127.0.0.1 or [::1], not {stranger:?}");
        return Err(Refusal::new(StatusCode::MISDIRECTED_REQUEST, "WrongHost", desc));
    }
    match headers.get(header::ORIGIN) {
        Some(origin) if origin.as_bytes() != format!("{scheme}://{host}").as_bytes() => Err(Refusal::new(
            StatusCode::FORBIDDEN,
            "WrongOrigin",
            "web pages of other sites may not ask this hub",
        )),
        _ => Ok(()),
    }
}

fn is_loopback_name(host: &str) -> bool {
    let is_port = |port: &str| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let name = match host.rsplit_once(':') {
        Some((name, port)) if is_port(port) => name,
        _ => host,
    };
    name.eq_ignore_ascii_case("localhost") || name == "127.0.0.1" || name == "[::1]"
}

fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_host_and_the_hubs_own_pages_pass() {
        let cases: [(&str, &str, Option<&str>, Option<u16>); 14] = [
            // name            Host                 Origin                          refused with
            ("curl", "127.0.0.1:8080", None, None),
            ("name", "localhost:8080", None, None),
            ("IPv6", "[::1]:8080", None, None),
            ("port 80", "LOCALHOST", None, None),
            ("our page", "localhost:8080", Some("http://localhost:8080"), None),
            ("rebinding", "evil.example:8080", None, Some(421)),
            ("looks like it", "localhost.evil.example", None, Some(421)),
            ("looks like it too", "127.0.0.1.evil.example:80", None, Some(421)),
            ("no port after all", "localhost:evil", None, Some(421)),
            ("bare IPv6", "::1", None, Some(421)),
            ("no Host", "", None, Some(421)),
            ("other site", "localhost:8080", Some("https://evil.example"), Some(403)),
            ("other port", "localhost:8080", Some("http://localhost:3000"), Some(403)),
            ("file, sandbox", "localhost:8080", Some("null"), Some(403)),
        ];
        for (case, host, origin, refused) in cases {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, host.parse().expect("a header"));
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, origin.parse().expect("a header"));
            }
            assert_eq!(status(&headers, None), refused, "{case}");
        }
    }

    #[test]
    fn the_target_is_checked_besides_the_header() {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, "localhost".parse().expect("a header"));
        assert_eq!(status(&headers, Some(&Authority::from_static("evil.example"))), Some(421));
        assert_eq!(status(&headers, Some(&Authority::from_static("localhost:80"))), None);
    }

    #[test]
    fn forms_and_plain_text_are_no_json() {
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

    fn status(headers: &HeaderMap, target: Option<&Authority>) -> Option<u16> {
        check_names(headers, target, "http").err().map(|refusal| refusal.status.as_u16())
    }
}
