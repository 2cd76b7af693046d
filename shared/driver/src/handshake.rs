//! A TLS handshake that goes wrong on purpose, as a server.

use std::io;
use std::sync::Arc;

use rustls::{ServerConfig, ServerConnection};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::socket::Socket;

/// Where a handshake breaks off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Break {
    /// The client's first message is answered with this alert (RFC 8446 §6).
    Alert(u8),
    /// Nothing follows the client's first message.
    AfterClientHello,
    /// Nothing follows the server's first message.
    AfterServerHello,
    /// Nothing is ever said, and the connection stays open.
    Hang,
}

/// A TLS record has a header of so many octets, and then so many more at most
/// (RFC 8446 §5.1).
const HEADER: usize = 5;
const MOST: usize = 1 << 14;

/// Takes the client's first message, and says what comes before the end.
pub(crate) async fn break_off(
    socket: &mut Socket,
    config: Arc<ServerConfig>,
    breaks: Break,
) -> io::Result<()> {
    let hello = record(socket).await?;
    match breaks {
        Break::AfterClientHello | Break::Hang => Ok(()),
        Break::Alert(alert) => {
            // A warning says goodbye, all others are fatal.
            let level = if alert == 0 { 1 } else { 2 };
            socket.write_all(&[21, 3, 3, 0, 2, level, alert]).await
        }
        Break::AfterServerHello => {
            let said = server_hello(config, &hello)?;
            socket.write_all(&said).await
        }
    }
}

/// One record, header included.
async fn record(socket: &mut Socket) -> io::Result<Vec<u8>> {
    let mut header = [0; HEADER];
    socket.read_exact(&mut header).await?;
    let length = length(header);
    if length > MOST {
        return Err(io::Error::other("that is no TLS"));
    }
    let mut record = header.to_vec();
    record.resize(HEADER + length, 0);
    let body = record.get_mut(HEADER..).unwrap_or_default();
    socket.read_exact(body).await?;
    Ok(record)
}

fn length(header: [u8; HEADER]) -> usize {
    let [.., high, low] = header;
    usize::from(high) << 8 | usize::from(low)
}

/// The first record of the answer.
fn server_hello(config: Arc<ServerConfig>, mut hello: &[u8]) -> io::Result<Vec<u8>> {
    let mut tls = ServerConnection::new(config).map_err(io::Error::other)?;
    tls.read_tls(&mut hello)?;
    tls.process_new_packets().map_err(io::Error::other)?;
    let mut answer = Vec::new();
    tls.write_tls(&mut answer)?;
    let header: Option<&[u8; HEADER]> = answer.first_chunk();
    let whole = HEADER + header.map_or(0, |header| length(*header));
    answer.truncate(whole);
    Ok(answer)
}
