//! Sessions: which there were, each, and what was said in it.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use serde::Serialize;
use tokio::task::spawn_blocking;

use super::messages::MOST;
use super::parameters::{Id, LARGEST, Parameters};
use super::problem::Problem;
use super::{Api, SCHEMA};
use crate::monitor::{Snapshot, Summary};

/// So many sessions are in one answer, unless told otherwise.
const PAGE: u64 = 100;

pub(super) fn collection() -> MethodRouter<Arc<Api>> {
    get(list)
}

pub(super) fn one() -> MethodRouter<Arc<Api>> {
    get(show)
}

pub(super) fn transcript() -> MethodRouter<Arc<Api>> {
    get(as_transcript)
}

pub(super) fn recording() -> MethodRouter<Arc<Api>> {
    get(as_recording)
}

#[derive(Serialize)]
struct Found {
    schema: u32,
    sessions: Vec<Summary>,
    /// What `after` has to be to go on.
    next: Option<u64>,
}

#[derive(Serialize)]
struct Session {
    schema: u32,
    #[serde(flatten)]
    session: Summary,
}

async fn list(
    State(api): State<Arc<Api>>,
    parameters: Parameters,
) -> Result<Json<impl Serialize>, Problem> {
    let parameters = parameters.only(&["open", "after", "limit"])?;
    let open: Option<bool> = parameters.parsed("open")?;
    let after = parameters.number("after", 0..=LARGEST)?.unwrap_or(0);
    let limit = parameters.number("limit", 1..=MOST)?.unwrap_or(PAGE);
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let holds = |one: &Summary| open.is_none_or(|open| open == one.end.is_none());
    // One more than asked for tells whether there are more.
    let mut sessions = api.site.monitor.sessions(after, limit + 1, holds);
    let more = sessions.len() > limit;
    sessions.truncate(limit);
    Ok(Json(Found {
        schema: SCHEMA,
        next: sessions.last().filter(|_| more).map(|last| last.id),
        sessions,
    }))
}

async fn show(
    State(api): State<Arc<Api>>,
    Id(id): Id,
    parameters: Parameters,
) -> Result<Json<impl Serialize>, Problem> {
    parameters.only(&[])?;
    let found = number(&id).and_then(|number| api.site.monitor.session(number));
    Ok(Json(Session {
        schema: SCHEMA,
        session: found.ok_or_else(missing)?,
    }))
}

async fn as_transcript(
    State(api): State<Arc<Api>>,
    Id(id): Id,
    parameters: Parameters,
) -> Result<Response, Problem> {
    parameters.only(&[])?;
    let snapshot = find(&api, &id)?;
    let text = spawn_blocking(move || snapshot.transcript()).await;
    let text = text.map_err(Problem::internal)?;
    let text = text.map_err(Problem::internal)?;
    Ok(([(CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response())
}

async fn as_recording(
    State(api): State<Arc<Api>>,
    Id(id): Id,
    parameters: Parameters,
) -> Result<Response, Problem> {
    parameters.only(&[])?;
    let snapshot = find(&api, &id)?;
    let lines = spawn_blocking(move || snapshot.recording()).await;
    let lines = lines.map_err(Problem::internal)?;
    Ok(([(CONTENT_TYPE, "application/vnd.helo.rec+jsonl")], lines).into_response())
}

fn find(api: &Api, id: &str) -> Result<Snapshot, Problem> {
    let found = number(id).and_then(|number| api.site.monitor.snapshot(number));
    found.ok_or_else(missing)
}

/// A number as it is printed, and in no other spelling.
fn number(id: &str) -> Option<u64> {
    let number: u64 = id.parse().ok()?;
    (number.to_string() == id).then_some(number)
}

fn missing() -> Problem {
    Problem::not_found("there is no such session, or it is not remembered any more")
}
