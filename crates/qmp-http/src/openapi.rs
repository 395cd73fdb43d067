//! `GET /v1/openapi.json`: the interface in `OpenAPI` 3.1.
//!
//! The document is written by hand. Tests compare it with the router and with responses of a hub.

use axum::http::header;
use axum::response::{IntoResponse, Response};

const DOCUMENT: &str = include_str!("openapi.json");

pub(super) async fn openapi() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], DOCUMENT).into_response()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;
    use crate::router::routes;

    #[test]
    fn document_has_exactly_the_routes() {
        let document: Value = serde_json::from_str(DOCUMENT).expect("JSON");
        let mut described = BTreeSet::new();
        for (path, item) in document["paths"].as_object().expect("paths") {
            for method in item.as_object().expect("methods").keys().filter(|key| *key != "parameters") {
                described.insert((method.to_uppercase(), path.clone()));
            }
        }
        let api = routes().into_iter().map(|(method, path, _)| (method.to_owned(), path.to_owned()));
        assert_eq!(described, api.collect());
    }

    #[test]
    fn document_has_exactly_the_kinds_of_sinks() {
        let document: Value = serde_json::from_str(DOCUMENT).expect("JSON");
        let described = &document["components"]["schemas"]["Sink"]["properties"]["kind"]["enum"];
        let kinds: Vec<&str> = qmp_sinks::KINDS.iter().map(|kind| kind.key()).collect();
        assert_eq!(*described, serde_json::json!(kinds));
    }
}
