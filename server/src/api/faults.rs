//! The rules by which the server misbehaves: which there are, and other ones.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::routing::{MethodRouter, get};
use serde::{Deserialize, Serialize};
use shared::fault::RuleId;
use shared::fault::engine::{Life, Shown};
use shared::fault::preset::Fault;

use super::guard::BODY;
use super::parameters::{LARGEST, Parameters};
use super::problem::Problem;
use super::{Api, SCHEMA};
use crate::fault::Origin;

pub(super) fn methods() -> MethodRouter<Arc<Api>> {
    let most = usize::try_from(BODY).unwrap_or(usize::MAX);
    get(list)
        .put(replace)
        .post(add)
        .delete(remove)
        .layer(DefaultBodyLimit::max(most))
}

#[derive(Serialize)]
struct Answer {
    schema: u32,
    /// As text: it may be greater than what all readers of JSON agree on.
    seed: String,
    rules: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    id: u64,
    /// The preset or the failure that it is of.
    name: Option<String>,
    rule: String,
    hits: u64,
    once: bool,
}

/// What takes the place of all rules.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    rules: Vec<String>,
}

/// What is added.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct More {
    rule: String,
    #[serde(default)]
    once: bool,
}

impl From<Shown> for Row {
    fn from(shown: Shown) -> Self {
        Self {
            id: shown.id.0,
            name: (!shown.name.is_empty()).then(|| shown.name.to_string()),
            rule: shown.rule.to_string(),
            hits: shown.hits,
            once: shown.life == Life::Once,
        }
    }
}

impl Answer {
    fn of(api: &Api) -> Json<Self> {
        let faults = &api.site.faults;
        Json(Self {
            schema: SCHEMA,
            seed: faults.seed().to_string(),
            rules: faults.rules().into_iter().map(Row::from).collect(),
        })
    }
}

async fn list(
    State(api): State<Arc<Api>>,
    parameters: Parameters,
) -> Result<Json<Answer>, Problem> {
    parameters.only(&[])?;
    Ok(Answer::of(&api))
}

async fn replace(
    State(api): State<Arc<Api>>,
    parameters: Parameters,
    body: Bytes,
) -> Result<Json<Answer>, Problem> {
    parameters.only(&[])?;
    let wanted: Wanted = said(&body)?;
    if !wanted.rules.is_empty() {
        can_have_rules(&api)?;
    }
    let faults = wanted.rules.iter().map(|text| fault(text));
    let faults: Vec<Fault> = faults.collect::<Result<_, _>>()?;
    let replaced = api.site.faults.replace(&faults, Origin::Api);
    replaced.map_err(|error| Problem::bad_request(format!("{error:#}")))?;
    Ok(Answer::of(&api))
}

async fn add(
    State(api): State<Arc<Api>>,
    parameters: Parameters,
    body: Bytes,
) -> Result<(StatusCode, Json<Answer>), Problem> {
    parameters.only(&[])?;
    let more: More = said(&body)?;
    can_have_rules(&api)?;
    let life = if more.once { Life::Once } else { Life::Stays };
    let added = api.site.faults.add(&fault(&more.rule)?, life, Origin::Api);
    added.map_err(|error| Problem::bad_request(format!("{error:#}")))?;
    Ok((StatusCode::CREATED, Answer::of(&api)))
}

async fn remove(
    State(api): State<Arc<Api>>,
    parameters: Parameters,
) -> Result<StatusCode, Problem> {
    let parameters = parameters.only(&["id"])?;
    match parameters.number("id", 1..=LARGEST)? {
        None => api.site.faults.clear(),
        Some(id) if api.site.faults.remove(RuleId(id)) => {}
        Some(_) => return Err(Problem::not_found("there is no such rule")),
    }
    Ok(StatusCode::NO_CONTENT)
}

/// A server that plays scripts would never look at a rule.
fn can_have_rules(api: &Api) -> Result<(), Problem> {
    if api.site.scripts.is_empty() {
        return Ok(());
    }
    let detail = "rules do nothing with --script: the script says everything";
    Err(Problem::bad_request(detail))
}

fn said<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Problem> {
    serde_json::from_slice(body)
        .map_err(|error| Problem::bad_request(format!("the request is no such JSON: {error}")))
}

fn fault(text: &str) -> Result<Fault, Problem> {
    let fault: Result<Fault, _> = text.parse();
    fault.map_err(|error| Problem::bad_request(format!("'{text}': {error}")))
}
