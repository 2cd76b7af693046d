//! `docs/conformance.md` says what is covered, and is true.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use crate::FOLDERS;
use crate::file::File;

const HEAD: &str = "\
# Conformance

What the RFCs demand of a server, as dialogues that `server/tests/conformance.rs` plays with
`helo-server`'s session and policy: whole, an octet at a time, and in two pieces cut at every place.
This table is checked by that test, which prints what it has to be.

| file in `server/tests/conformance` | sections | about | dialogues |
|---|---|---|---|
";

const CLIENTS: &str = "
A client hears each of them, too (`ClientSession`), cut in the same ways: it must hear the same at
every split, and take each reply for the answer to what the server answered with it.

What they demand of a client, at every split; `shared/tests/client.rs` plays these:

| file in `shared/tests/transcripts/client` | sections | about | dialogues |
|---|---|---|---|
";

const FOOT: &str = "
Every command at every stage of a session (RFC 5321 §4.1.4) is a table in
`server/tests/conformance/order.rs`. Exchanges of AUTH in which the server says something random
(CRAM-MD5, SCRAM) are played to their end in `server/tests/auth.rs`, TLS handshakes in
`server/tests/starttls.rs`.
";

fn document() -> String {
    let mut text = HEAD.to_owned();
    let mut total = 0;
    for folder in FOLDERS {
        for file in File::all(folder) {
            let (sections, about) = file.about.split_once(": ").expect("sections: about");
            let (name, count) = (&file.name, file.dialogues.len());
            total += count;
            let number = folder.strip_prefix("rfc").unwrap();
            assert!(sections.starts_with(&format!("RFC {number} §")), "{name}");
            let _ = writeln!(
                text,
                "| `{folder}/{name}` | {sections} | {about} | {count} |"
            );
        }
    }
    let _ = writeln!(text, "\n{total} dialogues.");
    text + CLIENTS + &of_clients() + FOOT
}

fn of_clients() -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/tests/transcripts/client");
    let entries = std::fs::read_dir(folder).unwrap();
    let rows: BTreeSet<String> = entries
        .map(|entry| {
            let entry = entry.unwrap();
            let text = std::fs::read_to_string(entry.path()).unwrap();
            let about = text.lines().next().and_then(|line| line.strip_prefix("# "));
            let (sections, about) = about.unwrap().split_once(": ").unwrap();
            let (name, count) = (entry.file_name(), text.matches("\n## ").count());
            let name = name.to_str().unwrap();
            format!("| `{name}` | {sections} | {about} | {count} |\n")
        })
        .collect();
    rows.into_iter().collect()
}

#[test]
fn the_document_is_true() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/conformance.md");
    let (written, wanted) = (std::fs::read_to_string(path).unwrap(), document());
    assert!(written == wanted, "docs/conformance.md must be:\n{wanted}");
}

#[test]
fn every_folder_is_played() {
    let entries = std::fs::read_dir(File::root()).unwrap();
    let found: BTreeSet<String> = entries
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_type().unwrap().is_dir())
        .map(|entry| entry.file_name().to_str().unwrap().to_owned())
        .collect();
    let named: BTreeSet<String> = FOLDERS.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(found, named);
}
