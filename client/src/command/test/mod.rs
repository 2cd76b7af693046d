//! `test`: the procedure.
//!
//! The localhost leg, arrival, the remote leg, arrival; then everything that was
//! recorded is judged together. Each leg is a process of its own, here or
//! elsewhere, that gives back lines of a recording.

mod legs;
mod procedure;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use driver::clock::{Clock, wall};
use driver::journal::{self, Durability, Journal};
use shared::check::Facts;
use shared::recording::{NoteFacts, Recording};

use self::legs::{legs, refuse_haste};
use self::procedure::Run;
use super::judge::{self, load_damaged};
use crate::cli::Test;
use crate::exit::{Failure, Status};

/// Runs the procedure.
pub async fn run(options: Test) -> Result<Status, Failure> {
    let legs = legs(&options);
    refuse_haste(&options, &legs)?;
    let mut joined: Vec<Recording> = Vec::new();
    for path in &options.join {
        joined.push(load_damaged(path)?);
    }
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
    note_run(&journal, &facts, &options).map_err(Failure::with(Status::Output))?;
    Run::new(&options, &journal, &facts).legs(&legs).await?;
    journal.finish().map_err(Failure::with(Status::Output))?;
    report(&options, &path, joined)
}

/// The report is the one that `judge` gives of the recording.
fn report(options: &Test, path: &Path, joined: Vec<Recording>) -> Result<Status, Failure> {
    let mut recordings = vec![load_damaged(path)?];
    recordings.extend(joined);
    let facts = judge::stated(&recordings);
    let recording = path.display().to_string();
    judge::report(&recordings, &facts, Some(recording), &options.output)
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
        witness_ip: options.witness_ip,
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

fn note_run(journal: &Journal, facts: &Facts, options: &Test) -> Result<(), journal::WriteFailed> {
    let target = ("target".to_owned(), options.target.to_string());
    journal.note(&NoteFacts {
        by: "helo-client".into(),
        tag: Some("run".into()),
        bind: facts.to_map().into_iter().chain([target]).collect(),
        ..NoteFacts::default()
    })
}
