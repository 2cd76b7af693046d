//! The PROXY header at the start of a connection.

use std::io;
use std::time::Duration;

use shared::proxy::{Header, LONGEST, Parsed, parse};
use tokio::io::AsyncReadExt;
use tokio::time::timeout;

use crate::socket::Socket;

/// Reads the header that comes before everything else, and not an octet more:
/// what follows it may be a TLS handshake that others will read.
///
/// It is short, so it is read octet by octet.
pub async fn read_header(socket: &mut Socket, limit: Duration) -> io::Result<Header> {
    let read = async {
        let mut bytes = Vec::with_capacity(128);
        loop {
            bytes.push(socket.read_u8().await?);
            match parse(&bytes).map_err(invalid)? {
                Parsed::NeedMore if bytes.len() < LONGEST => {}
                Parsed::NeedMore => return Err(invalid("it does not end")),
                Parsed::Header(header, _) => return Ok(header),
            }
        }
    };
    match timeout(limit, read).await {
        Ok(read) => read,
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}

fn invalid(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}
