//! What a session leaves behind: its units in the recording, its end there and on the wire.

use std::time::Duration;

use bytes::BytesMut;
use shared::session::Unit;
use tokio::time::timeout;

use super::Loop;
use crate::journal::{Ended, WriteFailed};
use crate::stream::Stream;

/// So many units are recorded in one write, at most.
const BATCH: usize = 256;

/// How long, and for how many reads, a closed connection is drained.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_READS: usize = 64;

impl Loop<'_> {
    pub(super) fn note(&mut self, unit: Unit) -> Result<(), WriteFailed> {
        self.batch.push(unit);
        if self.batch.len() < BATCH {
            return Ok(());
        }
        self.record_batch()
    }

    pub(super) fn record_batch(&mut self) -> Result<(), WriteFailed> {
        let written = self.journal.units(&self.batch);
        self.batch.clear();
        written
    }

    /// Records what is not yet recorded, and the end.
    pub(super) fn close(&mut self, ended: Ended) -> Result<(), WriteFailed> {
        self.closed = true;
        let recorded = self.record_batch();
        self.journal.close(self.service.clock.now(), ended)?;
        recorded
    }
}

/// What is not recorded is not passed on, but for this: RFC 5321 §3.8 has the
/// client take a 421 as try again later.
pub(super) async fn say_unrecorded(stream: &mut Stream) {
    let reply = b"421 4.3.0 the session cannot be recorded\r\n";
    let told = async {
        stream.write(reply).await?;
        stream.shutdown().await
    };
    let _ = timeout(LINGER, told).await;
}

/// Says that nothing more will come, and waits a little for the client to
/// have it: closing with unread bytes would reset the connection and take
/// our last reply with it.
pub(super) async fn hang_up(stream: &mut Stream, received: &mut BytesMut) {
    if stream.shutdown().await.is_err() {
        return;
    }
    let drained = async {
        for _ in 0..LINGER_READS {
            received.clear();
            if !matches!(stream.read(received).await, Ok(1..)) {
                break;
            }
        }
    };
    let _ = timeout(LINGER, drained).await;
}
