//! A client inside TLS, and a certificate for a server.

use std::fs;
use std::io;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::BytesMut;
use driver::stream::Stream;
use driver::tls::{Client, Facts, Verify, server_name};
use tokio::runtime::Runtime;
use tokio::time::timeout;

/// A connection inside TLS.
pub struct Tls {
    runtime: Runtime,
    stream: Stream,
}

impl Tls {
    /// The handshake, on a connection on which STARTTLS was accepted.
    pub fn over(tcp: TcpStream) -> io::Result<Self> {
        let runtime = Runtime::new().unwrap();
        let client = Client::new(Verify::Noted, None).unwrap();
        tcp.set_nonblocking(true).unwrap();
        let stream = runtime.block_on(async {
            let mut stream = Stream::new(tokio::net::TcpStream::from_std(tcp).unwrap());
            let name = server_name("mx.local.test").unwrap();
            let handshake = stream.start_tls_as_client(client.config, name);
            timeout(testkit::wait::LIMIT, handshake).await??;
            Ok::<_, io::Error>(stream)
        })?;
        Ok(Self { runtime, stream })
    }

    /// Says something, and returns the reply to it.
    pub fn say(&mut self, text: &str) -> String {
        let Self { runtime, stream } = self;
        let said = stream.write(text.as_bytes());
        runtime.block_on(said).unwrap();
        self.hear()
    }

    /// Says something and ends its side, and hears whatever comes to the end.
    pub fn shout(mut self, octets: &[u8]) {
        let Self { runtime, stream } = &mut self;
        runtime.block_on(async {
            // The other side may have heard enough at any time.
            let _ = stream.write(octets).await;
            let _ = stream.shutdown().await;
            let mut heard = BytesMut::new();
            while timeout(testkit::wait::LIMIT, stream.read(&mut heard))
                .await
                .unwrap()
                .is_ok_and(|count| count > 0)
            {}
        });
    }

    /// Returns what comes until a reply is whole.
    pub fn hear(&mut self) -> String {
        let Self { runtime, stream } = self;
        runtime.block_on(async {
            let mut reply = BytesMut::new();
            while !is_whole(&reply) {
                let read = timeout(testkit::wait::LIMIT, stream.read(&mut reply));
                assert!(read.await.unwrap().unwrap() > 0, "closed after {reply:?}");
            }
            String::from_utf8(reply.to_vec()).unwrap()
        })
    }

    /// What an AUTH exchange is bound to here.
    pub fn channel(&self) -> driver::sasl::Channel {
        self.stream.channel()
    }

    /// The server's certificates, DER, its own first.
    pub fn certificates(&self) -> Vec<Vec<u8>> {
        Facts::of(&self.stream, None, String::new()).chain
    }

    /// Nothing comes that nobody asked for, within a moment.
    pub fn is_silent(&mut self) -> bool {
        let Self { runtime, stream } = self;
        let moment = Duration::from_millis(100);
        runtime.block_on(async {
            let mut reply = BytesMut::new();
            timeout(moment, stream.read(&mut reply)).await.is_err()
        })
    }
}

/// A certificate and its key, in files.
pub struct Minted {
    /// The certificate, PEM.
    pub cert: PathBuf,
    /// Its key, PEM.
    pub key: PathBuf,
    /// The certificate, DER.
    pub der: Vec<u8>,
}

impl Minted {
    /// Mints them into files of a directory, in place of any that were there.
    pub fn in_files(dir: &Path) -> Self {
        let names = vec!["mx.local.test".to_owned()];
        let minted = rcgen::generate_simple_self_signed(names).unwrap();
        let (cert, key) = (dir.join("cert.pem"), dir.join("key.pem"));
        fs::write(&cert, minted.cert.pem()).unwrap();
        fs::write(&key, minted.signing_key.serialize_pem()).unwrap();
        let der = minted.cert.der().to_vec();
        Self { cert, key, der }
    }

    /// The options that give them to a server.
    pub fn options(&self) -> [&str; 4] {
        let (cert, key) = (self.cert.to_str().unwrap(), self.key.to_str().unwrap());
        ["--tls-cert", cert, "--tls-key", key]
    }
}

/// The last line has come, and no hyphen follows its code.
fn is_whole(reply: &[u8]) -> bool {
    let mut lines = reply.rsplitn(3, |&octet| octet == b'\n');
    let (after, last) = (lines.next(), lines.next());
    after == Some(b"") && last.is_some_and(|last| last.get(3) != Some(&b'-'))
}
