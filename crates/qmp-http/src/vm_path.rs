//! The name of a VM in a path.

use std::borrow::Cow;

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;

use super::error::ApiError;

/// The name of a VM from the path; the VM may not exist.
pub(super) struct VmPath(pub(super) String);

/// The most characters of a VM's name in an error.
const NAME_SHOWN_MAX_CHARS: usize = 100;

/// The name for an error: what a client wrote may be as long as a request.
pub(super) fn shortened(name: &str) -> Cow<'_, str> {
    match name.char_indices().nth(NAME_SHOWN_MAX_CHARS) {
        Some((end, _)) => format!("{}…", &name[..end]).into(),
        None => name.into(),
    }
}

impl<S: Send + Sync> FromRequestParts<S> for VmPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        let Path(name) = path.map_err(|error| ApiError::bad_request(format!("the VM's name: {error}")))?;
        Ok(Self(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_name_is_shortened_for_an_error() {
        assert_eq!(shortened("web1"), "web1");
        assert_eq!(shortened(&"ä".repeat(100)), "ä".repeat(100));
        assert_eq!(shortened(&"ä".repeat(60_000)), format!("{}…", "ä".repeat(100)));
    }
}
