//! The report: a row per check, a column per leg.

use std::net::{IpAddr, SocketAddr};

use serde::Serialize;

use super::delivery::content;
use super::observe::{Class, asked_anywhere, same_mailbox};
use super::received::client_seen;
use super::{
    ALL, Arrival, Check, Context, Facts, Family, Finding, Group, Leg, LegKind, Mta, On, Severity,
    Verdict,
};
use crate::recording::Dialogue;

/// The verdicts on a whole recording.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The version of this form: 1.
    pub schema: u32,
    /// The columns.
    pub legs: Vec<LegSummary>,
    /// The rows: every check of the catalogue.
    pub rows: Vec<Row>,
    /// How often each verdict was given.
    pub totals: Totals,
}

/// One column of a report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LegSummary {
    /// How the server saw the client.
    pub kind: LegKind,
    /// Strangeness was imitated: an emulated pass never replaces a real one.
    pub emulated: bool,
    /// The family of the addresses.
    pub family: Option<Family>,
    /// The client's address as the client saw it.
    pub from: Option<IpAddr>,
    /// Where it connected to.
    pub to: Option<SocketAddr>,
    /// The client's address as the server saw it.
    pub client_seen: Option<IpAddr>,
    /// What became of the delivery.
    pub delivered: Delivery,
}

/// What became of the deliveries on a leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Delivery {
    /// No content was sent to the local user.
    NotTried,
    /// None was accepted.
    Refused,
    /// At least one was accepted.
    Accepted,
    /// At least one was found in the mailbox.
    Arrived,
}

/// One row of a report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// The check.
    pub id: &'static str,
    /// What it belongs to.
    pub group: Group,
    /// What it asks.
    pub question: &'static str,
    /// How bad a fail is.
    pub severity: Severity,
    /// The worst verdict of the row.
    pub verdict: Verdict,
    /// One cell per leg, in the order of the report's legs; `None` where the
    /// check is not run.
    pub cells: Vec<Option<Cell>>,
    /// What to change, if the verdict is fail or warn.
    pub cures: Vec<Cure>,
    /// Where the rule comes from.
    pub references: &'static [&'static str],
}

/// One cell of a report: the finding, and what would have passed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cell {
    /// What was found.
    #[serde(flatten)]
    pub finding: Finding,
    /// What passes here; `None` where the answer is not judged.
    pub expected: Option<&'static str>,
}

/// A setting to change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Cure {
    /// The product.
    pub mta: Mta,
    /// What to change in it.
    pub text: &'static str,
}

/// How often each verdict was given, cell by cell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "each is the count of the verdict of its name")]
pub struct Totals {
    pub fail: usize,
    pub warn: usize,
    pub inconclusive: usize,
    pub pass: usize,
    pub info: usize,
    pub skip: usize,
}

impl Report {
    /// The worst verdict of all; skip if there is none.
    pub fn overall(&self) -> Verdict {
        let verdicts = self.rows.iter().map(|row| row.verdict);
        verdicts.max().unwrap_or(Verdict::Skip)
    }

    /// The row of a check.
    pub fn row(&self, id: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.id == id)
    }
}

impl Totals {
    fn count(rows: &[Row]) -> Self {
        let mut totals = Self::default();
        for cell in rows.iter().flat_map(|row| row.cells.iter().flatten()) {
            *match cell.finding.verdict {
                Verdict::Fail => &mut totals.fail,
                Verdict::Warn => &mut totals.warn,
                Verdict::Inconclusive => &mut totals.inconclusive,
                Verdict::Pass => &mut totals.pass,
                Verdict::Info => &mut totals.info,
                Verdict::Skip => &mut totals.skip,
            } += 1;
        }
        totals
    }
}

/// Judges recorded dialogues: every check of the catalogue on every leg.
pub fn judge(dialogues: &[Dialogue], facts: &Facts, arrivals: &[Arrival]) -> Report {
    let legs = Leg::sort(dialogues, arrivals);
    let known: Vec<(Facts, Context<'_>)> = legs
        .iter()
        .map(|leg| {
            let facts = leg.dialogues.iter().fold(facts.clone(), |facts, dialogue| {
                facts.learned_from(dialogue)
            });
            let context = Context::of(leg, &facts, &legs);
            (facts, context)
        })
        .collect();
    let rows: Vec<Row> = ALL
        .iter()
        .map(|check| {
            let legs = legs.iter().zip(&known);
            let cells = legs.map(|(leg, (facts, context))| cell(check, leg, facts, context));
            row(check, cells.collect())
        })
        .collect();
    let summaries = legs
        .iter()
        .zip(&known)
        .map(|(leg, (facts, context))| summary(leg, facts, context));
    Report {
        schema: 1,
        legs: summaries.collect(),
        totals: Totals::count(&rows),
        rows,
    }
}

fn cell(check: &Check, leg: &Leg<'_>, facts: &Facts, context: &Context<'_>) -> Option<Cell> {
    let judge = || {
        let mut finding = (check.judge)(leg, facts, context);
        if finding.verdict == Verdict::Skip && !check.needs.is_empty() {
            finding.advice.push(format!("needs {}", check.needs));
        }
        finding
    };
    match check.on(leg.kind) {
        On::Skip => None,
        On::NotJudged => Some(Cell {
            finding: judge().not_judged(),
            expected: None,
        }),
        On::Judged(expected) => Some(Cell {
            finding: judge(),
            expected: Some(expected),
        }),
    }
}

fn row(check: &'static Check, cells: Vec<Option<Cell>>) -> Row {
    let verdicts = cells.iter().flatten().map(|cell| cell.finding.verdict);
    let verdict = verdicts.max().unwrap_or(Verdict::Skip);
    let cures = if matches!(verdict, Verdict::Fail | Verdict::Warn) {
        check.cures
    } else {
        &[]
    };
    Row {
        id: check.id,
        group: check.group,
        question: check.question,
        severity: check.severity,
        verdict,
        cells,
        cures: cures
            .iter()
            .map(|&(mta, text)| Cure { mta, text })
            .collect(),
        references: check.references,
    }
}

fn summary(leg: &Leg<'_>, facts: &Facts, context: &Context<'_>) -> LegSummary {
    let mut dialogues = leg.dialogues.iter();
    LegSummary {
        kind: leg.kind,
        emulated: leg.emulated,
        family: leg.family,
        from: leg
            .dialogues
            .iter()
            .find_map(|dialogue| dialogue.client)
            .map(|client| client.ip()),
        to: dialogues.find_map(|dialogue| dialogue.server),
        client_seen: client_seen(leg).map(|(ip, _)| ip),
        delivered: delivered(leg, facts, context),
    }
}

fn delivered(leg: &Leg<'_>, facts: &Facts, context: &Context<'_>) -> Delivery {
    if leg.arrivals.iter().any(|arrival| arrival.found) {
        return Delivery::Arrived;
    }
    let Some(local) = facts.local_mailbox() else {
        return Delivery::NotTried;
    };
    let sent: Vec<Class> = asked_anywhere(leg)
        .iter()
        .filter(|asked| same_mailbox(&asked.recipient(), &local))
        .filter_map(|asked| Some(Class::of(asked.dialogue, content(asked)?)))
        .collect();
    if sent.contains(&Class::Accepted) {
        Delivery::Accepted
    } else if !sent.is_empty() || context.first_baseline() == Some(false) {
        Delivery::Refused
    } else {
        Delivery::NotTried
    }
}
