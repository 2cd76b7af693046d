//! `cargo xtask bench`: what our programs cost, beside the programs people know.
//!
//! A row is measured turn by turn, ours and the peer's (A B A B), so that a machine
//! whose speed drifts drifts for both; what counts is the median of the ratios of
//! the turns. CPU time for each message hardly depends on what else the machine
//! does, rates do: turns that others have disturbed are made again. None of it is a
//! test: nothing fails because it is slow.

mod calm;
mod contest;
mod idle;
pub(crate) mod load;
mod peers;
mod pin;
mod recorder;
mod rows;
mod server;
mod table;

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;

use self::peers::Peers;
use self::rows::Row;
use self::table::Line;
use crate::cargo::{cargo, target};
use crate::interrupt;

/// What to measure, and how long.
#[derive(Args, Clone, Debug)]
pub(crate) struct Bench {
    /// The rows to measure [default: all]
    #[arg(value_name = "ROW")]
    rows: Vec<String>,
    /// Turns of each row: ours and the peer's count as one
    #[arg(long, default_value_t = 5, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    turns: u32,
    /// About how long each side of a turn takes, in seconds
    #[arg(long, default_value_t = 1.0, value_name = "SECONDS")]
    seconds: f64,
    /// Print one JSON object instead of the table
    #[arg(long)]
    json: bool,
}

/// What all rows are measured with.
struct Setting {
    turns: usize,
    seconds: f64,
    server: PathBuf,
    recorder: PathBuf,
    /// This program, to run the load in a process of its own.
    load: PathBuf,
    peers: Peers,
    directory: tempfile::TempDir,
}

/// Measures, and prints.
pub(crate) fn run(bench: &Bench) -> Result<()> {
    interrupt::listen()?;
    let chosen = chosen(&bench.rows)?;
    cargo(&["build", "--release", "--workspace", "--bins", "--locked"])?;
    let built = target().join("release");
    let setting = Setting {
        turns: usize::try_from(bench.turns)?,
        seconds: bench.seconds,
        server: built.join("helo-server"),
        recorder: built.join("helo-recorder"),
        load: built.join("xtask"),
        peers: Peers::default(),
        directory: tempfile::Builder::new().prefix("helo-bench-").tempdir()?,
    };
    let mut lines = Vec::new();
    for row in chosen {
        interrupt::check()?;
        eprintln!("{}: {}", row.id, row.title);
        let line = match row.measure(&setting) {
            Ok(figures) => Line::of(row, &figures),
            Err(error) if interrupt::check().is_ok() => Line::without(row, &format!("{error:#}")),
            Err(error) => return Err(error),
        };
        lines.push(line);
    }
    if bench.json {
        println!("{}", table::json(&lines));
    } else {
        println!("{}", table::text(&lines));
    }
    Ok(())
}

fn chosen(names: &[String]) -> Result<Vec<&'static Row>> {
    if names.is_empty() {
        return Ok(rows::ALL.iter().collect());
    }
    let find = |name: &String| {
        rows::ALL
            .iter()
            .find(|row| row.id.eq_ignore_ascii_case(name))
    };
    let mut chosen = Vec::new();
    for name in names {
        let Some(row) = find(name) else {
            let all: Vec<&str> = rows::ALL.iter().map(|row| row.id).collect();
            bail!("there is no row {name}: {}", all.join(", "));
        };
        chosen.push(row);
    }
    Ok(chosen)
}
