//! A connection whose peer has to take what is sent, in time.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};

/// A connection that breaks when its peer takes nothing for too long.
#[derive(Debug)]
pub(super) struct Impatient {
    tcp: TcpStream,
    limit: Duration,
    /// Runs while something waits to be sent.
    timer: Pin<Box<Sleep>>,
    waiting: bool,
}

impl Impatient {
    pub(super) fn new(tcp: TcpStream, limit: Duration) -> Self {
        Self {
            tcp,
            limit,
            timer: Box::pin(sleep(limit)),
            waiting: false,
        }
    }

    /// Lets what was sent come back, or the time run out.
    fn within<T>(
        &mut self,
        context: &mut Context<'_>,
        sent: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if sent.is_ready() {
            self.waiting = false;
            return sent;
        }
        if !self.waiting {
            self.waiting = true;
            self.timer.as_mut().reset(Instant::now() + self.limit);
        }
        ready!(self.timer.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Impatient {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_read(context, into)
    }
}

impl AsyncWrite for Impatient {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let sent = Pin::new(&mut self.tcp).poll_write(context, bytes);
        self.within(context, sent)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let ours = TcpStream::connect(listener.local_addr().unwrap());
        let (ours, theirs) = tokio::join!(ours, listener.accept());
        (ours.unwrap(), theirs.unwrap().0)
    }

    #[tokio::test]
    async fn a_peer_that_takes_nothing_is_given_up() {
        let (ours, theirs) = pair().await;
        let mut stream = Impatient::new(ours, Duration::from_millis(100));
        let error = stream.write_all(&vec![0; 64 << 20]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        drop(theirs);
    }

    /// What counts is when it took something last, not how long it takes in all.
    #[tokio::test]
    async fn a_peer_that_takes_a_little_at_a_time_is_not() {
        let limit = Duration::from_millis(300);
        let (ours, mut theirs) = pair().await;
        let mut stream = Impatient::new(ours, limit);
        let begun = Instant::now();
        let writing = async {
            let chunk = vec![0; 64 << 10];
            while begun.elapsed() < 3 * limit {
                stream.write_all(&chunk).await?;
            }
            stream.shutdown().await
        };
        let reading = async {
            let mut chunk = vec![0; 1 << 20];
            while theirs.read(&mut chunk).await.unwrap() > 0 {
                sleep(Duration::from_millis(10)).await;
            }
        };
        let (written, ()) = tokio::join!(writing, reading);
        written.unwrap();
    }
}
