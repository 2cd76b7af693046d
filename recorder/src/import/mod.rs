//! `import`: a recording of what packet captures hold.

mod progress;
mod summary;

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use anyhow::{Context, anyhow};
use capture::Limits;
use capture::container::Reader;
use capture::import::{Importer, Settings, Totals};
use shared::recording::{RedactKey, Redaction};

use self::progress::Progress;
use crate::Stopped;
use crate::cli;

/// Imports the captures, or sums them up.
pub fn run(options: &cli::Import) -> Result<(), Stopped> {
    let settings = settings(options.record_secrets)?;
    let Some(output) = &options.output else {
        return summary::run(options, settings);
    };
    if output == Path::new("-") {
        let totals = import(options, settings, io::stdout().lock())?.0;
        tell(&totals);
        return Ok(());
    }
    let file = driver::journal::create(output).map_err(Stopped::with(6))?;
    let imported = import(options, settings, file);
    let (totals, file) = match imported {
        Ok(done) => done,
        // It is ours, and there is nothing to be read in it.
        Err(stopped) if stopped.status == UNUSABLE => {
            let _ = std::fs::remove_file(output);
            return Err(stopped);
        }
        Err(stopped) => return Err(stopped),
    };
    file.sync_all()
        .with_context(|| format!("cannot write {}", output.display()))
        .map_err(Stopped::with(6))?;
    tell(&totals);
    Ok(())
}

const UNUSABLE: u8 = 4;

/// How this program imports.
pub fn settings(record_secrets: bool) -> Result<Settings, Stopped> {
    let redaction = if record_secrets {
        Redaction::Nothing
    } else {
        let mut key = [0; 32];
        getrandom::fill(&mut key)
            .context("the system gives no random numbers")
            .map_err(Stopped::with(6))?;
        Redaction::Auth(RedactKey(key))
    };
    Ok(Settings {
        tool: concat!("helo-recorder ", env!("CARGO_PKG_VERSION")),
        redaction,
        limits: Limits::DEFAULT,
    })
}

/// Gives all packets of all captures to an importer that writes to `sink`.
fn import<W: Write>(
    options: &cli::Import,
    settings: Settings,
    sink: W,
) -> Result<(Totals, W), Stopped> {
    let mut importer = Importer::new(settings, sink);
    let failed = || Stopped::with(6);
    for path in &options.captures {
        let mut reader = open(path)?;
        let damage = loop {
            match reader.packet() {
                Ok(Some(packet)) => importer.handle(&packet).map_err(failed())?,
                Ok(None) => break None,
                Err(damage) => break Some(damage),
            }
        };
        let name = path.display().to_string();
        if let Some(damage) = &damage {
            anstream::eprintln!(
                "helo-recorder: warning: {name} is {damage}; what came before is kept"
            );
        }
        importer
            .end_of_file(&name, reader.facts(), damage.as_ref())
            .map_err(failed())?;
    }
    importer.finish().map_err(failed())
}

fn open(path: &Path) -> Result<Reader<'static>, Stopped> {
    let what = || format!("cannot use {}", path.display());
    let input: Box<dyn Read> = if path == Path::new("-") {
        Box::new(io::stdin().lock())
    } else {
        let file = File::open(path)
            .with_context(what)
            .map_err(Stopped::with(UNUSABLE))?;
        let size = file.metadata().map_or(0, |metadata| metadata.len());
        Box::new(Progress::of(file, size, path))
    };
    Reader::open(input)
        .with_context(what)
        .map_err(Stopped::with(UNUSABLE))
}

/// Says what became of the captures.
fn tell(totals: &Totals) {
    anstream::eprintln!("helo-recorder: {}", sentence(totals));
    if let Some(why) = nothing(totals) {
        anstream::eprintln!("helo-recorder: warning: {why}");
    }
}

fn sentence(totals: &Totals) -> String {
    format!(
        "{} mail sessions; {} other connections left out",
        totals.sessions, totals.other_connections
    )
}

/// Why there may be nothing to show.
fn nothing(totals: &Totals) -> Option<anyhow::Error> {
    (totals.unknown_links > 0).then(|| {
        anyhow!(
            "{} packets are of a link type that is not known, and were left out",
            totals.unknown_links
        )
    })
}
