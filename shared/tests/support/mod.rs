//! Reads control transcripts: several sessions, and what must be found in them.
//!
//! `-- session` begins another session. Beside what a transcript says, `=`
//! lines give the facts of the session (`leg`, `check`, `case`, `emulated`),
//! what the user stated (`= fact NAME VALUE`), what became of a message
//! (`= arrival NAME VALUE`, a bare `= arrival` begins the next) and what must
//! be found on the leg last named (`= verdict V`, `= expect CHECK V`, `= says TEXT`).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "a control that cannot be read is a bug of the test"
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use helo_shared::check::{Arrival, Facts, LegKind, Report, judge};
use helo_shared::recording::{Dialogue, Transcript};

/// A control transcript.
pub(crate) struct Control {
    /// Its file.
    pub(crate) path: PathBuf,
    /// The sessions.
    pub(crate) dialogues: Vec<Dialogue>,
    /// What the user stated.
    pub(crate) facts: Facts,
    /// What became of messages.
    pub(crate) arrivals: Vec<Arrival>,
    /// What must be found.
    pub(crate) expected: Vec<Expected>,
}

/// One thing that must be found.
pub(crate) struct Expected {
    /// On which leg.
    pub(crate) leg: LegKind,
    /// By which check.
    pub(crate) check: String,
    /// Its verdict.
    pub(crate) verdict: String,
    /// What its summary contains.
    pub(crate) says: String,
}

impl Control {
    /// Reads a file; the name of its folder is the check that `= verdict` means.
    pub(crate) fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap();
        let folder = path.parent().unwrap().file_name().unwrap();
        Self::parse(&text, path, &folder.to_string_lossy())
    }

    fn parse(text: &str, path: &Path, check: &str) -> Self {
        let mut control = Self {
            path: path.to_owned(),
            dialogues: Vec::new(),
            facts: Facts::default(),
            arrivals: Vec::new(),
            expected: Vec::new(),
        };
        let mut reading = Reading {
            check: check.to_owned(),
            leg: LegKind::Remote,
            stated: stated(),
            arrivals: Vec::new(),
        };
        for part in text.split("\n-- session") {
            let transcript: Transcript = part
                .parse()
                .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            for (name, value) in transcript.facts() {
                reading.fact(name, value, &mut control.expected);
            }
            let local = reading.leg == LegKind::Localhost;
            let (client, server) = if local {
                ("127.0.0.1:40000", "127.0.0.1:25")
            } else {
                ("192.0.2.7:40000", "192.0.2.25:25")
            };
            let recording = transcript.record(client, server).unwrap();
            for mut dialogue in recording.dialogues() {
                if dialogue.greeting.is_none() && dialogue.close.is_none() {
                    continue;
                }
                dialogue.session = control.dialogues.len() as u64 + 1;
                let leg = reading.leg.name().to_owned();
                dialogue.facts.insert("leg".into(), leg);
                control.dialogues.push(dialogue);
            }
        }
        let arrivals = reading.arrivals.iter();
        control.arrivals = arrivals.filter_map(Arrival::from_map).collect();
        control.facts = Facts::from_map(&reading.stated);
        control
    }

    /// Judges it.
    pub(crate) fn judge(&self) -> Report {
        judge(&self.dialogues, &self.facts, &self.arrivals)
    }

    /// What differs from what must be found.
    pub(crate) fn differences(&self) -> Vec<String> {
        let report = self.judge();
        let mut different = Vec::new();
        for expected in &self.expected {
            let column = report.legs.iter().position(|leg| leg.kind == expected.leg);
            let cell = report
                .row(&expected.check)
                .and_then(|row| row.cells.get(column?)?.as_ref());
            let (verdict, summary) = cell.map_or(("none", ""), |cell| {
                (cell.finding.verdict.name(), cell.finding.summary.as_str())
            });
            if verdict != expected.verdict || !summary.contains(&expected.says) {
                different.push(format!(
                    "{}: {} on {}: {verdict} ({summary}), not {} ({})",
                    self.path.display(),
                    expected.check,
                    expected.leg.name(),
                    expected.verdict,
                    expected.says,
                ));
            }
        }
        different
    }
}

struct Reading {
    check: String,
    leg: LegKind,
    stated: BTreeMap<String, String>,
    arrivals: Vec<BTreeMap<String, String>>,
}

impl Reading {
    fn fact(&mut self, name: &str, value: &str, expected: &mut Vec<Expected>) {
        let (word, rest) = value.split_once(' ').unwrap_or((value, ""));
        let mut expect = |check: &str, verdict: &str| {
            expected.push(Expected {
                leg: self.leg,
                check: check.into(),
                verdict: verdict.into(),
                says: String::new(),
            });
        };
        match name {
            "leg" => self.leg = LegKind::named(value).expect("a leg"),
            "verdict" => expect(&self.check, value),
            "expect" => expect(word, rest),
            "says" => value.clone_into(&mut expected.last_mut().expect("a verdict").says),
            "fact" => {
                self.stated.insert(word.into(), rest.into());
            }
            "arrival" if value.is_empty() => self.arrivals.push(BTreeMap::from([
                ("id".to_owned(), self.arrivals.len().to_string()),
                ("leg".to_owned(), self.leg.name().to_owned()),
            ])),
            "arrival" => {
                let arrival = self.arrivals.last_mut().expect("an arrival");
                arrival.insert(word.into(), rest.into());
            }
            "check" | "case" | "emulated" => {}
            other => panic!("what is '= {other}'?"),
        }
    }
}

/// What the user of every control stated.
fn stated() -> BTreeMap<String, String> {
    [
        ("local_user", "anna"),
        ("local_domains", "example.net"),
        ("foreign_user", "wit"),
        ("foreign_domain", "example.org"),
        ("helo_name", "client.example.org"),
        ("token", "k3v9q2abk3v9q2ab"),
        ("unknown_user", "helo-nx-k3v9q2ab"),
        ("witness_ip", "203.0.113.9"),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .collect()
}

/// Every file below a folder of transcripts, sorted.
pub(crate) fn files(folder: &str) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts");
    let mut found = Vec::new();
    let mut folders = vec![root.join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|name| name == "smtp") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}
