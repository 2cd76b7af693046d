//! Listening: several sockets, one stream of connections, and saying where.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use listenfd::ListenFd;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::net;
use crate::socket::{Endpoint, Socket};

/// A new connection.
#[derive(Debug)]
pub struct Accepted {
    /// The connection.
    pub socket: Socket,
    /// Where the client is.
    pub client: Endpoint,
    /// What it connected to.
    pub local: Endpoint,
    /// Which of the listening sockets it came in by, counted from 0.
    pub listener: usize,
}

/// One listening socket.
#[derive(Debug)]
pub enum Listener {
    /// TCP.
    Tcp(TcpListener),
    /// UNIX domain.
    Unix {
        /// The socket.
        listener: UnixListener,
        /// Where it is.
        endpoint: Endpoint,
        /// We made its file, and remove it when we stop.
        ours: bool,
    },
}

impl Listener {
    /// Listens there. A UNIX socket that nobody listens on any more is replaced.
    pub fn bind(endpoint: &Endpoint) -> Result<Self> {
        match endpoint {
            Endpoint::Tcp(address) => net::listen(*address).map(Self::Tcp),
            Endpoint::Unix(path) => {
                let listener = UnixListener::from_std(bind_unix(path)?)
                    .with_context(|| format!("cannot listen on {endpoint}"))?;
                Ok(Self::Unix {
                    listener,
                    endpoint: endpoint.clone(),
                    ours: true,
                })
            }
        }
    }

    /// Where it listens: with the real port, where port 0 was asked for.
    pub fn endpoint(&self) -> Result<Endpoint> {
        match self {
            Self::Tcp(listener) => listener
                .local_addr()
                .map(Endpoint::Tcp)
                .context("asking for the port"),
            Self::Unix { endpoint, .. } => Ok(endpoint.clone()),
        }
    }

    /// The file to be removed when we stop.
    fn file(&self) -> Option<PathBuf> {
        match self {
            Self::Unix {
                endpoint: Endpoint::Unix(path),
                ours: true,
                ..
            } => Some(path.clone()),
            _ => None,
        }
    }

    async fn accept(&self) -> io::Result<(Socket, Endpoint, Endpoint)> {
        match self {
            Self::Tcp(listener) => {
                let (tcp, client) = listener.accept().await?;
                let local = tcp.local_addr()?;
                Ok((tcp.into(), client.into(), local.into()))
            }
            Self::Unix {
                listener, endpoint, ..
            } => {
                let (unix, client) = listener.accept().await?;
                let path = client.as_pathname().unwrap_or_else(|| Path::new(""));
                Ok((unix.into(), Endpoint::Unix(path.into()), endpoint.clone()))
            }
        }
    }
}

/// Sockets that listen already, made by whoever started us (`sd_listen_fds(3)`).
pub struct Inherited(ListenFd);

impl Inherited {
    /// Takes what there is.
    pub fn take() -> Self {
        Self(ListenFd::from_env())
    }

    /// The socket of that index, counted from 0.
    pub fn listener(&mut self, index: usize) -> Result<Listener> {
        let missing = format!(
            "cannot listen on fd:{index}: {} listening sockets were passed on to us",
            self.0.len()
        );
        if let Ok(Some(tcp)) = self.0.take_tcp_listener(index) {
            tcp.set_nonblocking(true)?;
            return Ok(Listener::Tcp(TcpListener::from_std(tcp)?));
        }
        let unix = self.0.take_unix_listener(index);
        let unix = unix.ok().flatten().context(missing)?;
        unix.set_nonblocking(true)?;
        let path = unix.local_addr()?.as_pathname().map(Path::to_owned);
        Ok(Listener::Unix {
            listener: UnixListener::from_std(unix)?,
            endpoint: Endpoint::Unix(path.unwrap_or_default()),
            ours: false,
        })
    }
}

/// Listens on a UNIX socket, without blocking. One that nobody listens on any more
/// is replaced.
pub fn bind_unix(path: &Path) -> Result<std::os::unix::net::UnixListener> {
    replace_stale(path)?;
    let bind = || {
        let listener = std::os::unix::net::UnixListener::bind(path)?;
        listener.set_nonblocking(true)?;
        io::Result::Ok(listener)
    };
    bind().with_context(|| format!("cannot listen on unix:{}", path.display()))
}

