//! The files of the page: a table of the bundle that `web/build.mjs` writes, and the paths that browsers request.
//!
//! The bundle is committed, so that a build needs no Node, and a package without it does not compile.

use axum::extract::Request;
use axum::http::{HeaderValue, Method, header};
use axum::response::Response;

/// The document of every place of the page; the program reads the path.
pub(super) const INDEX: &[u8] = include_bytes!("../web/dist/index.html");

/// Names below `/assets/`, with their contents.
pub(super) const ASSETS: [(&str, &[u8]); 2] = include!("../web/dist/files.rs");

/// The paths of the page, in the notation of the router.
pub(super) const PLACES: [&str; 3] = ["/", "/vm/{name}", "/event/{name}"];

/// Browsers request it without a link. There is no picture.
pub(super) const ICON_PATH: &str = "/favicon.ico";

pub(super) const ASSET_DIRECTORY: &str = "/assets/";

/// Nothing but the hub's own script and style: no inline code, no other host, no text that becomes markup.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
     img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; \
     trusted-types 'none'";

const HEADERS: [(header::HeaderName, &str); 5] = [
    (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (header::HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// Whether the request is for a file of the page. The files hold nothing secret, so they need no token: the page is what
/// asks its reader for one.
pub(super) fn is_page(request: &Request) -> bool {
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    let path = request.uri().path();
    is_read
        && (matches!(path, "/" | ICON_PATH)
            || ["/vm/", "/event/", ASSET_DIRECTORY].iter().any(|start| path.starts_with(start)))
}

/// Adds the headers of every file.
pub(super) fn with_headers(mut response: Response) -> Response {
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// The type of a file by its name.
pub(super) fn content_type(name: &str) -> &'static str {
    match name.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    /// The size of the download before the first picture, in bytes: JavaScript, style sheet.
    const SCRIPT_MAX_BYTES: usize = 150 << 10;
    const STYLE_MAX_BYTES: usize = 20 << 10;

    #[test]
    fn page_needs_no_token_and_everything_else_does() {
        let cases = [
            (Method::GET, "/", true),
            (Method::HEAD, "/", true),
            (Method::GET, "/vm/web1", true),
            (Method::GET, "/event/STOP?since=x", true),
            (Method::GET, "/assets/app-0.js", true),
            (Method::GET, "/favicon.ico", true),
            (Method::POST, "/", false),
            (Method::GET, "/v1/vms", false),
            (Method::GET, "/v1/../", false),
            (Method::GET, "/metrics", false),
            (Method::POST, "/vm/web1", false),
        ];
        for (method, target, expected) in cases {
            let request =
                Request::builder().method(&method).uri(target).body(Body::empty()).expect("a request");
            assert_eq!(is_page(&request), expected, "{method} {target}");
        }
    }

    #[test]
    fn bundle_is_within_its_budget() {
        for (name, bytes) in ASSETS {
            let max = if name.ends_with(".js") { SCRIPT_MAX_BYTES } else { STYLE_MAX_BYTES };
            assert!(bytes.len() <= max, "{name}: {} of {max} bytes", bytes.len());
        }
    }

    #[test]
    fn document_requests_the_files_of_the_table_and_no_others() {
        let document = std::str::from_utf8(INDEX).expect("UTF-8");
        for (name, _) in ASSETS {
            assert!(document.contains(&format!("\"{ASSET_DIRECTORY}{name}\"")), "{name}");
        }
        let (scripts, styles) = (document.matches("src=").count(), document.matches("href=").count());
        assert_eq!((scripts, styles), (1, 1), "with the document itself, three requests");
        for forbidden in ["http:", "https:", "style=", "<style", "onload", "<img"] {
            assert!(!document.contains(forbidden), "{forbidden}");
        }
        assert_eq!(document.matches("<script").count(), document.matches("</script>").count());
        assert!(document.contains("></script>"), "no inline script");
    }

    #[test]
    fn bundle_has_no_source_map_and_no_markup_from_text() {
        for (name, bytes) in ASSETS {
            let text = std::str::from_utf8(bytes).expect("UTF-8");
            assert!(!text.contains("sourceMappingURL"), "{name}");
            assert!(!text.contains("eval(") && !text.contains("document.write"), "{name}");
        }
    }
}
