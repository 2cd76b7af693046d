//! Listening: several addresses, one stream of connections, and saying so.

use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::net;

/// A new connection.
#[derive(Debug)]
pub struct Accepted {
    /// The connection.
    pub tcp: TcpStream,
    /// The client's address.
    pub client: SocketAddr,
    /// The address it connected to.
    pub local: SocketAddr,
}

/// Some listening sockets.
#[derive(Debug)]
pub struct Listeners {
    addresses: Vec<SocketAddr>,
    accepted: mpsc::Receiver<Accepted>,
    tasks: JoinSet<()>,
}

impl Listeners {
    /// Listens on all of these addresses, or on none.
    pub fn bind(wanted: &[SocketAddr]) -> Result<Self> {
        let (sender, accepted) = mpsc::channel(1);
        let (mut tasks, mut addresses) = (JoinSet::new(), Vec::new());
        for &address in wanted {
            let listener = net::listen(address)?;
            addresses.push(listener.local_addr().context("asking for the port")?);
            tasks.spawn(accept_loop(listener, sender.clone()));
        }
        Ok(Self {
            addresses,
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
    }

    /// Says where it listens: in a file that appears whole, and in one line on
    /// standard output that a script can read.
    pub fn announce(&self, ready_file: Option<&Path>) -> Result<()> {
        let list: Vec<String> = self.addresses.iter().map(ToString::to_string).collect();
        if let Some(path) = ready_file {
            let mut part = path.as_os_str().to_owned();
            part.push(".part");
            let what = || format!("writing --ready-file {}", path.display());
            fs::write(&part, list.join("\n") + "\n").with_context(what)?;
            fs::rename(&part, path).with_context(what)?;
        }
        let mut stdout = std::io::stdout();
        writeln!(stdout, "listening on {}", list.join(" "))
            .and_then(|()| stdout.flush())
            .context("writing to standard output")
    }
}

async fn accept_loop(listener: TcpListener, accepted: mpsc::Sender<Accepted>) {
    loop {
        match listener.accept().await {
            Ok((tcp, client)) => {
                let Ok(local) = tcp.local_addr() else {
                    continue;
                };
                let connection = Accepted { tcp, client, local };
                if accepted.send(connection).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                // Out of descriptors, most likely: trying again at once would spin.
                tracing::warn!("cannot accept: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}
