//! Refuses requests from web pages of other sites: DNS rebinding and cross-site requests.
//!
//! A page in a browser on this host can send requests to 127.0.0.1. A page cannot choose the `Host` header (so a
//! foreign name that was made to resolve to this host is detected), cannot hide its `Origin`, and cannot send
//! `application/json` to another origin without a preflight request, which the hub never allows.

use axum::extract::Request;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, StatusCode, Version, header};

use super::error::ApiError;

/// Checks a request from a TCP client without a token: it must name this host, and may come only from the hub's own
/// pages.
pub(super) fn check_origin(request: &Request, scheme: &str) -> Result<(), ApiError> {
    check_names(request.headers(), request.uri().authority(), scheme)
}

/// Refuses a request that two parsers, such as a proxy and this hub, may understand differently.
pub(super) fn unambiguous(request: &Request) -> Result<(), ApiError> {
    let headers = request.headers();
    let once = [header::HOST, header::ORIGIN, header::CONTENT_TYPE, HeaderName::from_static("last-event-id")];
    if let Some(name) = once.iter().find(|name| headers.get_all(*name).iter().count() > 1) {
        return Err(ApiError::bad_request(format!("the header {name} is repeated")));
    }
    if headers.contains_key(header::CONTENT_LENGTH) && headers.contains_key(header::TRANSFER_ENCODING) {
        return Err(ApiError::bad_request("content-length and transfer-encoding exclude each other"));
    }
    let Some(host) = headers.get(header::HOST) else {
        let is_optional = request.version() < Version::HTTP_11;
        return if is_optional { Ok(()) } else { Err(ApiError::bad_request("the header host is missing")) };
    };
    let shown = || String::from_utf8_lossy(host.as_bytes());
    if !host.is_empty() && Authority::try_from(host.as_bytes()).is_err() {
        return Err(ApiError::bad_request(format!("host: {}: not a host", shown())));
    }
    match request.uri().authority() {
        Some(target) if !target.as_str().eq_ignore_ascii_case(&shown()) => Err(ApiError::bad_request(
            format!("the target is at {target}, and the header host says {}", shown()),
        )),
        _ => Ok(()),
    }
}

fn check_names(headers: &HeaderMap, target: Option<&Authority>, scheme: &str) -> Result<(), ApiError> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let host = text(header::HOST).unwrap_or_default();
    let names = [Some(host), target.map(Authority::as_str)];
    if let Some(foreign) = names.into_iter().flatten().find(|name| !is_loopback_name(name)) {
        let desc = format!("this hub is localhost, 127.0.0.1 or [::1], not {foreign:?}");
        return Err(ApiError::new(StatusCode::MISDIRECTED_REQUEST, "WrongHost", desc));
    }
    match headers.get(header::ORIGIN) {
        Some(origin) if origin.as_bytes() != format!("{scheme}://{host}").as_bytes() => Err(ApiError::new(
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

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    #[test]
    fn request_with_foreign_host_or_origin_is_refused() {
        let cases: [(&str, &str, Option<&str>, Option<u16>); 14] = [
            // name            Host                 Origin                          status
            ("curl", "127.0.0.1:8080", None, None),
            ("name", "localhost:8080", None, None),
            ("IPv6", "[::1]:8080", None, None),
            ("port 80", "LOCALHOST", None, None),
            ("our page", "localhost:8080", Some("http://localhost:8080"), None),
            ("rebinding", "evil.example:8080", None, Some(421)),
            ("looks like it", "localhost.evil.example", None, Some(421)),
            ("looks like it too", "127.0.0.1.evil.example:80", None, Some(421)),
            ("not a port", "localhost:evil", None, Some(421)),
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
    fn ambiguous_request_is_refused() {
        let mismatch = Some("the target is at evil.example, and the header host says hub");
        //  version            target                       headers                                   error
        type Headers = &'static [(&'static str, &'static str)];
        let cases: [(Version, &str, Headers, Option<&str>); 13] = [
            (Version::HTTP_11, "/", &[("host", "hub")], None),
            (Version::HTTP_11, "/", &[("host", "[::1]:80")], None),
            (Version::HTTP_11, "/", &[("host", "")], None),
            (Version::HTTP_10, "/", &[], None),
            (Version::HTTP_11, "/", &[], Some("the header host is missing")),
            (Version::HTTP_11, "/", &[("host", "a"), ("host", "a")], Some("the header host is repeated")),
            (Version::HTTP_11, "/", &[("host", "a, b")], Some("host: a, b: not a host")),
            (Version::HTTP_11, "http://HUB/", &[("host", "hub")], None),
            (Version::HTTP_11, "http://evil.example/", &[("host", "hub")], mismatch),
            (
                Version::HTTP_11,
                "/",
                &[("host", "a"), ("origin", "x"), ("origin", "y")],
                Some("the header origin is repeated"),
            ),
            (
                Version::HTTP_11,
                "/",
                &[("host", "a"), ("content-type", "text/plain"), ("content-type", "application/json")],
                Some("the header content-type is repeated"),
            ),
            (
                Version::HTTP_11,
                "/",
                &[("host", "a"), ("last-event-id", "1"), ("last-event-id", "2")],
                Some("the header last-event-id is repeated"),
            ),
            (
                Version::HTTP_11,
                "/",
                &[("host", "a"), ("content-length", "1"), ("transfer-encoding", "chunked")],
                Some("content-length and transfer-encoding exclude each other"),
            ),
        ];
        for (version, target, headers, expected) in cases {
            let mut request = Request::builder().version(version).uri(target);
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            let refused = unambiguous(&request.body(Body::empty()).expect("a request"));
            let refused = refused.err().map(|error| (error.status.as_u16(), error.desc));
            assert_eq!(refused, expected.map(|desc| (400, desc.to_owned())), "{target} {headers:?}");
        }
    }

    #[test]
    fn target_with_foreign_host_is_refused() {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, "localhost".parse().expect("a header"));
        assert_eq!(status(&headers, Some(&Authority::from_static("evil.example"))), Some(421));
        assert_eq!(status(&headers, Some(&Authority::from_static("localhost:80"))), None);
    }

    fn status(headers: &HeaderMap, target: Option<&Authority>) -> Option<u16> {
        check_names(headers, target, "http").err().map(|error| error.status.as_u16())
    }
}
