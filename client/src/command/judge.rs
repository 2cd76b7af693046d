//! `judge`: today's checks over yesterday's recording.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::Context;
use capture::Limits;
use capture::container::looks_like_a_capture;
use capture::import::{Settings, recording_of};
use shared::check::{Arrival, Facts, Report, judge};
use shared::recording::{Dialogue, Recording, RedactKey, Redaction};

use crate::cli::{Judge, Output};
use crate::exit::{Failure, Status};
use crate::report::{self, Meta};
use crate::screen;

/// Judges the sessions of some recordings.
pub fn run(options: &Judge) -> Result<Status, Failure> {
    let mut recordings = Vec::new();
    for path in &options.files {
        recordings.push(load_damaged(path)?);
    }
    let mut facts = stated(&recordings);
    if let Some(to) = &options.to {
        facts.local_user = Some(to.local_part().content().to_owned());
        facts.local_domains = vec![to.domain().to_string()];
    }
    if let Some(witness) = &options.witness {
        facts.foreign_user = Some(witness.local_part().content().to_owned());
        facts.foreign_domain = Some(witness.domain().to_string());
    }
    if facts.local_domains.is_empty() {
        return Err(Failure::new(
            Status::Usage,
            anyhow::anyhow!(
                "the recording does not say whose server it is: name a mailbox on it with --to"
            ),
        ));
    }
    let recording = options.files.first().map(|path| path.display().to_string());
    report(&recordings, &facts, recording, &options.output)
}

/// Prints what is to be said of some recordings, and says how it ends.
pub fn report(
    recordings: &[Recording],
    facts: &Facts,
    recording: Option<String>,
    output: &Output,
) -> Result<Status, Failure> {
    let report = judged(recordings, facts);
    let meta = Meta {
        target: target(recordings),
        recording,
        complete: !report.legs.is_empty() && !is_incomplete(recordings),
        remarks: remarks(recordings, facts),
    };
    report::print(&report, &meta, output).map_err(Failure::with(Status::Output))?;
    Ok(status(&report, &meta, output))
}

/// Reads a recording; status 4 if it cannot be used.
pub fn load(path: &Path) -> Result<Recording, Failure> {
    let bytes = std::fs::read(path)
        .with_context(|| format!("cannot read {}", path.display()))
        .map_err(Failure::with(Status::Input))?;
    Recording::parse(&bytes)
        .with_context(|| format!("cannot use {}", path.display()))
        .map_err(Failure::with(Status::Input))
}

/// Reads a recording that may be damaged, or makes one of a capture, and tells how.
pub fn load_damaged(path: &Path) -> Result<Recording, Failure> {
    let recording = match load_capture(path)? {
        Some(recording) => recording,
        None => load(path)?,
    };
    for damage in recording.damage() {
        screen::tell(format_args!("helo-client: {}: {damage}", path.display()));
    }
    Ok(recording)
}

/// Makes a recording of a capture; `None` if the file is none.
fn load_capture(path: &Path) -> Result<Option<Recording>, Failure> {
    let mut start = Vec::new();
    let name = path.display().to_string();
    let file = File::open(path)
        .and_then(|file| file.take(16).read_to_end(&mut start))
        .and_then(|_| File::open(path))
        .with_context(|| format!("cannot read {name}"))
        .map_err(Failure::with(Status::Input))?;
    if !looks_like_a_capture(&start) {
        return Ok(None);
    }
    let mut key = [0; 32];
    getrandom::fill(&mut key)
        .context("the system gives no random numbers")
        .map_err(Failure::with(Status::Input))?;
    let settings = Settings {
        tool: concat!("helo-client ", env!("CARGO_PKG_VERSION")),
        redaction: Redaction::Auth(RedactKey(key)),
        limits: Limits::DEFAULT,
    };
    let (lines, damage) = recording_of(&name, file, settings)
        .with_context(|| format!("cannot use {name}"))
        .map_err(Failure::with(Status::Input))?;
    if let Some(damage) = damage {
        screen::tell(format_args!("helo-client: {name} is {damage}"));
    }
    let recording = Recording::parse(&lines).map_err(Failure::with(Status::Input))?;
    Ok(Some(recording))
}

