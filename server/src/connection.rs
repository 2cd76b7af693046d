//! One connection, from its first octet to its last.

use std::io;
use std::sync::Arc;

use driver::journal::{Journal, SessionJournal};
use driver::listen::Accepted;
use driver::proxied::read_header;
use driver::serve::{Due, Ending, ServeError, Service, Waits, play, serve};
use driver::socket::{Endpoint, Socket};
use driver::stream::Stream;
use shared::codec::Limits;
use shared::proxy::{Header, Version};
use shared::recording::{NoteFacts, OpenFacts, Via};
use shared::script::Player;
use tokio::sync::watch;

use crate::config::{ProxyHeader, TlsMode};
use crate::monitor::Limit;
use crate::policy::{Served, SessionPolicy};
use crate::script::Named;
use crate::settings::{Port, Site};

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
            mut socket,
            client: peer,
            local,
            listener,
        } = accepted;
        let Some(port) = self.site.ports.get(listener) else {
            return;
        };
        let header = match self.proxy_header(port, &mut socket, &peer).await {
            Ok(header) => header,
            Err(error) => {
                tracing::warn!("{peer}: no PROXY header: {error}");
                return;
            }
        };
        let told = header.as_ref().and_then(|header| header.origin.source());
        let client = told.map_or_else(|| peer.clone(), Endpoint::Tcp);
        let implicit_tls = port.tls == TlsMode::Implicit;
        let facts = OpenFacts {
            role: "server",
            client: Some(client.to_string()),
            listener: Some(local.to_string()),
            listener_name: Some(port.name.clone()),
            implicit_tls,
            via: header.map(|header| Via {
                protocol: match header.version {
                    Version::One => "PROXY1",
                    Version::Two => "PROXY2",
                },
                peer: peer.to_string(),
            }),
            ..OpenFacts::default()
        };
        let Ok(mut journal) = self.journal.session(facts) else {
            // The accepting loop hears of it from the journal itself.
            return;
        };
        let service = self.service(implicit_tls);
        let stream = Stream::new(socket);
        let served = Served {
            listener,
            client: client.clone(),
            session: journal.session(),
        };
        let served = match self.site.scripts.of(journal.session()) {
            Some(named) => self.play(stream, &service, named, &mut journal).await,
            None => self.decide(stream, &service, served, &mut journal).await,
        };
        match served {
            Ok(()) => tracing::debug!("{client}: ended"),
            Err(ServeError::Wire(error)) => tracing::info!("{client}: {error}"),
            // The accepting loop ends the server with it, and says so.
            Err(error @ ServeError::Journal(_)) => tracing::info!("{client}: {error}"),
        }
    }

    fn service(&self, implicit_tls: bool) -> Service {
        let limits = &self.site.limits;
        Service {
            clock: self.journal.clock(),
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
            ending: self.ending.clone(),
        }
    }

    /// Serves it as the options say.
    async fn decide(
        &self,
        stream: Stream,
        service: &Service,
        served: Served,
        journal: &mut SessionJournal,
    ) -> Result<(), ServeError> {
        let site = Arc::clone(&self.site);
        let Some(mut policy) = SessionPolicy::new(site, service.clock, served) else {
            return Ok(());
        };
        serve(stream, service, &mut policy, journal).await
    }

    /// Plays a script to it.
    async fn play(
        &self,
        stream: Stream,
        service: &Service,
        named: &Named,
        journal: &mut SessionJournal,
    ) -> Result<(), ServeError> {
        journal.note(&NoteFacts {
            by: "helo-server".into(),
            tag: Some("script".into()),
            bind: vec![("script".into(), named.name.clone())],
            ..NoteFacts::default()
        })?;
        let player = Player::new(Arc::clone(&named.script));
        let mut gave_up = |due: Due| self.site.monitor.tripped(due.into());
        play(stream, service, player, journal, &mut gave_up).await
    }

    /// The header that a proxy must send first, where one is wanted.
    async fn proxy_header(
        &self,
        port: &Port,
        socket: &mut Socket,
        peer: &Endpoint,
    ) -> io::Result<Option<Header>> {
        if port.proxy == ProxyHeader::Off {
            return Ok(None);
        }
        let known = peer.ip().is_none_or(|address| {
            let address = address.to_canonical();
            let mut hosts = self.site.proxy_hosts.iter();
            hosts.any(|host| host.contains(&address))
        });
        if !known {
            return Err(io::Error::other("it is not one of --proxy-hosts"));
        }
        let header = read_header(socket, self.site.limits.timeout_proxy.0).await;
        let header = header.inspect_err(|error| {
            if error.kind() == io::ErrorKind::TimedOut {
                self.site.monitor.tripped(Limit::TimeoutProxy);
            }
        })?;
        if !port.proxy.takes(header.version) {
            return Err(io::Error::other("it is of the other version"));
        }
        Ok(Some(header))
    }
}
