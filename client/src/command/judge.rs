//! `judge`: today's checks over yesterday's recording.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context;
use shared::check::{Arrival, Facts, Report, judge};
use shared::recording::{Dialogue, Recording};

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
    let report = judged(&recordings, &facts);
    let recording = options.files.first().map(|path| path.display().to_string());
    let meta = Meta {
        target: None,
        recording,
        remarks: remarks(&recordings),
    };
    report::print(&report, &meta, &options.output).map_err(Failure::with(Status::Output))?;
    Ok(status(&report, &options.output, false))
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

/// Reads a recording that may be damaged, and tells how.
pub fn load_damaged(path: &Path) -> Result<Recording, Failure> {
    let recording = load(path)?;
    for damage in recording.damage() {
        screen::tell(format_args!("helo-client: {}: {damage}", path.display()));
    }
    Ok(recording)
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
pub fn judged(recordings: &[Recording], facts: &Facts) -> Report {
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

/// What went wrong with legs as a whole.
pub fn remarks(recordings: &[Recording]) -> Vec<String> {
    let mut found = Vec::new();
    for tag in ["unreachable", "stopped"] {
        for note in recordings.iter().flat_map(|recording| recording.notes(tag)) {
            let leg = note.bindings("bind").find(|(name, _)| *name == "leg");
            let leg = leg.map_or("", |(_, leg)| leg);
            found.push(format!("{leg} leg: {}", note.text("msg").unwrap_or(tag)));
        }
    }
    found
}

/// The exit status that a report deserves; `incomplete` if a leg that was wanted
/// was not run.
pub fn status(report: &Report, output: &Output, incomplete: bool) -> Status {
    use crate::cli::FailOn;
    let totals = report.totals;
    let warns = totals.warn > 0 && output.fail_on == FailOn::Warn;
    if totals.fail > 0 || warns {
        Status::No
    } else if totals.inconclusive > 0 || incomplete || report.legs.is_empty() {
        Status::NoVerdict
    } else {
        Status::AsAsked
    }
}
