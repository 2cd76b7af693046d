//! `test`: the procedure.
//!
//! The localhost leg, arrival, the remote leg, arrival; then everything that was
//! recorded is judged together. Each leg is a process of its own, here or
//! elsewhere, that gives back lines of a recording.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use driver::clock::{Clock, wall};
use driver::journal::{self, Durability, Journal};
use indicatif::{ProgressBar, ProgressStyle};
use shared::check::{Arrival, Facts, LegKind};
use shared::codec::DotDecoder;
use shared::message::header;
use shared::recording::{Dialogue, Merge, NoteFacts, Reader, Record, Recording, Said};

use super::judge::{judged, load_damaged, remarks, stated, status};
use crate::arrival::{Expected, Request};
use crate::cli::Test;
use crate::exit::{Failure, Status};
use crate::leg::{Families, Plan};
use crate::report::{self, Meta};
use crate::target::Target;
use crate::vantage::Vantage;

/// Runs the procedure.
pub async fn run(options: Test) -> Result<Status, Failure> {
    let legs = legs(&options);
    refuse_haste(&options, &legs)?;
    let clock = Clock::start();
    let path = options.record.clone().unwrap_or_else(default_path);
    let settings = journal::Settings {
        tool: concat!("helo-client ", env!("CARGO_PKG_VERSION")),
        durability: Durability::Written,
        record_secrets: false,
    };
    let journal =
        Journal::create(&path, &settings, clock).map_err(Failure::with(Status::Output))?;
    let facts = facts(&options).map_err(Failure::with(Status::NoVerdict))?;
    note_run(&journal, &facts).map_err(Failure::with(Status::Output))?;
    let mut run = Run {
        options: &options,
        journal,
        facts,
        records: Vec::new(),
    };
    let mut missing = run.legs(&legs).await?;
    run.journal
        .finish()
        .map_err(Failure::with(Status::Output))?;
    let mut recordings = vec![load_damaged(&path)?];
    for joined in &options.join {
        recordings.push(load_damaged(joined)?);
    }
    missing.retain(|kind| !has_leg(&recordings, *kind));
    finish(&options, &path, &recordings, &missing)
}

fn finish(
    options: &Test,
    path: &Path,
    recordings: &[Recording],
    missing: &[LegKind],
) -> Result<Status, Failure> {
    let report = judged(recordings, &stated(recordings));
    let mut remarks = remarks(recordings);
    if options.witness.is_none() {
        remarks.push(
            "relaying was not checked: name a mailbox elsewhere with --witness (nothing is sent to it)".into(),
        );
    }
    let wanted: Vec<LegKind> = if options.one_leg {
        Vec::new()
    } else {
        missing.to_vec()
    };
    remarks.extend(wanted.iter().map(|kind| how_to_run(*kind)));
    let meta = Meta {
        target: Some(options.target.to_string()),
        recording: Some(path.display().to_string()),
        remarks,
    };
    report::print(&report, &meta, &options.output).map_err(Failure::with(Status::Output))?;
    Ok(status(&report, &options.output, !wanted.is_empty()))
}

fn how_to_run(kind: LegKind) -> String {
    match kind {
        LegKind::Localhost => {
            "the localhost leg was not run: run this on the server itself, or give \
            --localhost-from ssh:SERVER (or --one-leg to do without)"
                .into()
        }
        _ => "the remote leg was not run: give --remote-from ssh:HOST, or run this elsewhere and \
            --join its recording (or --one-leg to do without)"
            .into(),
    }
}

fn has_leg(recordings: &[Recording], kind: LegKind) -> bool {
    let dialogues = recordings.iter().flat_map(Recording::dialogues);
    dialogues
        .into_iter()
        .any(|dialogue| dialogue.facts.get("leg").map(String::as_str) == Some(kind.name()))
}

/// A leg that is to be run.
struct Wanted {
    kind: LegKind,
    vantage: Option<Vantage>,
    target: Target,
    source: Option<IpAddr>,
    emulated: bool,
}

/// The legs, in order; a leg without a vantage cannot be run.
///
/// One vantage given means that the other is here. None given: a target on
/// loopback is this machine's own server, any other one is elsewhere.
fn legs(options: &Test) -> [Wanted; 2] {
    let (localhost, remote) = match (&options.localhost_from, &options.remote_from) {
        (Some(localhost), Some(remote)) => (Some(localhost.clone()), Some(remote.clone())),
        (Some(localhost), None) => (Some(localhost.clone()), Some(Vantage::Here)),
        (None, Some(remote)) => (Some(Vantage::Here), Some(remote.clone())),
        (None, None) if options.emulate_from.is_some() => {
            (Some(Vantage::Here), Some(Vantage::Here))
        }
        (None, None) if options.target.is_loopback() => (Some(Vantage::Here), None),
        (None, None) => (None, Some(Vantage::Here)),
    };
    let only = |wanted: &Option<Vantage>, given: bool| {
        if options.one_leg && !given {
            None
        } else {
            wanted.clone()
        }
    };
    let none_given = options.localhost_from.is_none() && options.remote_from.is_none();
    let loopback = Target {
        host: "localhost".into(),
        ..options.target.clone()
    };
    [
        Wanted {
            kind: LegKind::Localhost,
            vantage: only(&localhost, none_given || options.localhost_from.is_some()),
            target: options.localhost_target.clone().unwrap_or(loopback),
            source: options.source.filter(IpAddr::is_loopback),
            emulated: false,
        },
        Wanted {
            kind: LegKind::Remote,
            vantage: only(&remote, none_given || options.remote_from.is_some()),
            target: options.target.clone(),
            source: options.emulate_from.or(options.source),
            emulated: options.emulate_from.is_some(),
        },
    ]
}