/// What the recordings' run notes say of the server.
pub fn stated(recordings: &[Recording]) -> Facts {
    let mut map = BTreeMap::new();
    for note in recordings
        .iter()
        .flat_map(|recording| recording.notes("run"))
    {
        let bound = note.bindings("bind");
        map.extend(bound.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }
    Facts::from_map(&map)
}

/// Judges all their sessions together.
fn judged(recordings: &[Recording], facts: &Facts) -> Report {
    let dialogues: Vec<Dialogue> = recordings.iter().flat_map(Recording::dialogues).collect();
    let arrivals: Vec<Arrival> = recordings
        .iter()
        .flat_map(|recording| recording.notes("arrival"))
        .filter_map(|note| {
            let bound = note.bindings("bind");
            let map = bound.map(|(name, value)| (name.to_owned(), value.to_owned()));
            Arrival::from_map(&map.collect())
        })
        .collect();
    judge(&dialogues, facts, &arrivals)
}

/// The server, as the first run named it.
fn target(recordings: &[Recording]) -> Option<String> {
    let mut runs = recordings.iter().flat_map(|one| one.notes("run"));
    let bound = runs.find_map(|run| {
        let mut bound = run.bindings("bind");
        bound.find(|(name, _)| *name == "target")
    });
    bound.map(|(_, target)| target.to_owned())
}

/// Notes of legs with which something went wrong.
const TROUBLES: &[&str] = &["no-arrival", "not-run", "stopped", "unreachable"];

/// What went wrong with legs as a whole: the leg, the tag of the note, and what it
/// says. A leg that one recording lacks and another one has is not missing.
fn troubles(recordings: &[Recording]) -> Vec<(String, &'static str, String)> {
    let dialogues: Vec<Dialogue> = recordings.iter().flat_map(Recording::dialogues).collect();
    let has = |leg: &str| {
        dialogues
            .iter()
            .any(|dialogue| dialogue.facts.get("leg").is_some_and(|found| found == leg))
    };
    let notes = recordings.iter().flat_map(Recording::records);
    let notes = notes.filter(|record| record.kind() == "note" && record.session().is_none());
    notes
        .filter_map(|note| {
            let tag = TROUBLES
                .iter()
                .find(|&&tag| note.text("tag") == Some(tag))?;
            let leg = note.bindings("bind").find(|(name, _)| *name == "leg");
            let leg = leg.map_or("", |(_, leg)| leg);
            let said = note.text("msg").unwrap_or(tag);
            (*tag != "not-run" || !has(leg)).then(|| (leg.to_owned(), *tag, said.to_owned()))
        })
        .collect()
}

/// What the reader must know beside the verdicts.
fn remarks(recordings: &[Recording], facts: &Facts) -> Vec<String> {
    let troubles = troubles(recordings).into_iter();
    let mut remarks: Vec<String> = troubles
        .map(|(leg, _, said)| format!("{leg} leg: {said}"))
        .collect();
    if facts.foreign_domain.is_none() {
        remarks.push(
            "relaying was not checked: name a mailbox elsewhere with --witness (nothing is sent to it)".into(),
        );
    }
    remarks
}

/// A leg that was wanted was not run, or not to its end. One address that cannot be
/// reached is no matter while another one of the same leg can.
fn is_incomplete(recordings: &[Recording]) -> bool {
    let dialogues: Vec<Dialogue> = recordings.iter().flat_map(Recording::dialogues).collect();
    troubles(recordings).iter().any(|(leg, tag, _)| {
        let has = dialogues
            .iter()
            .any(|dialogue| dialogue.facts.get("leg") == Some(leg));
        match *tag {
            "no-arrival" => false,
            "unreachable" => !has,
            _ => true,
        }
    })
}

/// The exit status that a report deserves.
fn status(report: &Report, meta: &Meta, output: &Output) -> Status {
    use crate::cli::FailOn;
    let totals = report.totals;
    let warns = totals.warn > 0 && output.fail_on == FailOn::Warn;
    if totals.fail > 0 || warns {
        Status::No
    } else if totals.inconclusive > 0 || !meta.complete {
        Status::NoVerdict
    } else {
        Status::AsAsked
    }
}
