//! Numbers for Prometheus.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::{MethodRouter, get};

use super::Api;

pub(super) fn methods() -> MethodRouter<Arc<Api>> {
    get(numbers)
}

async fn numbers(State(api): State<Arc<Api>>) -> impl IntoResponse {
    let media_type = "text/plain; version=0.0.4; charset=utf-8";
    ([(CONTENT_TYPE, media_type)], api.site.monitor.metrics())
}
