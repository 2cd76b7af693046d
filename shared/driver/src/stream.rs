//! A connection, plain or TLS.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use rustls::ProtocolVersion;
use rustls::pki_types::ServerName;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

use crate::handshake::{Break, break_off};
use crate::sasl::{Channel, ChannelBinding};
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

    /// Reads what is there, at most so much, if there is such a limit.
    pub async fn read_at_most(
        &mut self,
        into: &mut BytesMut,
        most: Option<usize>,
    ) -> io::Result<usize> {
        let Some(most) = most else {
            return self.read(into).await;
        };
        let most = most as u64;
        match self {
            Self::Plain(stream) => stream.take(most).read_buf(into).await,
            Self::Client(stream) => end_is_end(stream.take(most).read_buf(into).await),
            Self::Server(stream) => end_is_end(stream.take(most).read_buf(into).await),
            Self::Lost => Err(lost()),
        }
    }

    /// Makes the end of the connection a reset, where there is such a thing.
    pub fn reset_on_drop(&self) {
        if let Some(tcp) = self.socket().and_then(Socket::tcp) {
            // A socket that cannot be told so is closed all the same.
            let _ = SockRef::from(tcp).set_linger(Some(Duration::ZERO));
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

    /// Reads what is there into a buffer that the caller may share among many
    /// connections: it is touched only when there is something. Nothing added is
    /// the end.
    pub fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, into),
            Self::Client(stream) => Pin::new(stream).poll_read(context, into).map(end_is_end),
            Self::Server(stream) => Pin::new(stream).poll_read(context, into).map(end_is_end),
            Self::Lost => Poll::Ready(Err(lost())),
        }
    }

    /// Writes what can be written now. Inside TLS it may stay behind until
    /// [`poll_flush`](Self::poll_flush) is done.
    pub fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Client(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Server(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Lost => Poll::Ready(Err(lost())),
        }
    }

    /// Sends what a [`poll_write`](Self::poll_write) inside TLS left behind.
    pub fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(_) | Self::Lost => Poll::Ready(Ok(())),
            Self::Client(stream) => Pin::new(stream).poll_flush(context),
            Self::Server(stream) => Pin::new(stream).poll_flush(context),
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

    /// Performs the handshake as a server, or breaks it off on purpose, which is an
    /// error.
    pub async fn shake_hands(
        &mut self,
        config: Arc<rustls::ServerConfig>,
        breaks: Option<Break>,
    ) -> io::Result<()> {
        match breaks {
            None => self.start_tls_as_server(config).await,
            Some(breaks) => {
                let mut socket = self.take_plain()?;
                Box::pin(break_off(&mut socket, config, breaks)).await?;
                *self = Self::Plain(socket);
                self.shutdown().await?;
                Err(io::Error::other("it was broken off on purpose"))
            }
        }
    }

    /// What the TLS session in force shows; `None` on a plain connection.
    pub fn tls(&self) -> Option<&rustls::CommonState> {
        match self {
            Self::Plain(_) | Self::Lost => None,
            Self::Client(stream) => Some(stream.get_ref().1),
            Self::Server(stream) => Some(stream.get_ref().1),
        }
    }

    /// What it is to SASL.
    ///
    /// Only TLS 1.3 can be bound to. TLS 1.2 could with the extended master secret
    /// (RFC 9266 §3), but rustls exports keys without it as well and does not tell
    /// which it was.
    pub fn channel(&self) -> Channel {
        let Some(tls) = self.tls() else {
            return Channel::Clear;
        };
        let exported = match tls.protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => self.exported(),
            _ => None,
        };
        exported.map_or(Channel::Tls, |key| Channel::Bound(ChannelBinding::new(key)))
    }

    /// Keying material for a channel binding (RFC 9266 §2).
    fn exported(&self) -> Option<[u8; ChannelBinding::LENGTH]> {
        let (key, label) = ([0; ChannelBinding::LENGTH], ChannelBinding::LABEL);
        let exported = match self {
            Self::Plain(_) | Self::Lost => return None,
            Self::Client(stream) => {
                stream
                    .get_ref()
                    .1
                    .export_keying_material(key, label, Some(&[]))
            }
            Self::Server(stream) => {
                stream
                    .get_ref()
                    .1
                    .export_keying_material(key, label, Some(&[]))
            }
        };
        exported.ok()
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
fn end_is_end<T: Default>(read: io::Result<T>) -> io::Result<T> {
    match read {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(T::default()),
        other => other,
    }
}

fn lost() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "the connection is lost")
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::PrivateKeyDer;
    use rustls::{SupportedProtocolVersion, version};
    use tokio::net::TcpListener;

    use tokio::net::TcpStream;

    use super::*;
    use crate::tls::{self, Verify};

    /// What both ends of a connection are to SASL, before TLS and inside it.
    async fn channels(version: &'static SupportedProtocolVersion) -> [(Channel, Channel); 2] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (ours, theirs) = tokio::join!(TcpStream::connect(address), listener.accept());
        let mut client = Stream::new(ours.unwrap());
        let mut server = Stream::new(theirs.unwrap().0);
        let before = (client.channel(), server.channel());
        let config = tls::Client::new(Verify::Noted, None).unwrap().config;
        let (ours, theirs) = tokio::join!(
            client.start_tls_as_client(config, tls::server_name("localhost").unwrap()),
            server.start_tls_as_server(only(version))
        );
        ours.unwrap();
        theirs.unwrap();
        [before, (client.channel(), server.channel())]
    }

    /// A server of one TLS version.
    fn only(version: &'static SupportedProtocolVersion) -> Arc<rustls::ServerConfig> {
        let minted = rcgen::generate_simple_self_signed(["localhost".into()]).unwrap();
        let key = PrivateKeyDer::try_from(minted.signing_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![minted.cert.der().clone()], key)
            .unwrap();
        Arc::new(config)
    }

    #[tokio::test]
    async fn both_ends_of_tls_1_3_can_bind_to_the_same() {
        let [before, inside] = channels(&version::TLS13).await;
        assert_eq!(before, (Channel::Clear, Channel::Clear));
        let (client, server) = inside;
        assert!(client.binding().is_some());
        assert_eq!(client, server);
        let [_, other] = channels(&version::TLS13).await;
        assert_ne!(client, other.0);
    }

    #[tokio::test]
    async fn there_is_nothing_to_bind_to_in_tls_1_2() {
        let [_, inside] = channels(&version::TLS12).await;
        assert_eq!(inside, (Channel::Tls, Channel::Tls));
    }
}