/// No pace at all is for one's own machine: controls are not checked by force.
fn refuse_haste(options: &Test, legs: &[Wanted]) -> Result<(), Failure> {
    let hasty = legs.iter().find(|leg| {
        options.pace.is_zero()
            && leg.vantage.is_some()
            && !leg.target.is_loopback()
            && !matches!(leg.vantage, Some(Vantage::Netns(_)))
    });
    match hasty {
        Some(leg) => Err(Failure::new(
            Status::Unsafe,
            anyhow::anyhow!(
                "--pace 0 is for loopback and your own network namespaces: {} is neither",
                leg.target
            ),
        )),
        None => Ok(()),
    }
}

fn default_path() -> PathBuf {
    let now: String = wall()
        .to_string()
        .chars()
        .filter(char::is_ascii_digit)
        .take(17)
        .collect();
    PathBuf::from(format!("helo-test-{now}.helo.jsonl"))
}

/// What was stated about the server, and what this run adds.
fn facts(options: &Test) -> Result<Facts> {
    let mut random = [0; 16];
    driver::process::random(&mut random).context("drawing a token")?;
    let token: String = random
        .iter()
        .filter_map(|octet| ALPHABET.chars().nth(usize::from(octet % 32)))
        .collect();
    let witness = options.witness.as_ref();
    Ok(Facts {
        local_user: Some(options.to.local_part().content().to_owned()),
        local_domains: vec![options.to.domain().to_string()],
        foreign_user: witness.map(|witness| witness.local_part().content().to_owned()),
        foreign_domain: witness.map(|witness| witness.domain().to_string()),
        helo_name: options.helo.clone(),
        unknown_user: Some(format!(
            "helo-nx-{}",
            token.get(8..16).unwrap_or("helotest")
        )),
        token: Some(token),
        ..Facts::default()
    })
}

/// Base32 without letters that look alike (RFC 4648 §6, in lower case).
const ALPHABET: &str = "abcdefghijklmnopqrstuvwxyz234567";

fn note_run(journal: &Journal, facts: &Facts) -> Result<(), journal::WriteFailed> {
    journal.note(&NoteFacts {
        by: "helo-client".into(),
        tag: Some("run".into()),
        bind: facts.to_map().into_iter().collect(),
        ..NoteFacts::default()
    })
}

/// A run of the procedure.
struct Run<'a> {
    options: &'a Test,
    journal: Journal,
    facts: Facts,
    /// The records of the leg that was run last.
    records: Vec<Record>,
}

