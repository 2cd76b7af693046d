//! What happens, as it happens: server-sent events.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{self, KeepAlive, Sse};
use axum::routing::{MethodRouter, get};
use futures_util::stream::{Stream, unfold};
use serde_json::json;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use super::Api;
use super::parameters::Parameters;
use super::problem::Problem;
use crate::monitor::Event;

/// Where nothing happens, a comment this often shows that the connection is alive.
const ALIVE: Duration = Duration::from_secs(15);

pub(super) fn methods() -> MethodRouter<Arc<Api>> {
    get(follow)
}

async fn follow(
    State(api): State<Arc<Api>>,
    parameters: Parameters,
) -> Result<Sse<impl Stream<Item = Result<sse::Event, Infallible>>>, Problem> {
    parameters.only(&[])?;
    let follower = Follower {
        _place: api.wait()?,
        events: api.site.monitor.events(),
        api,
        greeted: false,
    };
    let events = unfold(follower, |mut follower| async {
        let event = follower.next().await?;
        Some((Ok(event), follower))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(ALIVE)))
}

/// Somebody who follows what happens.
struct Follower {
    api: Arc<Api>,
    events: Receiver<Arc<Event>>,
    greeted: bool,
    _place: OwnedSemaphorePermit,
}

impl Follower {
    /// The next event; none when it is over.
    async fn next(&mut self) -> Option<sse::Event> {
        if !std::mem::replace(&mut self.greeted, true) {
            // Whoever waits for this before it acts misses nothing.
            return Some(sse::Event::default().comment("following"));
        }
        let event = tokio::select! {
            biased;
            event = self.events.recv() => event,
            () = self.api.over() => return None,
        };
        let (name, data) = match event {
            Ok(event) => (event.name(), json!(*event)),
            Err(RecvError::Lagged(missed)) => ("missed", json!({ "missed": missed })),
            Err(RecvError::Closed) => return None,
        };
        Some(sse::Event::default().event(name).data(data.to_string()))
    }
}
