//! The HTTP API: messages, sessions, metrics, faults, and waiting for what is to come.
//!
//! It reads what the [`Inbox`](crate::inbox::Inbox) and the
//! [`Monitor`](crate::monitor::Monitor) know, and forgets it on request; there is
//! nothing in it that a session waits for. It changes nothing but the rules of faults. A resource is a file and a row in
//! `RESOURCES`; `openapi.json` describes them all, and tests hold the two together.

mod document;
mod events;
mod faults;
mod filter;
mod guard;
mod health;
mod messages;
mod metrics;
mod parameters;
mod problem;
mod reset;
mod serve;
mod sessions;
mod stream;
mod wait;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::MethodRouter;
use driver::serve::Ending;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::settings::Site;

pub use guard::{Guard, Token};
pub use serve::Http;

use problem::Problem;

/// The version of what is answered, in every answer.
const SCHEMA: u32 = 1;

/// Requests that may wait for something at a time; less than there are connections,
/// so that those who do not wait are answered.
const WAITING: usize = 64;

/// What the resources need.
pub(crate) struct Api {
    site: Arc<Site>,
    guard: Guard,
    /// Whether the server is to end.
    ending: watch::Receiver<Ending>,
    /// Becomes true when the API is to end, too.
    over: watch::Receiver<bool>,
    /// The longest that a request may wait.
    max_wait: Duration,
    waiting: Arc<Semaphore>,
}

/// Something that can be asked for.
struct Resource {
    path: &'static str,
    methods: fn() -> MethodRouter<Arc<Api>>,
}

const RESOURCES: &[Resource] = &[
    Resource::new("/livez", health::live),
    Resource::new("/readyz", health::ready),
    Resource::new("/metrics", metrics::methods),
    Resource::new("/api/v1/openapi.json", document::methods),
    Resource::new("/api/v1/messages", messages::collection),
    Resource::new("/api/v1/messages/{id}", messages::one),
    Resource::new("/api/v1/messages/{id}/raw", messages::raw),
    Resource::new("/api/v1/sessions", sessions::collection),
    Resource::new("/api/v1/sessions/{id}", sessions::one),
    Resource::new("/api/v1/sessions/{id}/transcript", sessions::transcript),
    Resource::new("/api/v1/sessions/{id}/recording", sessions::recording),
    Resource::new("/api/v1/wait", wait::methods),
    Resource::new("/api/v1/events", events::methods),
    Resource::new("/api/v1/faults", faults::methods),
    Resource::new("/api/v1/reset", reset::methods),
];

impl Resource {
    const fn new(path: &'static str, methods: fn() -> MethodRouter<Arc<Api>>) -> Self {
        Self { path, methods }
    }
}

impl Api {
    /// All resources, behind the guard.
    fn router(self: Arc<Self>) -> Router {
        let mut router = Router::new();
        for resource in RESOURCES {
            router = router.route(resource.path, (resource.methods)());
        }
        let guard = axum::middleware::from_fn_with_state(Arc::clone(&self), guard::check);
        router
            .fallback(|| async { Problem::not_found("there is no such resource") })
            .method_not_allowed_fallback(|| async { Problem::method_not_allowed() })
            .layer(guard)
            .with_state(self)
    }

    /// A place among those who wait, until it is dropped.
    fn wait(&self) -> Result<OwnedSemaphorePermit, Problem> {
        let waiting = Arc::clone(&self.waiting);
        waiting.try_acquire_owned().map_err(|_| {
            Problem::unavailable(format!("{WAITING} requests wait already; try again later"))
        })
    }

    /// Waits until the API is to end.
    async fn over(&self) {
        serve::is_over(&mut self.over.clone()).await;
    }
}
