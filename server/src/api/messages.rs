//! Messages that were kept: which there are, each, and their octets.

use std::io::SeekFrom;
use std::path::Path;
use std::sync::Arc;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use futures_util::stream::try_unfold;
use serde::Serialize;
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt, Take};

use super::filter::Filter;
use super::parameters::{Id, LARGEST, Parameters};
use super::problem::Problem;
use super::{Api, SCHEMA};
use crate::inbox::{Place, Received};
use crate::store::mbox::Unquoting;

/// So many messages are in one answer, unless told otherwise.
const PAGE: u64 = 100;

/// The most that one answer has.
pub(super) const MOST: u64 = 1000;

/// So much of a message is read at once.
const CHUNK: usize = 64 * 1024;

pub(super) fn collection() -> MethodRouter<Arc<Api>> {
    get(list).delete(forget)
}

pub(super) fn one() -> MethodRouter<Arc<Api>> {
    get(show)
}

pub(super) fn raw() -> MethodRouter<Arc<Api>> {
    get(octets)
}

/// Some messages.
#[derive(Debug, Serialize)]
pub(super) struct Found {
    pub(super) schema: u32,
    pub(super) messages: Vec<Received>,
    /// What `after` has to be to go on.
    pub(super) next: Option<u64>,
}

#[derive(Serialize)]
struct Message {
    schema: u32,
    #[serde(flatten)]
    message: Received,
}

#[derive(Serialize)]
struct Forgotten {
    schema: u32,
    forgotten: u64,
}

async fn list(State(api): State<Arc<Api>>, parameters: Parameters) -> Result<Json<Found>, Problem> {
    let known = [&Filter::PARAMETERS[..], &["after", "limit"]].concat();
    let parameters = parameters.only(&known)?;
    let filter = Filter::of(&parameters)?;
    let after = parameters.number("after", 0..=LARGEST)?.unwrap_or(0);
    let limit = parameters.number("limit", 1..=MOST)?.unwrap_or(PAGE);
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let inbox = &api.site.inbox;
    // One more than asked for tells whether there are more.
    let mut messages = inbox.after(after, limit + 1, |one| filter.holds(one));
    let more = messages.len() > limit;
    messages.truncate(limit);
    Ok(Json(Found {
        schema: SCHEMA,
        next: messages.last().filter(|_| more).map(|last| last.number),
        messages,
    }))
}

async fn forget(
    State(api): State<Arc<Api>>,
    parameters: Parameters,
) -> Result<Json<impl Serialize>, Problem> {
    let filter = Filter::of(&parameters.only(&Filter::PARAMETERS)?)?;
    Ok(Json(Forgotten {
        schema: SCHEMA,
        forgotten: api.site.inbox.forget(|one| filter.holds(one)),
    }))
}

async fn show(
    State(api): State<Arc<Api>>,
    Id(id): Id,
    parameters: Parameters,
) -> Result<Json<impl Serialize>, Problem> {
    parameters.only(&[])?;
    Ok(Json(Message {
        schema: SCHEMA,
        message: find(&api, &id)?,
    }))
}

async fn octets(
    State(api): State<Arc<Api>>,
    Id(id): Id,
    parameters: Parameters,
) -> Result<Response, Problem> {
    parameters.only(&[])?;
    let message = find(&api, &id)?;
    let (length, body) = match &message.place {
        Place::Memory(bytes) => (bytes.len() as u64, Body::from(bytes.clone())),
        Place::File(path) => file(path, message.lead as u64).await?,
        Place::Mbox { path, at, length } => {
            // If it was changed there, the body breaks off, or has more than it may.
            let body = from_mbox(&message, path, *at, *length).await?;
            (message.octets, body)
        }
        Place::Forgotten => {
            let detail = "the message was in memory, and has made room for later ones";
            return Err(Problem::not_found(detail));
        }
        Place::Nowhere => {
            let detail = "the message was not kept: the server has --store null";
            return Err(Problem::not_found(detail));
        }
    };
    let name = format!("attachment; filename=\"{}.eml\"", message.id);
    let headers = [
        (CONTENT_TYPE, "message/rfc822".to_owned()),
        (CONTENT_LENGTH, length.to_string()),
        (CONTENT_DISPOSITION, name),
    ];
    Ok((headers, body).into_response())
}

fn find(api: &Api, id: &str) -> Result<Received, Problem> {
    let found = api.site.inbox.find(id);
    found.ok_or_else(|| Problem::not_found("there is no such message"))
}

/// What is in a file from there on as a body, piece by piece.
async fn file(path: &Path, from: u64) -> Result<(u64, Body), Problem> {
    let mut file = File::open(path).await.map_err(|error| gone(&error))?;
    let length = file.metadata().await.map_err(|error| gone(&error))?.len();
    file.seek(SeekFrom::Start(from))
        .await
        .map_err(|error| gone(&error))?;
    let length = length.saturating_sub(from);
    let pieces = try_unfold(file.take(length), |mut file| async move {
        let mut chunk = Vec::with_capacity(CHUNK);
        let mut piece = (&mut file).take(CHUNK as u64);
        let read = piece.read_to_end(&mut chunk).await?;
        Ok::<_, std::io::Error>((read > 0).then(|| (Bytes::from(chunk), file)))
    });
    Ok((length, Body::from_stream(pieces)))
}

/// A message in an mbox as a body, unquoted piece by piece.
async fn from_mbox(message: &Received, part: &Path, at: u64, length: u64) -> Result<Body, Problem> {
    let mut file = File::open(part).await.map_err(|error| gone(&error))?;
    let there = file.metadata().await.map_err(|error| gone(&error))?.len();
    if there < at.saturating_add(length) {
        return Err(gone(&std::io::ErrorKind::UnexpectedEof.into()));
    }
    let found = file.seek(SeekFrom::Start(at)).await;
    found.map_err(|error| gone(&error))?;
    let quoted = Quoted {
        file: file.take(length),
        unquoting: Unquoting::new(),
        lead: message.lead,
        ended: false,
    };
    let pieces = try_unfold(quoted, |mut quoted| async move {
        let piece = quoted.next().await?;
        Ok::<_, std::io::Error>(piece.map(|piece| (piece, quoted)))
    });
    Ok(Body::from_stream(pieces))
}

/// A message in an mbox, while it is read.
struct Quoted {
    file: Take<File>,
    unquoting: Unquoting,
    /// Octets of trace header that are still to be left out.
    lead: usize,
    ended: bool,
}

impl Quoted {
    /// The next piece of content.
    async fn next(&mut self) -> std::io::Result<Option<Bytes>> {
        while !self.ended {
            let mut chunk = Vec::with_capacity(CHUNK);
            let mut piece = (&mut self.file).take(CHUNK as u64);
            self.ended = piece.read_to_end(&mut chunk).await? == 0;
            let plain = if self.ended {
                self.unquoting.finish()
            } else {
                self.unquoting.take(&chunk)
            };
            let mut plain = Bytes::from(plain);
            let lead = self.lead.min(plain.len());
            self.lead -= lead;
            let content = plain.split_off(lead);
            if !content.is_empty() {
                return Ok(Some(content));
            }
        }
        Ok(None)
    }
}

/// Whoever it was delivered to may have moved or removed it.
fn gone(error: &std::io::Error) -> Problem {
    Problem::not_found(format!("the message is not where it was put: {error}"))
}
