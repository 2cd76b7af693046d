//! `import` as a program: files, pipes, statuses.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail"
)]

mod support;

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use shared::direction::Direction::Client;
use shared::recording::Recording;
use support::{PROGRAM, check, run};

fn capture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../tests/captures")
        .join(name)
}

/// Imports into a directory: the recording, and what was said.
fn import(name: &str, dir: &Path, options: &[&str]) -> (Recording, String) {
    let file = dir.join("out.helo.jsonl");
    let _ = fs::remove_file(&file);
    let (capture, out) = (capture(name), file.to_str().unwrap());
    let mut arguments = vec!["import", capture.to_str().unwrap(), "-o", out];
    arguments.extend(options);
    let output = run(&arguments);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{said}");
    (Recording::parse(&fs::read(&file).unwrap()).unwrap(), said)
}

#[test]
fn every_recording_of_a_capture_is_whole() {
    let dir = tempfile::tempdir().unwrap();
    let mut count = 0;
    for entry in fs::read_dir(capture("")).unwrap() {
        let path = entry.unwrap().path();
        let is_capture = path
            .extension()
            .is_some_and(|extension| extension == "pcap" || extension == "pcapng");
        let name = path.file_name().unwrap().to_str().unwrap();
        if !is_capture || ["empty-file.pcap", "not-a-capture.pcap"].contains(&name) {
            continue;
        }
        let (recording, _) = import(name, dir.path(), &[]);
        assert_eq!(
            recording.records()[0].text("clock"),
            Some("capture"),
            "{name}"
        );
        let (status, said) = check(&dir.path().join("out.helo.jsonl"));
        assert_eq!(status, 0, "{name}: {said}");
        assert!(
            said.contains("(0 without an end), finished cleanly"),
            "{name}: {said}"
        );
        count += 1;
    }
    assert!(count > 30, "{count}");
}

#[test]
fn a_recording_is_for_its_owner_and_replaces_nothing() {
    let dir = tempfile::tempdir().unwrap();
    import("raw-ip.pcap", dir.path(), &[]);
    let file = dir.path().join("out.helo.jsonl");
    assert_eq!(
        fs::metadata(&file).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let before = fs::read(&file).unwrap();
    let raw = capture("raw-ip.pcap");
    let output = run(&[
        "import".as_ref(),
        raw.as_os_str(),
        "-o".as_ref(),
        file.as_os_str(),
    ]);
    assert_eq!(output.status.code(), Some(6));
    assert_eq!(fs::read(&file).unwrap(), before);
}

#[test]
fn what_is_no_capture_leaves_no_recording() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("out.helo.jsonl");
    for name in [
        "not-a-capture.pcap",
        "empty-file.pcap",
        "there-is-none.pcap",
    ] {
        let bad = capture(name);
        let output = run(&[
            "import".as_ref(),
            bad.as_os_str(),
            "-o".as_ref(),
            file.as_os_str(),
        ]);
        assert_eq!(output.status.code(), Some(4), "{name}");
        assert!(!file.exists(), "{name}");
    }
}

#[test]
fn damage_is_told_and_noted() {
    let dir = tempfile::tempdir().unwrap();
    let (recording, said) = import("truncated.pcapng", dir.path(), &[]);
    assert!(said.contains("damaged at octet 3636"), "{said}");
    let note = recording.notes("damage").next().unwrap();
    assert!(note.text("msg").unwrap().contains("damaged at octet 3636"));
    assert!(!recording.dialogues()[0].exchanges.is_empty());
}

#[test]
fn comments_are_kept_and_other_traffic_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let (recording, _) = import("comments.pcapng", dir.path(), &[]);
    assert!(recording.notes("comment").count() > 0);
    let (recording, said) = import("mixed-with-ftp-pop3.pcap", dir.path(), &[]);
    assert!(
        said.contains("2 mail sessions; 2 other connections"),
        "{said}"
    );
    let totals = recording.notes("import").next().unwrap();
    let bound: Vec<(&str, &str)> = totals.bindings("bind").collect();
    assert!(bound.contains(&("other-connections", "2")), "{bound:?}");
}

