//! The name of a VM in a path.

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;

use super::error::ApiError;

/// The name of a VM from the path; the VM may not exist.
pub(super) struct VmPath(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for VmPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        let Path(name) = path.map_err(|error| ApiError::bad_request(format!("the VM's name: {error}")))?;
        Ok(Self(name))
    }
}
