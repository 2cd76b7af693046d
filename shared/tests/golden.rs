//! Files that every later version must read as it does today.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use helo_shared::direction::Direction::{Client, Server};
use helo_shared::escape::hex;
use helo_shared::recording::{Recording, Transcript};
use sha2::{Digest, Sha256};

const V1: &[u8] = include_bytes!("golden/v1.helo.jsonl");
const V1_SPOKEN: &str = include_str!("golden/v1.smtp");

#[test]
fn version_1_is_read_whole() {
    let recording = Recording::parse(V1).unwrap();
    assert_eq!(recording.damage(), []);
    assert!(recording.is_finished());
    assert_eq!(recording.sessions(), [1, 2, 3]);
    let spoken: Vec<String> = recording
        .dialogues()
        .iter()
        .map(|dialogue| format!("{}\n", Transcript::of(dialogue)))
        .collect();
    assert_eq!(spoken.concat(), V1_SPOKEN);
}

#[test]
fn what_was_said_has_the_digests_that_were_recorded() {
    let recording = Recording::parse(V1).unwrap();
    let closes = recording
        .records()
        .iter()
        .filter(|one| one.kind() == "close");
    let mut sessions = 0;
    for close in closes {
        let session = close.session().unwrap();
        let digests: Vec<String> = [Client, Server]
            .map(|side| hex(&Sha256::digest(recording.payload(session, side))))
            .to_vec();
        assert_eq!(close.texts("sha256").collect::<Vec<_>>(), digests);
        sessions += 1;
    }
    assert_eq!(sessions, 2);
}

#[test]
fn what_is_not_known_is_kept() {
    let recording = Recording::parse(V1).unwrap();
    let mut again = Vec::new();
    for record in recording.records() {
        record.write(&mut again);
    }
    assert_eq!(String::from_utf8_lossy(&again), String::from_utf8_lossy(V1));
    let known = |kind: &str| recording.records().iter().any(|one| one.kind() == kind);
    assert!(known("weather") && known("fault") && known("gap"));
}
