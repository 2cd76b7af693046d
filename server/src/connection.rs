//! One connection, from its first octet to its last.

use std::sync::Arc;

use driver::journal::Journal;
use driver::listen::Accepted;
use driver::serve::{Ending, ServeError, Service, Waits, serve};
use driver::stream::Stream;
use shared::codec::Limits;
use shared::recording::OpenFacts;
use tokio::sync::watch;

use crate::config::TlsMode;
use crate::policy::{Served, SessionPolicy};
use crate::settings::Site;

/// What a connection is served with.
pub(crate) struct Connection {
    pub(crate) site: Arc<Site>,
    pub(crate) journal: Journal,
    /// Whether the server is to end.
    pub(crate) ending: watch::Receiver<Ending>,
}

impl Connection {
    /// Serves a client until it goes, or must.
    pub(crate) async fn serve(self, accepted: Accepted) {
        let Accepted {
            socket,
            client,
            local,
            listener,
        } = accepted;
        let clock = self.journal.clock();
        let Some(port) = self.site.ports.get(listener) else {
            return;
        };
        let implicit_tls = port.tls == TlsMode::Implicit;
        let facts = OpenFacts {
            role: "server",
            client: Some(client.to_string()),
            listener: Some(local.to_string()),
            implicit_tls,
            ..OpenFacts::default()
        };
        let Ok(mut journal) = self.journal.session(facts) else {
            // The accepting loop hears of it from the journal itself.
            return;
        };
        let limits = &self.site.limits;
        let service = Service {
            clock,
            tls: self.site.tls.clone(),
            implicit_tls,
            limits: Limits::DEFAULT,
            waits: Waits {
                command: limits.timeout_command.0,
                session: limits.timeout_session.0,
                pace: limits.pace(),
                handshake: limits.timeout_tls.0,
                greet_pause: limits.greet_pause.0,
            },
            ending: self.ending,
        };
        let served = Served {
            listener,
            client: client.clone(),
            session: journal.session(),
        };
        let policy = SessionPolicy::new(Arc::clone(&self.site), clock, served);
        let Some(mut policy) = policy else {
            return;
        };
        match serve(Stream::new(socket), &service, &mut policy, &mut journal).await {
            Ok(()) => tracing::debug!("{client}: ended"),
            Err(ServeError::Wire(error)) => tracing::info!("{client}: {error}"),
            // The accepting loop ends the server with it, and says so.
            Err(error @ ServeError::Journal(_)) => tracing::info!("{client}: {error}"),
        }
    }
}
