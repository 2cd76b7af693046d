//! `check`: is a recording whole?

use anyhow::anyhow;

use crate::Stopped;
use crate::cli;
use crate::show::load;

/// Says what is damaged; damage is status 4.
pub fn run(options: &cli::Check) -> Result<(), Stopped> {
    let recording = load(&options.file)?;
    let (lines, sessions) = (recording.records().len(), recording.sessions().len());
    for damage in recording.damage() {
        anstream::println!("{}: {damage}", options.file.display());
    }
    let crashed = recording
        .dialogues()
        .iter()
        .filter(|dialogue| dialogue.close.is_none())
        .count();
    let finished = if recording.is_finished() {
        "finished cleanly"
    } else {
        "not finished: its program was killed, or is still writing"
    };
    anstream::println!("{lines} lines, {sessions} sessions ({crashed} without an end), {finished}");
    if recording.damage().is_empty() {
        return Ok(());
    }
    Err(Stopped {
        error: anyhow!("{} is damaged", options.file.display()),
        status: 4,
    })
}