/// Removes the socket file that a program which was killed has left behind.
fn replace_stale(path: &Path) -> Result<()> {
    let Ok(metadata) = fs::symlink_metadata(path) else {
        return Ok(());
    };
    if !metadata.file_type().is_socket() {
        bail!(
            "cannot listen on unix:{}: a file is there that is no socket",
            path.display()
        );
    }
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        bail!(
            "cannot listen on unix:{}: somebody listens there already",
            path.display()
        );
    }
    fs::remove_file(path).with_context(|| format!("removing the old socket {}", path.display()))
}

/// Some listening sockets.
#[derive(Debug)]
pub struct Listeners {
    endpoints: Vec<Endpoint>,
    /// Files of UNIX sockets to be removed at the end.
    files: Vec<PathBuf>,
    accepted: mpsc::Receiver<Accepted>,
    tasks: JoinSet<()>,
}

impl Listeners {
    /// Listens on all of these, or on none.
    pub fn bind(wanted: &[Endpoint]) -> Result<Self> {
        let listeners = wanted.iter().map(Listener::bind);
        Self::of(listeners.collect::<Result<_>>()?)
    }

    /// Takes sockets that listen already.
    pub fn of(listeners: Vec<Listener>) -> Result<Self> {
        let endpoints = listeners.iter().map(Listener::endpoint);
        let endpoints = endpoints.collect::<Result<_>>()?;
        let files = listeners.iter().filter_map(Listener::file).collect();
        let (sender, accepted) = mpsc::channel(1);
        let mut tasks = JoinSet::new();
        for (index, listener) in listeners.into_iter().enumerate() {
            tasks.spawn(accept_loop(listener, index, sender.clone()));
        }
        Ok(Self {
            endpoints,
            files,
            accepted,
            tasks,
        })
    }

    /// The next connection; `None` after [`stop`](Self::stop).
    pub async fn accept(&mut self) -> Option<Accepted> {
        self.accepted.recv().await
    }

    /// Accepts no more.
    pub fn stop(&mut self) {
        self.tasks.abort_all();
        for file in self.files.drain(..) {
            // Somebody may have removed it already.
            let _ = fs::remove_file(file);
        }
    }

    /// Where they listen.
    pub fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }

    /// Says where it listens: in a file that appears whole, and in one line on
    /// standard output that a script can read.
    pub fn announce(&self, ready_file: Option<&Path>) -> Result<()> {
        self.announce_with(ready_file, &[])
    }

    /// As [`announce`](Self::announce), with places that are listened on besides.
    pub fn announce_with(&self, ready_file: Option<&Path>, others: &[String]) -> Result<()> {
        let ours = self.endpoints.iter().map(ToString::to_string);
        let list: Vec<String> = ours.chain(others.iter().cloned()).collect();
        if let Some(path) = ready_file {
            write_ready_file(path, &list)?;
        }
        let mut stdout = io::stdout();
        writeln!(stdout, "listening on {}", list.join(" "))
            .and_then(|()| stdout.flush())
            .context("writing to standard output")
    }
}

/// Says in a file where a program listens: one endpoint a line, and it appears
/// whole.
pub fn write_ready_file(path: &Path, endpoints: &[String]) -> Result<()> {
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    let what = || format!("writing --ready-file {}", path.display());
    fs::write(&part, endpoints.join("\n") + "\n").with_context(what)?;
    fs::rename(&part, path).with_context(what)
}

async fn accept_loop(listener: Listener, index: usize, accepted: mpsc::Sender<Accepted>) {
    let mut complained = false;
    loop {
        match listener.accept().await {
            Ok((socket, client, local)) => {
                complained = false;
                let connection = Accepted {
                    socket,
                    client,
                    local,
                    listener: index,
                };
                if accepted.send(connection).await.is_err() {
                    return;
                }
            }
            // The client has gone again: the next one waits already.
            Err(error) if is_of_the_connection(&error) => {}
            Err(error) => {
                // Out of descriptors, most likely: trying again at once would spin,
                // and saying so each time would fill the disk.
                if !complained {
                    tracing::warn!("cannot accept, trying again: {error}");
                }
                complained = true;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

fn is_of_the_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::NotConnected
    )
}
