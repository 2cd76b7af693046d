//! The description of the API, for tools.

use std::sync::Arc;

use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::{MethodRouter, get};

use super::Api;

/// Written by hand; tests hold it and the API together.
const DOCUMENT: &str = include_str!("openapi.json");

pub(super) fn methods() -> MethodRouter<Arc<Api>> {
    get(show)
}

async fn show() -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json")], DOCUMENT)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;
    use crate::api::RESOURCES;

    #[test]
    fn every_resource_is_described_and_nothing_else() {
        let document: Value = serde_json::from_str(DOCUMENT).unwrap();
        let paths = document["paths"].as_object().unwrap();
        let described: BTreeSet<&str> = paths.keys().map(String::as_str).collect();
        let there: BTreeSet<&str> = RESOURCES.iter().map(|one| one.path).collect();
        assert_eq!(described, there);
    }
}
