//! Whether it is there, and whether it takes connections.

use std::sync::Arc;

use axum::extract::State;
use axum::routing::{MethodRouter, get};
use driver::serve::Ending;

use super::Api;
use super::problem::Problem;

pub(super) fn live() -> MethodRouter<Arc<Api>> {
    get(|| async { "ok\n" })
}

pub(super) fn ready() -> MethodRouter<Arc<Api>> {
    get(ready_now)
}

async fn ready_now(State(api): State<Arc<Api>>) -> Result<&'static str, Problem> {
    if *api.ending.borrow() == Ending::Not {
        Ok("ok\n")
    } else {
        Err(Problem::unavailable("the server is ending"))
    }
}
