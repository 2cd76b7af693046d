//! Between two tests: forgetting what the last one left.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{MethodRouter, post};

use super::Api;
use super::parameters::Parameters;
use super::problem::Problem;

pub(super) fn methods() -> MethodRouter<Arc<Api>> {
    post(reset)
}

async fn reset(State(api): State<Arc<Api>>, parameters: Parameters) -> Result<StatusCode, Problem> {
    parameters.only(&[])?;
    api.site.inbox.clear();
    api.site.monitor.forget();
    Ok(StatusCode::NO_CONTENT)
}