impl Run<'_> {
    /// Runs the legs in order; returns those that were not run.
    async fn legs(&mut self, legs: &[Wanted]) -> Result<Vec<LegKind>, Failure> {
        let mut missing = Vec::new();
        let mut stopped = false;
        for leg in legs {
            let Some(vantage) = leg.vantage.as_ref().filter(|_| !stopped) else {
                missing.push(leg.kind);
                continue;
            };
            tracing::info!("{} leg from {vantage} to {}", leg.kind.name(), leg.target);
            let ran = self.leg(leg, vantage).await;
            if let Err(error) = ran {
                self.remark(leg.kind, &format!("{error:#}"))?;
                missing.push(leg.kind);
            }
            let failed = !self.options.keep_going && !self.was_delivered();
            stopped = leg.kind == LegKind::Localhost && failed;
            let mailbox = legs.iter().find(|leg| leg.kind == LegKind::Localhost);
            let mailbox = mailbox.and_then(|leg| leg.vantage.clone());
            self.arrivals(leg.kind, mailbox.unwrap_or(Vantage::Here))
                .await?;
        }
        Ok(missing)
    }

    async fn leg(&mut self, leg: &Wanted, vantage: &Vantage) -> Result<()> {
        let plan = Plan {
            leg: leg.kind.name().to_owned(),
            emulated: leg.emulated,
            target: leg.target.clone(),
            families: match (self.options.ipv4, self.options.ipv6) {
                (true, _) => Families::V4,
                (_, true) => Families::V6,
                _ => Families::Both,
            },
            source: leg.source,
            facts: self.facts.to_map(),
            pace: self.options.pace,
            tls_name: self
                .options
                .tls_name
                .clone()
                .unwrap_or_else(|| self.options.target.host.clone()),
            operator: self.options.operator.clone(),
            keep_going: self.options.keep_going,
        };
        self.records.clear();
        let (mut reader, mut merge) = (Reader::new(), Merge::default());
        let (journal, records) = (&self.journal, &mut self.records);
        let input = serde_json::to_vec(&plan)?;
        let progress = progress(&format!("{} leg from {vantage}", leg.kind.name()));
        let ran = vantage
            .run("leg", &input, |bytes| {
                let mut result = Ok(());
                reader.push(bytes, |record| {
                    if let Some(check) = played(&record) {
                        progress.inc(1);
                        progress.set_message(check);
                    }
                    if result.is_ok() {
                        result = journal.merge(record.clone(), &mut merge);
                        records.push(record);
                    }
                });
                Ok(result?)
            })
            .await;
        progress.finish_and_clear();
        ran
    }

    fn dialogues(&self) -> Vec<Dialogue> {
        Recording::of(self.records.clone(), Vec::new())
            .map(|recording| recording.dialogues())
            .unwrap_or_default()
    }

    /// The server took at least one message on the leg that was run last.
    fn was_delivered(&self) -> bool {
        self.dialogues()
            .iter()
            .any(|dialogue| accepted(dialogue).next().is_some())
    }

    /// Waits for the messages of the leg that was run last.
    async fn arrivals(&mut self, kind: LegKind, vantage: Vantage) -> Result<(), Failure> {
        let Some(maildir) = self.options.arrival.clone() else {
            return Ok(());
        };
        let expected = self
            .dialogues()
            .iter()
            .flat_map(|dialogue| expected(dialogue, kind))
            .collect();
        let request = Request {
            maildir,
            patience: self.options.patience,
            expected,
        };
        let input = serde_json::to_vec(&request).map_err(Failure::with(Status::Output))?;
        let mut lines = Vec::new();
        let looked = vantage
            .run("arrive", &input, |bytes| {
                lines.extend_from_slice(bytes);
                Ok(())
            })
            .await;
        if let Err(error) = looked {
            return self.remark(kind, &format!("arrival could not be looked for: {error:#}"));
        }
        for line in lines.split(|&octet| octet == b'\n') {
            let Ok(map) = serde_json::from_slice::<BTreeMap<String, String>>(line) else {
                continue;
            };
            if Arrival::from_map(&map).is_some() {
                let note = NoteFacts {
                    by: "helo-client".into(),
                    tag: Some("arrival".into()),
                    bind: map.into_iter().collect(),
                    ..NoteFacts::default()
                };
                self.journal
                    .note(&note)
                    .map_err(Failure::with(Status::Output))?;
            }
        }
        Ok(())
    }

    fn remark(&self, kind: LegKind, message: &str) -> Result<(), Failure> {
        let note = NoteFacts {
            by: "helo-client".into(),
            message: Some(message.to_owned()),
            tag: Some("unreachable".into()),
            bind: vec![("leg".into(), kind.name().into())],
            ..NoteFacts::default()
        };
        self.journal
            .note(&note)
            .map_err(Failure::with(Status::Output))
    }
}

/// A sign of life on long work, on a terminal alone: paced politely, a leg takes
/// a while.
fn progress(title: &str) -> ProgressBar {
    let progress = ProgressBar::new_spinner().with_prefix(title.to_owned());
    if let Ok(style) =
        ProgressStyle::with_template("{spinner} {prefix}: session {pos}, {msg} ({elapsed})")
    {
        progress.set_style(style);
    }
    progress
}

/// The check that a session is for, from the note at its beginning.
fn played(record: &Record) -> Option<String> {
    if record.text("tag") != Some("session") {
        return None;
    }
    let check = record.bindings("bind").find(|(name, _)| *name == "check");
    check.map(|(_, check)| check.to_owned())
}

/// The content of the messages that a server took in a session.
fn accepted(dialogue: &Dialogue) -> impl Iterator<Item = &Vec<u8>> {
    dialogue
        .exchanges
        .iter()
        .filter_map(|exchange| match &exchange.said {
            Said::Content {
                wire,
                complete: true,
                ..
            } if exchange
                .reply()
                .is_some_and(|reply| reply.code().is_positive()) =>
            {
                Some(wire)
            }
            _ => None,
        })
}

/// What should arrive of a session.
fn expected(dialogue: &Dialogue, kind: LegKind) -> Vec<Expected> {
    let label = |name: &str| dialogue.facts.get(name).cloned();
    let family = dialogue.server.map(|server| {
        if server.ip().to_canonical().is_ipv4() {
            "v4"
        } else {
            "v6"
        }
        .to_owned()
    });
    let known: BTreeMap<String, String> = [
        ("leg", Some(kind.name().to_owned())),
        ("check", label("check")),
        ("case", label("case")),
        ("family", family),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name.to_owned(), value?)))
    .collect();
    accepted(dialogue)
        .filter_map(|wire| {
            let mut content = Vec::new();
            DotDecoder::default().decode(wire, |range| {
                content.extend_from_slice(wire.get(range).unwrap_or_default());
            });
            Some(Expected {
                id: header(&content, "Message-ID").pop()?,
                known: known.clone(),
                content: String::from_utf8_lossy(&content).into_owned(),
            })
        })
        .collect()
}
