//! Where the sink listens: each thread has sockets of its own, where the kernel can
//! deal connections out, and else its handle of a common one.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use driver::listen::{Inherited, Listener, bind_unix};
use driver::net::listen_shared;
use driver::socket::{Endpoint, Socket};
use tokio::net::{TcpListener, UnixListener};

use super::terms::Terms;
use crate::config::Place;

/// A socket that listens, and its terms.
#[derive(Debug)]
pub(super) struct Door {
    pub(super) socket: Listening,
    pub(super) terms: Arc<Terms>,
}

/// A socket that listens, and belongs to no runtime yet.
#[derive(Debug)]
pub(super) enum Listening {
    Tcp(std::net::TcpListener),
    Unix(std::os::unix::net::UnixListener),
}

/// All doors.
#[derive(Debug, Default)]
pub(super) struct Doors {
    /// Where they are.
    pub(super) endpoints: Vec<Endpoint>,
    /// Files to be removed at the end.
    pub(super) files: Vec<PathBuf>,
    /// Those of each thread.
    pub(super) threads: Vec<Vec<Door>>,
}

impl Doors {
    /// Listens at all of these places, for so many threads.
    pub(super) fn open<'a>(
        places: impl Iterator<Item = (&'a Place, Arc<Terms>)>,
        threads: usize,
    ) -> Result<Self> {
        let mut inherited = Inherited::take();
        let mut doors = Self {
            threads: (0..threads).map(|_| Vec::new()).collect(),
            ..Self::default()
        };
        for (place, terms) in places {
            let sockets = match place {
                Place::New(endpoint) => doors.listen(endpoint, threads)?,
                Place::Inherited(index) => {
                    let listener = inherited.listener(*index)?;
                    doors.endpoints.push(listener.endpoint()?);
                    Listening::released(listener)?.shared(threads)?
                }
            };
            for (thread, socket) in doors.threads.iter_mut().zip(sockets) {
                let terms = Arc::clone(&terms);
                thread.push(Door { socket, terms });
            }
        }
        Ok(doors)
    }

    fn listen(&mut self, endpoint: &Endpoint, threads: usize) -> Result<Vec<Listening>> {
        let (bound, sockets) = match endpoint {
            Endpoint::Tcp(address) => {
                let sockets = listen_shared(*address, threads)?;
                let bound = sockets.first().map(std::net::TcpListener::local_addr);
                let bound = bound.transpose()?.unwrap_or(*address);
                let sockets = sockets.into_iter().map(Listening::Tcp);
                (bound.into(), sockets.collect())
            }
            Endpoint::Unix(path) => {
                let sockets = Listening::Unix(bind_unix(path)?).shared(threads)?;
                self.files.push(path.clone());
                (endpoint.clone(), sockets)
            }
        };
        self.endpoints.push(bound);
        Ok(sockets)
    }
}

impl Listening {
    /// Takes a socket out of the runtime it was registered with.
    fn released(listener: Listener) -> io::Result<Self> {
        match listener {
            Listener::Tcp(tcp) => {
                // What is accepted inherits it.
                rustix::net::sockopt::set_tcp_nodelay(&tcp, true)?;
                tcp.into_std().map(Self::Tcp)
            }
            Listener::Unix { listener, .. } => listener.into_std().map(Self::Unix),
        }
    }

    /// Handles of one socket: whichever thread has time takes a connection.
    fn shared(&self, threads: usize) -> Result<Vec<Self>> {
        let each = (0..threads).map(|_| match self {
            Self::Tcp(tcp) => tcp.try_clone().map(Self::Tcp),
            Self::Unix(unix) => unix.try_clone().map(Self::Unix),
        });
        each.collect::<io::Result<_>>().context("sharing a socket")
    }

    /// Hands it to the runtime of this thread.
    pub(super) fn registered(self) -> io::Result<Accepting> {
        match self {
            Self::Tcp(tcp) => TcpListener::from_std(tcp).map(Accepting::Tcp),
            Self::Unix(unix) => UnixListener::from_std(unix).map(Accepting::Unix),
        }
    }
}

/// A socket that listens, in the runtime of a thread.
#[derive(Debug)]
pub(super) enum Accepting {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Accepting {
    /// The next connection.
    pub(super) async fn accept(&self) -> io::Result<Socket> {
        match self {
            Self::Tcp(tcp) => tcp.accept().await.map(|(tcp, _)| tcp.into()),
            Self::Unix(unix) => unix.accept().await.map(|(unix, _)| unix.into()),
        }
    }
}
