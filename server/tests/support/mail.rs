//! What a store has kept, read by other means than the server's.

use std::fs;
use std::path::{Path, PathBuf};

use super::files;

/// A place for mail, and its form.
pub struct Mail {
    form: &'static str,
    place: PathBuf,
}

/// The forms that are files.
pub const FORMS: [&str; 3] = ["eml", "maildir", "mbox"];

impl Mail {
    /// A place of that form in a directory; a Maildir is that of anna.
    pub fn new(form: &'static str, dir: &Path) -> Self {
        Self {
            form,
            place: dir.join(format!("kept.{form}")),
        }
    }

    /// What makes a server keep mail there.
    pub fn store(&self) -> String {
        self.option("store")
    }

    /// What makes a server keep mail for others there.
    pub fn witness(&self) -> String {
        self.option("witness")
    }

    fn option(&self, name: &str) -> String {
        format!("--{name}={}:{}", self.form, self.place.display())
    }

    /// Where it is.
    pub fn place(&self) -> &Path {
        &self.place
    }

    /// The content of each message, in the order of the names.
    pub fn contents(&self) -> Vec<Vec<u8>> {
        match self.form {
            "eml" => self
                .names("eml")
                .iter()
                .map(|path| fs::read(path).unwrap())
                .collect(),
            "maildir" => self.maildir().iter().map(|one| untraced(one)).collect(),
            _ => mbox(&fs::read(&self.place).unwrap_or_default())
                .iter()
                .map(|one| untraced(one))
                .collect(),
        }
    }

    /// The accounts beside the messages, in the order of the names.
    pub fn accounts(&self) -> Vec<serde_json::Value> {
        let accounts = self.names("json");
        accounts
            .iter()
            .map(|path| serde_json::from_slice(&fs::read(path).unwrap()).unwrap())
            .collect()
    }

    /// The files with that ending, sorted.
    pub fn names(&self, suffix: &str) -> Vec<PathBuf> {
        let mut names = files(&self.place);
        names.retain(|path| path.extension().is_some_and(|found| found == suffix));
        names.sort();
        names
    }

    /// Files that should be gone when no message is coming in.
    pub fn unfinished(&self) -> Vec<PathBuf> {
        match self.form {
            "eml" => self.names("tmp"),
            "maildir" => [self.place.join("anna"), self.place.clone()]
                .iter()
                .flat_map(|maildir| files(&maildir.join("tmp")))
                .collect(),
            _ => files(self.place.parent().unwrap())
                .into_iter()
                .filter(|path| {
                    path.extension()
                        .is_some_and(|one| one == "tmp" || one == "lock")
                })
                .collect(),
        }
    }

    /// Of a Maildir of anna's, or of one alone.
    fn maildir(&self) -> Vec<Vec<u8>> {
        let maildirs = [self.place.join("anna"), self.place.clone()];
        let mut names: Vec<PathBuf> = maildirs
            .iter()
            .flat_map(|maildir| files(&maildir.join("new")))
            .collect();
        names.sort();
        names.iter().map(|path| fs::read(path).unwrap()).collect()
    }
}

/// The messages of an mboxrd file: a `From ` line after an empty one begins each.
pub fn mbox(octets: &[u8]) -> Vec<Vec<u8>> {
    let mut messages: Vec<Vec<u8>> = Vec::new();
    let mut after_empty = true;
    for line in octets.split_inclusive(|&octet| octet == b'\n') {
        if after_empty && line.starts_with(b"From ") {
            messages.push(Vec::new());
        } else if let Some(message) = messages.last_mut() {
            let marks = line.iter().take_while(|&&octet| octet == b'>').count();
            let quoted = marks > 0 && line[marks..].starts_with(b"From ");
            message.extend_from_slice(&line[usize::from(quoted)..]);
        }
        after_empty = line == b"\n";
    }
    // The empty line before the next one is not the message's.
    for message in &mut messages {
        assert_eq!(message.pop(), Some(b'\n'));
    }
    messages
}

/// A message without its trace header.
fn untraced(message: &[u8]) -> Vec<u8> {
    assert!(message.starts_with(b"Return-Path: "), "no trace header");
    let mut lines = message.splitn(5, |&octet| octet == b'\n');
    lines.nth(4).unwrap().to_vec()
}
