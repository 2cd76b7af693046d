//! A connection, plain or TLS.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::BytesMut;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

use crate::socket::Socket;

/// How much is read at once.
pub const READ: usize = 64 * 1024;

/// A connection that may change from plain to TLS.
#[derive(Debug)]
pub enum Stream {
    /// Plain.
    Plain(Socket),
    /// TLS, we are the client.
    Client(Box<client::TlsStream<Socket>>),
    /// TLS, we are the server.
    Server(Box<server::TlsStream<Socket>>),
    /// A handshake failed: nothing is left.
    Lost,
}

impl Stream {
    /// A plain connection, with Nagle's algorithm off: a reply is one write.
    pub fn new(socket: impl Into<Socket>) -> Self {
        let socket = socket.into();
        socket.set_nodelay();
        Self::Plain(socket)
    }

    /// What has come on a plain connection and waits to be read: at most 4 KiB,
    /// and nothing is waited for.
    pub fn take_waiting(&self, into: &mut BytesMut) {
        if let Self::Plain(socket) = self {
            let mut chunk = [0; 4096];
            let count = socket.try_read(&mut chunk);
            into.extend_from_slice(chunk.get(..count).unwrap_or_default());
        }
    }

    /// Reads what is there, at most [`READ`] octets; 0 at the end.
    pub async fn read(&mut self, into: &mut BytesMut) -> io::Result<usize> {
        into.reserve(READ.saturating_sub(into.len()).max(1024));
        match self {
            Self::Plain(stream) => stream.read_buf(into).await,
            Self::Client(stream) => end_is_end(stream.read_buf(into).await),
            Self::Server(stream) => end_is_end(stream.read_buf(into).await),
            Self::Lost => Err(lost()),
        }
    }

    /// Writes all of it.
    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.write_all(bytes).await,
            Self::Client(stream) => {
                stream.write_all(bytes).await?;
                stream.flush().await
            }
            Self::Server(stream) => {
                stream.write_all(bytes).await?;
                stream.flush().await
            }
            Self::Lost => Err(lost()),
        }
    }

    /// Says that no more will be written.
    pub async fn shutdown(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.shutdown().await,
            Self::Client(stream) => stream.shutdown().await,
            Self::Server(stream) => stream.shutdown().await,
            Self::Lost => Ok(()),
        }
    }

    /// Performs the handshake as a client.
    pub async fn start_tls_as_client(
        &mut self,
        config: Arc<rustls::ClientConfig>,
        name: ServerName<'static>,
    ) -> io::Result<()> {
        let socket = self.take_plain()?;
        let stream = TlsConnector::from(config).connect(name, socket).await?;
        *self = Self::Client(Box::new(stream));
        Ok(())
    }

    /// Performs the handshake as a server.
    pub async fn start_tls_as_server(
        &mut self,
        config: Arc<rustls::ServerConfig>,
    ) -> io::Result<()> {
        let socket = self.take_plain()?;
        let stream = TlsAcceptor::from(config).accept(socket).await?;
        *self = Self::Server(Box::new(stream));
        Ok(())
    }

    /// What the TLS session in force shows; `None` on a plain connection.
    pub fn tls(&self) -> Option<&rustls::CommonState> {
        match self {
            Self::Plain(_) | Self::Lost => None,
            Self::Client(stream) => Some(stream.get_ref().1),
            Self::Server(stream) => Some(stream.get_ref().1),
        }
    }

    /// The name the client asked for, if we are the server.
    pub fn server_name(&self) -> Option<&str> {
        match self {
            Self::Server(stream) => stream.get_ref().1.server_name(),
            _ => None,
        }
    }

    /// The socket underneath.
    pub fn socket(&self) -> Option<&Socket> {
        match self {
            Self::Plain(socket) => Some(socket),
            Self::Client(stream) => Some(stream.get_ref().0),
            Self::Server(stream) => Some(stream.get_ref().0),
            Self::Lost => None,
        }
    }

    /// Our address and the peer's, if it is TCP.
    pub fn addresses(&self) -> Option<(SocketAddr, SocketAddr)> {
        let tcp = self.socket()?.tcp()?;
        Some((tcp.local_addr().ok()?, tcp.peer_addr().ok()?))
    }

    fn take_plain(&mut self) -> io::Result<Socket> {
        match std::mem::replace(self, Self::Lost) {
            Self::Plain(socket) => Ok(socket),
            other => {
                *self = other;
                Err(io::Error::other("TLS is already in force"))
            }
        }
    }
}

/// Many mail servers close TLS without close_notify: after a whole reply that is
/// an end like any other, so it is reported as one.
fn end_is_end(read: io::Result<usize>) -> io::Result<usize> {
    match read {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(0),
        other => other,
    }
}

fn lost() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "the connection is lost")
}
