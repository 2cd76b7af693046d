//! Serves HTTP connections, within limits, until told to end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use axum::{Extension, Router};
use driver::serve::Ending;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::guard::Local;
use super::stream::Impatient;
use super::{Api, Guard, WAITING};
use crate::config;
use crate::settings::Site;

/// Connections at a time; more wait to be accepted.
const CONNECTIONS: usize = 128;

/// Octets of the header of a request.
const HEADER: usize = 16 * 1024;

/// Lines of it.
const HEADER_LINES: usize = 64;

/// How long requests may take to be answered when the API ends.
const GRACE: Duration = Duration::from_secs(2);

/// The API, where it listens.
#[derive(Debug)]
pub struct Http {
    listener: TcpListener,
    address: SocketAddr,
}

/// What a connection is served with.
#[derive(Clone)]
struct Service {
    router: Router,
    /// How long a client may take for the header of a request, or take nothing of the
    /// answer.
    patience: Duration,
}

/// The API, while it is served.
pub(crate) struct Running {
    over: watch::Sender<bool>,
    connections: tokio::task::JoinHandle<()>,
}

impl Http {
    /// Listens there.
    pub fn bind(address: SocketAddr) -> Result<Self> {
        let listener = driver::net::listen(address)?;
        let address = listener.local_addr().context("asking for the port")?;
        Ok(Self { listener, address })
    }

    /// Where it listens, as a URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Serves what is known of the site.
    pub(crate) fn serve(
        self,
        site: Arc<Site>,
        guard: Guard,
        options: &config::Api,
        ending: watch::Receiver<Ending>,
    ) -> Running {
        let (sender, over) = watch::channel(false);
        let api = Arc::new(Api {
            site,
            guard,
            ending,
            over: over.clone(),
            max_wait: options.http_max_wait.0,
            waiting: Arc::new(Semaphore::new(WAITING)),
        });
        let service = Service {
            router: api.router(),
            patience: options.http_timeout.0,
        };
        Running {
            over: sender,
            connections: tokio::spawn(accept(self.listener, service, over)),
        }
    }
}

impl Running {
    /// Answers what was asked, and serves no more.
    pub(crate) async fn end(self) {
        self.over.send_replace(true);
        let _ = self.connections.await;
    }
}

/// Waits until it is over.
pub(super) async fn is_over(over: &mut watch::Receiver<bool>) {
    // Whoever would tell us is gone: it is over, too.
    let _ = over.wait_for(|over| *over).await;
}

async fn accept(listener: TcpListener, service: Service, mut over: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < CONNECTIONS => match accepted {
                Ok((tcp, client)) => {
                    connections.spawn(connection(tcp, client, service.clone(), over.clone()));
                }
                Err(error) => {
                    // Out of descriptors, most likely: trying again at once would spin.
                    tracing::warn!("http: cannot accept: {error}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
            Some(_) = connections.join_next() => {}
            () = is_over(&mut over) => break,
        }
    }
    drop(listener);
    let ended = async { while connections.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(GRACE, ended).await;
    connections.shutdown().await;
}

async fn connection(
    tcp: TcpStream,
    client: SocketAddr,
    service: Service,
    mut over: watch::Receiver<bool>,
) {
    let Ok(local) = tcp.local_addr() else {
        return;
    };
    let _ = tcp.set_nodelay(true);
    let router = service.router.layer(Extension(Local(local)));
    let stream = TokioIo::new(Impatient::new(tcp, service.patience));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(service.patience)
        .max_buf_size(HEADER)
        .max_headers(HEADER_LINES)
        .serve_connection(stream, TowerToHyperService::new(router));
    let mut connection = std::pin::pin!(connection);
    let served = tokio::select! {
        served = connection.as_mut() => served,
        () = is_over(&mut over) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        tracing::debug!("http: {client}: {error}");
    }
}
