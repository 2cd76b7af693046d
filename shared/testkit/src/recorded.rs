//! What was recorded.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use shared::direction::Direction;
use shared::recording::{Record, Recording};

use crate::wait::until;

/// What a file has so far.
pub fn read(file: &Path) -> Recording {
    Recording::parse(&fs::read(file).unwrap()).unwrap()
}

/// The records of a kind, of one session.
pub fn of_kind(recording: &Recording, session: u64, kind: &str) -> Vec<Record> {
    let records = recording.records().iter();
    records
        .filter(|record| record.session() == Some(session) && record.kind() == kind)
        .cloned()
        .collect()
}

/// Waits for the `close` record of a session.
pub fn closed(file: &Path, session: u64) -> Record {
    until("the end of the session in the recording", || {
        of_kind(&read(file), session, "close").pop()
    })
}

/// What a recording has of the session of the client with that address.
pub fn session_of(recording: &Recording, client: SocketAddr) -> Option<u64> {
    let client = client.to_string();
    recording
        .records()
        .iter()
        .find(|record| record.kind() == "open" && record.text("c") == Some(&client))
        .and_then(Record::session)
}

/// The two payloads of a session: what the client said, and what the server did.
pub fn payloads(recording: &Recording, session: u64) -> (Vec<u8>, Vec<u8>) {
    (
        recording.payload(session, Direction::Client),
        recording.payload(session, Direction::Server),
    )
}
