//! A server in threads.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::wait::until_true;

/// A server in threads: each connection is given to a function, with its number.
#[derive(Debug)]
pub struct Upstream {
    /// Where it listens.
    pub address: SocketAddr,
    ended: Arc<AtomicUsize>,
    begun: Arc<AtomicUsize>,
}

impl Upstream {
    /// Listens on a free port.
    pub fn start(serve: impl Fn(TcpStream, usize) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        // std has 128 of them wait: of more that come at once some would be left to
        // try again, and wait for half a minute for a greeting.
        rustix::net::listen(&listener, 4096).unwrap();
        let address = listener.local_addr().unwrap();
        let (begun, ended) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let (counts, serve) = ((Arc::clone(&begun), Arc::clone(&ended)), Arc::new(serve));
        std::thread::spawn(move || {
            for tcp in listener.incoming() {
                let Ok(tcp) = tcp else { return };
                let _ = tcp.set_nodelay(true);
                let number = counts.0.fetch_add(1, Ordering::SeqCst);
                let (serve, ended) = (Arc::clone(&serve), Arc::clone(&counts.1));
                std::thread::spawn(move || {
                    serve(tcp, number);
                    ended.fetch_add(1, Ordering::SeqCst);
                });
            }
        });
        Self {
            address,
            ended,
            begun,
        }
    }

    /// An honest one.
    pub fn honest() -> Self {
        Self::start(|tcp, _| {
            smtp(tcp, "220 up.test ESMTP\r\n", &mut Vec::new());
        })
    }

    /// How many connections it has had.
    pub fn begun(&self) -> usize {
        self.begun.load(Ordering::SeqCst)
    }

    /// Waits until every connection it took is done with.
    pub fn idle(&self) {
        until_true("the end of the connections to the upstream", || {
            self.ended.load(Ordering::SeqCst) == self.begun.load(Ordering::SeqCst)
        });
    }
}

/// Serves a connection to its end, and logs every octet that came.
pub fn smtp(mut tcp: TcpStream, greeting: &str, log: &mut Vec<u8>) {
    let _ = tcp.write_all(greeting.as_bytes());
    let (mut chunk, mut done, mut in_data) = (vec![0; 16 * 1024], 0, false);
    loop {
        let Ok(count @ 1..) = tcp.read(&mut chunk) else {
            return;
        };
        log.extend_from_slice(&chunk[..count]);
        let mut replies = Vec::new();
        while let Some(length) = log[done..].iter().position(|&octet| octet == b'\n') {
            let line = log[done..=done + length].to_ascii_uppercase();
            done += length + 1;
            if in_data {
                if line == b".\r\n" {
                    in_data = false;
                    replies.extend_from_slice(b"250 2.0.0 kept\r\n");
                }
                continue;
            }
            let reply: &[u8] = match line.get(..4).unwrap_or_default() {
                b"EHLO" => b"250-up.test\r\n250-PIPELINING\r\n250 8BITMIME\r\n",
                b"DATA" => {
                    in_data = true;
                    b"354 go ahead\r\n"
                }
                b"QUIT" => b"221 2.0.0 bye\r\n",
                b"AUTH" => b"334 VXNlcm5hbWU6\r\n",
                _ => b"250 2.0.0 ok\r\n",
            };
            replies.extend_from_slice(reply);
            if line.starts_with(b"QUIT") {
                let _ = tcp.write_all(&replies);
                let _ = tcp.shutdown(Shutdown::Write);
                replies.clear();
            }
        }
        // Where the other side is gone, what it said before is still to be read.
        let _ = tcp.write_all(&replies);
    }
}
