//! Waiting for messages: an answer when they are there, and not a moment later.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{MethodRouter, get};
use serde_json::json;
use shared::quantity::Period;

use super::filter::Filter;
use super::messages::{Found, MOST};
use super::parameters::{LARGEST, Parameters};
use super::problem::Problem;
use super::{Api, SCHEMA};
use crate::inbox::{Inbox, Received};

/// How long is waited, unless told otherwise.
const TIMEOUT: Duration = Duration::from_secs(30);

pub(super) fn methods() -> MethodRouter<Arc<Api>> {
    get(wait)
}

async fn wait(State(api): State<Arc<Api>>, parameters: Parameters) -> Result<Json<Found>, Problem> {
    let known = [&Filter::PARAMETERS[..], &["after", "count", "timeout"]].concat();
    let parameters = parameters.only(&known)?;
    let count = parameters.number("count", 1..=MOST)?.unwrap_or(1);
    let timeout: Option<Period> = parameters.parsed("timeout")?;
    let timeout = timeout.map_or(TIMEOUT, |period| period.0).min(api.max_wait);
    let mut wanted = Wanted {
        filter: Filter::of(&parameters)?,
        count: usize::try_from(count).unwrap_or(usize::MAX),
        seen: parameters.number("after", 0..=LARGEST)?.unwrap_or(0),
        found: Vec::new(),
    };
    let _place = api.wait()?;
    let ended = tokio::select! {
        () = wanted.come(&api.site.inbox) => None,
        // It is no fault of the server's that nobody sent them.
        () = tokio::time::sleep(timeout) => Some((StatusCode::REQUEST_TIMEOUT, "time is up")),
        () = api.over() => Some((StatusCode::SERVICE_UNAVAILABLE, "the server ends")),
    };
    match ended {
        None => Ok(Json(Found {
            schema: SCHEMA,
            messages: wanted.found,
            next: None,
        })),
        Some((status, why)) => {
            let there = wanted.found.len();
            let detail = format!("{why}: {there} of {count} messages are there");
            let problem = Problem::new(status, detail);
            Err(problem.with("messages", json!(wanted.found)))
        }
    }
}

/// Messages that are waited for.
struct Wanted {
    filter: Filter,
    count: usize,
    /// Up to this number they have been looked at.
    seen: u64,
    found: Vec<Received>,
}

impl Wanted {
    /// Waits until they are there.
    async fn come(&mut self, inbox: &Inbox) {
        let mut news = inbox.count();
        loop {
            // What comes while we look is news once more.
            let newest = *news.borrow_and_update();
            let missing = self.count - self.found.len();
            let filter = &self.filter;
            let found = inbox.after(self.seen, missing, |one| filter.holds(one));
            // Who waits does not keep in memory what has made room for others.
            self.found
                .extend(found.into_iter().map(Received::without_content));
            if self.found.len() >= self.count {
                return;
            }
            self.seen = self.seen.max(newest);
            if news.changed().await.is_err() {
                // Nothing will come any more: others tell when it is over.
                std::future::pending::<()>().await;
            }
        }
    }
}