#[test]
fn passwords_are_taken_out_unless_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let (recording, _) = import("auth-cancel-retry.pcap", dir.path(), &["--record-secrets"]);
    let open = recording.payload(1, Client);
    let secret = base64_of("\0alice\0wonderland");
    assert!(String::from_utf8_lossy(&open).contains(&secret), "{secret}");
    let (recording, _) = import("auth-cancel-retry.pcap", dir.path(), &[]);
    let masked = recording.payload(1, Client);
    let masked = String::from_utf8_lossy(&masked);
    assert!(!masked.contains(&secret));
    assert!(masked.contains("AUTH PLAIN ********"), "{masked}");
}

/// Base64 by hand: what is looked for is not made by what is tested.
fn base64_of(text: &str) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in text.as_bytes().chunks(3) {
        let mut bits = 0u32;
        for at in 0..3 {
            bits = bits << 8 | u32::from(chunk.get(at).copied().unwrap_or_default());
        }
        for at in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * at) & 63) as usize];
            out.push(if at <= chunk.len() {
                letter.into()
            } else {
                '='
            });
        }
    }
    out
}

#[test]
fn pipes_are_read_and_written() {
    let input = File::open(capture("nanosecond.pcap")).unwrap();
    let output = Command::new(PROGRAM)
        .args(["import", "-", "-o", "-"])
        .stdin(Stdio::from(input))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0));
    let recording = Recording::parse(&output.stdout).unwrap();
    assert!(recording.is_finished());
    assert_eq!(recording.sessions(), [1]);
}

#[test]
fn captures_in_parts_are_one() {
    let dir = tempfile::tempdir().unwrap();
    let whole = fs::read(capture("nanosecond.pcap")).unwrap();
    // Cut behind the tenth packet.
    let mut cut = 24;
    for _ in 0..10 {
        let length: [u8; 4] = whole[cut + 8..cut + 12].try_into().unwrap();
        cut += 16 + u32::from_le_bytes(length) as usize;
    }
    let (one, two) = (dir.path().join("1.pcap"), dir.path().join("2.pcap"));
    fs::write(&one, &whole[..cut]).unwrap();
    fs::write(&two, [&whole[..24], &whole[cut..]].concat()).unwrap();
    let output = run(&[
        "import".as_ref(),
        one.as_os_str(),
        two.as_os_str(),
        "-o".as_ref(),
        "-".as_ref(),
    ]);
    let parts = Recording::parse(&output.stdout).unwrap();
    let (all, _) = import("nanosecond.pcap", dir.path(), &[]);
    assert_eq!(parts.sessions(), [1]);
    assert_eq!(parts.payload(1, Client), all.payload(1, Client));
}

#[test]
fn a_capture_is_shown_like_a_recording() {
    let path = capture("overlap-conflicting-data.pcap");
    let output = run(&["show".as_ref(), path.as_os_str()]);
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0));
    assert!(shown.contains("EHLO client.example.org"), "{shown}");
    assert!(shown.contains("14 octets from octet"), "{shown}");
    let output = run(&[
        "show".as_ref(),
        path.as_os_str(),
        "--as".as_ref(),
        "transcript".as_ref(),
    ]);
    assert!(String::from_utf8_lossy(&output.stdout).contains("C: QUIT"));
}

#[test]
fn a_summary_says_what_there_is() {
    let path = capture("lmtp-dovecot.pcap");
    let output = run(&["import".as_ref(), path.as_os_str(), "--summary".as_ref()]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0));
    for part in [
        "198.51.100.10:55064 → 198.51.100.31:24  lmtp",
        "commands  LHLO MAIL RCPT×3 DATA MAIL RCPT BDAT×2 QUIT",
        "to <nosuch@example.net>: 550",
        "222 octets, sha256 de9b7ce71a5865ad91966e172f9afa08c5c329e8f7cb91618e5dd4cb6db1dae5: 250 250",
        "1 mail sessions; 0 other connections left out",
    ] {
        assert!(said.contains(part), "{part}\n{said}");
    }
}
