//! A server's end of a connection, which may change from plain to TLS.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::wait::LIMIT;

/// A connection of which no read or write waits for ever.
#[derive(Debug)]
pub struct Wire {
    layer: Layer,
    server_name: Option<String>,
}

#[derive(Debug)]
enum Layer {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ServerConnection, TcpStream>>),
    /// A handshake failed.
    Lost,
}

impl Wire {
    /// A plain one.
    pub fn new(tcp: TcpStream) -> Self {
        tcp.set_read_timeout(Some(LIMIT)).unwrap();
        tcp.set_write_timeout(Some(LIMIT)).unwrap();
        Self {
            layer: Layer::Plain(tcp),
            server_name: None,
        }
    }

    /// The handshake, as the server.
    pub fn start_tls(&mut self, config: Arc<ServerConfig>) -> io::Result<()> {
        let Layer::Plain(mut tcp) = std::mem::replace(&mut self.layer, Layer::Lost) else {
            return Err(io::Error::other("no plain connection"));
        };
        let mut tls = ServerConnection::new(config).map_err(io::Error::other)?;
        let shaken = tls.complete_io(&mut tcp);
        self.server_name = tls.server_name().map(str::to_owned);
        shaken?;
        self.layer = Layer::Tls(Box::new(StreamOwned::new(tls, tcp)));
        Ok(())
    }

    /// The name that the client asked for in the handshake.
    pub fn server_name(&self) -> Option<String> {
        self.server_name.clone()
    }

    /// Takes leave of TLS.
    pub fn close(&mut self) {
        if let Layer::Tls(tls) = &mut self.layer {
            tls.conn.send_close_notify();
            let _ = tls.flush();
        }
    }

    /// Makes the close of the connection a reset.
    pub fn reset_on_close(&self) -> io::Result<()> {
        let tcp = match &self.layer {
            Layer::Plain(tcp) => tcp,
            Layer::Tls(tls) => tls.get_ref(),
            Layer::Lost => return Ok(()),
        };
        Ok(rustix::net::sockopt::set_socket_linger(
            tcp,
            Some(Duration::ZERO),
        )?)
    }
}

impl Read for Wire {
    fn read(&mut self, chunk: &mut [u8]) -> io::Result<usize> {
        match &mut self.layer {
            Layer::Plain(tcp) => tcp.read(chunk),
            Layer::Tls(tls) => match tls.read(chunk) {
                // A client may leave TLS without a word.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(0),
                other => other,
            },
            Layer::Lost => Ok(0),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.layer {
            Layer::Plain(tcp) => tcp.write(bytes),
            Layer::Tls(tls) => {
                let count = tls.write(bytes)?;
                tls.flush()?;
                Ok(count)
            }
            Layer::Lost => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.layer {
            Layer::Plain(tcp) => tcp.flush(),
            Layer::Tls(tls) => tls.flush(),
            Layer::Lost => Ok(()),
        }
    }
}
