//! The page for people: `/`, `/vm/NAME`, `/event/NAME` and the files that they load.

use std::path::PathBuf;
use std::sync::LazyLock;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use ring::digest::{SHA256, digest};

use super::error::ApiError;
use super::page_files::{ASSET_DIRECTORY, ASSETS, ICON_PATH, INDEX, PLACES, content_type, with_headers};
use crate::state::ApiState;

/// A name with a hash has the same contents for ever.
const IMMUTABLE: &str = "public, max-age=31536000, immutable";
/// The document is validated each time: it names the other files.
const REVALIDATED: &str = "no-cache";

type Headers = [(HeaderName, &'static str); 2];

pub(super) fn routes() -> Router<ApiState> {
    let router = PLACES.iter().fold(Router::new(), |router, path| router.route(path, get(document)));
    router.route(&format!("{ASSET_DIRECTORY}{{name}}"), get(asset)).route(ICON_PATH, get(icon))
}

async fn document(State(api): State<ApiState>, request: HeaderMap) -> Result<Response, ApiError> {
    static TAG: LazyLock<String> = LazyLock::new(|| tag(INDEX));
    let headers: Headers =
        [(header::CONTENT_TYPE, content_type("index.html")), (header::CACHE_CONTROL, REVALIDATED)];
    if let Some(root) = &api.web_root {
        let bytes = read(root.join("index.html")).await?;
        return Ok(with_headers((headers, bytes).into_response()));
    }
    let etag = [(header::ETAG, TAG.as_str())];
    let known = request.get(header::IF_NONE_MATCH).is_some_and(|tags| has_tag(tags.as_bytes(), &TAG));
    let response = if known {
        (StatusCode::NOT_MODIFIED, headers, etag).into_response()
    } else {
        (headers, etag, INDEX).into_response()
    };
    Ok(with_headers(response))
}

async fn asset(State(api): State<ApiState>, Path(name): Path<String>) -> Result<Response, ApiError> {
    let headers =
        |cache| -> Headers { [(header::CONTENT_TYPE, content_type(&name)), (header::CACHE_CONTROL, cache)] };
    // The path has no separator: the router decodes one segment, and a name is not joined unless it is plain.
    let is_plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'));
    if let Some(root) = api.web_root.as_ref().filter(|_| is_plain && !name.starts_with('.')) {
        let bytes = read(root.join("assets").join(&name)).await?;
        return Ok(with_headers((headers(REVALIDATED), bytes).into_response()));
    }
    match ASSETS.iter().find(|(known, _)| *known == name) {
        Some((_, bytes)) => Ok(with_headers((headers(IMMUTABLE), *bytes).into_response())),
        None => Err(not_found(&name)),
    }
}

async fn icon() -> Response {
    with_headers((StatusCode::NO_CONTENT, [(header::CACHE_CONTROL, IMMUTABLE)]).into_response())
}

/// Reads a file of `--web-root`, where the page is developed.
async fn read(path: PathBuf) -> Result<Vec<u8>, ApiError> {
    let shown = path.display().to_string();
    let bytes = tokio::task::spawn_blocking(move || std::fs::read(path)).await;
    bytes.ok().and_then(Result::ok).ok_or_else(|| not_found(&shown))
}

fn not_found(name: &str) -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, "NotFound", format!("the page has no file {name:?}"))
}

/// An entity tag of the contents.
fn tag(bytes: &[u8]) -> String {
    let hash = digest(&SHA256, bytes);
    let text: String = hash.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("\"{text}\"")
}

/// Whether the header `If-None-Match` lists the tag. A proxy that compresses makes the tag weak.
fn has_tag(listed: &[u8], tag: &str) -> bool {
    let listed = String::from_utf8_lossy(listed);
    listed.split(',').map(str::trim).any(|one| one == "*" || one.strip_prefix("W/").unwrap_or(one) == tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tag_is_found_in_the_header() {
        let cases = [
            ("\"a\"", true),
            ("W/\"a\"", true),
            ("\"b\", \"a\"", true),
            ("*", true),
            ("\"b\"", false),
            ("", false),
        ];
        for (listed, expected) in cases {
            assert_eq!(has_tag(listed.as_bytes(), "\"a\""), expected, "{listed}");
        }
    }
}
