//! Any file is imported without a panic, within its limits, into a whole recording.
#![no_main]

use std::io::{self, Write};

use helo_capture::Limits;
use helo_capture::import::{Settings, recording_of};
use helo_capture::summary::SummaryWriter;
use helo_shared::recording::{Recording, Redaction};
use libfuzzer_sys::fuzz_target;

/// So small that an input of a few kilobytes meets each of them.
const LIMITS: Limits = Limits {
    connections: 3,
    waiting: 300,
    segments: 6,
    waiting_in_all: 500,
    patience: 8,
    datagrams: 2,
    unknown: 64,
    history: 32,
    undecided: 200,
};

fuzz_target!(|file: &[u8]| {
    let settings = Settings {
        tool: "fuzz",
        redaction: Redaction::Nothing,
        limits: LIMITS,
    };
    let Ok((lines, _)) = recording_of("fuzz", file, settings) else {
        return;
    };
    let recording = Recording::parse(&lines).unwrap();
    assert_eq!(recording.damage(), &[]);
    assert!(recording.is_finished());
    recording.dialogues();
    let mut sessions = 0;
    let mut summary = SummaryWriter::new(|session| {
        session.to_json();
        sessions += 1;
        io::Result::Ok(())
    });
    summary.write_all(&lines).unwrap();
    summary.finish().unwrap();
    assert_eq!(sessions, recording.sessions().len());
});
