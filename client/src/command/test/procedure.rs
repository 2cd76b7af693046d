//! The legs, one after the other, into one recording.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use driver::journal::Journal;
use indicatif::{ProgressBar, ProgressStyle};
use shared::check::{Arrival, Facts, LegKind};
use shared::codec::DotDecoder;
use shared::message::header;
use shared::recording::{Dialogue, Merge, NoteFacts, Record, Recording, Said};
use shared::session::DataForm;

use super::legs::{Wanted, how_to_run};
use crate::arrival::{Expected, Request};
use crate::cli::Test;
use crate::exit::{Failure, Status};
use crate::leg::stream::Stream;
use crate::leg::{Families, Plan};
use crate::vantage::Vantage;

/// A run of the procedure.
pub(super) struct Run<'a> {
    options: &'a Test,
    journal: &'a Journal,
    facts: &'a Facts,
    /// The records of the leg that was run last.
    records: Vec<Record>,
}

impl<'a> Run<'a> {
    pub(super) fn new(options: &'a Test, journal: &'a Journal, facts: &'a Facts) -> Self {
        Self {
            options,
            journal,
            facts,
            records: Vec::new(),
        }
    }

    /// Runs the legs in order. Of those that were not run or not to their end a note
    /// says why.
    pub(super) async fn legs(&mut self, legs: &[Wanted]) -> Result<(), Failure> {
        let mut stopped = false;
        for leg in legs {
            let Some(vantage) = &leg.vantage else {
                if !self.options.one_leg {
                    self.remark(leg.kind, "not-run", how_to_run(leg.kind))?;
                }
                continue;
            };
            if stopped {
                let why = "it was not run, since the localhost leg failed (--keep-going runs it)";
                self.remark(leg.kind, "not-run", why)?;
                continue;
            }
            tracing::info!("{} leg from {vantage} to {}", leg.kind.name(), leg.target);
            if let Err(error) = self.leg(leg, vantage).await {
                let begun = self.records.iter().any(|record| record.kind() == "open");
                let tag = if begun { "stopped" } else { "unreachable" };
                self.remark(leg.kind, tag, &format!("{error:#}"))?;
            }
            let failed = !self.options.keep_going && !self.was_delivered();
            stopped = leg.kind == LegKind::Localhost && failed;
            let mailbox = legs.iter().find(|leg| leg.kind == LegKind::Localhost);
            let mailbox = mailbox.and_then(|leg| leg.vantage.clone());
            self.arrivals(leg.kind, mailbox.unwrap_or(Vantage::Here))
                .await?;
        }
        Ok(())
    }

    async fn leg(&mut self, leg: &Wanted, vantage: &Vantage) -> Result<()> {
        self.records.clear();
        let (mut stream, mut merge) = (Stream::default(), Merge::default());
        let (journal, records) = (self.journal, &mut self.records);
        let input = serde_json::to_vec(&plan(self.options, self.facts, leg))?;
        let progress = progress(&format!("{} leg from {vantage}", leg.kind.name()));
        let ran = vantage
            .run("leg", &input, |bytes| {
                let mut result = Ok(());
                stream.take(bytes, |record| {
                    if let Some(check) = played(&record) {
                        progress.inc(1);
                        progress.set_message(check);
                    } else if record.text("tag") == Some("waiting") {
                        progress.set_message(record.text("msg").unwrap_or_default().to_owned());
                    }
                    if result.is_ok() {
                        result = journal.merge(record.clone(), &mut merge);
                        records.push(record);
                    }
                })?;
                Ok(result?)
            })
            .await;
        progress.finish_and_clear();
        ran?;
        stream
            .finish()
            .with_context(|| format!("running helo-client from {vantage}"))
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
            let why = format!("arrival could not be looked for: {error:#}");
            return self.remark(kind, "no-arrival", &why);
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

    fn remark(&self, kind: LegKind, tag: &str, message: &str) -> Result<(), Failure> {
        let note = NoteFacts {
            by: "helo-client".into(),
            message: Some(message.to_owned()),
            tag: Some(tag.into()),
            bind: vec![("leg".into(), kind.name().into())],
            ..NoteFacts::default()
        };
        self.journal
            .note(&note)
            .map_err(Failure::with(Status::Output))
    }
}

/// What a leg is told.
fn plan(options: &Test, facts: &Facts, leg: &Wanted) -> Plan {
    Plan {
        leg: leg.kind.name().to_owned(),
        emulated: leg.emulated,
        target: leg.target.clone(),
        families: match (options.ipv4, options.ipv6) {
            (true, _) => Families::V4,
            (_, true) => Families::V6,
            _ => Families::Both,
        },
        source: leg.source,
        facts: facts.to_map(),
        pace: options.pace,
        tls_name: options
            .tls_name
            .clone()
            .unwrap_or_else(|| options.target.host.clone()),
        operator: options.operator.clone(),
        keep_going: options.keep_going,
        timeout: options.timeout,
        patience: options.patience,
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
fn accepted(dialogue: &Dialogue) -> impl Iterator<Item = (DataForm, &Vec<u8>)> {
    dialogue
        .exchanges
        .iter()
        .filter_map(|exchange| match &exchange.said {
            Said::Content {
                wire,
                form,
                complete: true,
                ..
            } if exchange
                .reply()
                .is_some_and(|reply| reply.code().is_positive()) =>
            {
                Some((*form, wire))
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
        .filter_map(|(form, wire)| {
            let mut content = Vec::new();
            match form {
                DataForm::Bdat => content.clone_from(wire),
                DataForm::Dot => DotDecoder::default().decode(wire, |range| {
                    content.extend_from_slice(wire.get(range).unwrap_or_default());
                }),
            }
            Some(Expected {
                id: header(&content, "Message-ID").pop()?,
                known: known.clone(),
                content: String::from_utf8_lossy(&content).into_owned(),
            })
        })
        .collect()
}
