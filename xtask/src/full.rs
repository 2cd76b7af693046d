//! The longer campaigns, and what came of them: `docs/full-ci.md`.

use std::fmt::Write;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::cargo::{root, test_with};
use crate::process::capture;
use crate::tally::Tally;
use crate::{fuzz, peers};

/// How often the recorder is killed.
const KILLS: &str = "2000";

/// Messages that a server takes without growing.
const MESSAGES: &str = "1000000";

/// Random cases for each law.
const CASES: &str = "20000";

/// Seconds for each fuzz target.
const FUZZ: u32 = 60;

/// How often the peers' suite is run.
const PEERS: usize = 3;

/// What came of a campaign.
struct Campaign {
    name: String,
    came: String,
    took: Duration,
}

/// Runs all of them, and writes down what came of them.
pub(crate) fn run() -> Result<Tally> {
    let (mut tally, mut campaigns) = (Tally::default(), Vec::new());
    let mut add = |name: &str, campaign: &mut dyn FnMut(&mut Tally) -> Result<String>| {
        println!("\n===== {name} =====\n");
        let begun = Instant::now();
        let came = campaign(&mut tally).with_context(|| name.to_owned())?;
        campaigns.push(Campaign {
            name: name.to_owned(),
            came,
            took: begun.elapsed(),
        });
        anyhow::Ok(())
    };
    add("the recorder, killed at random", &mut kills)?;
    add("servers that take very many messages", &mut growth)?;
    add("the laws of helo-shared", &mut laws)?;
    for target in fuzz::targets()? {
        add(&format!("fuzzing {target}"), &mut |tally| {
            fuzzing(&target, tally)
        })?;
    }
    for time in 1..=PEERS {
        add(
            &format!("real servers and clients, time {time}"),
            &mut with_peers,
        )?;
    }
    std::fs::write(root().join("docs/full-ci.md"), page(&campaigns)?)?;
    Ok(tally)
}

fn kills(tally: &mut Tally) -> Result<String> {
    let which = [
        "--package",
        "helo-recorder",
        "--test",
        "kill",
        "--",
        "--nocapture",
    ];
    let (tested, said) = test_with(&which, &[("HELO_KILLS", KILLS)])?;
    tally.add(tested);
    let beginning = format!("{KILLS} kills: ");
    let counts = said
        .lines()
        .find_map(|line| line.find(&beginning).and_then(|at| line.get(at..)));
    Ok(counts
        .context("the test does not say how many kills there were")?
        .to_owned())
}

fn growth(tally: &mut Tally) -> Result<String> {
    let which = [
        "--release",
        "--package",
        "helo-server",
        "--test",
        "growth",
        "--",
        "--nocapture",
        "--test-threads=1",
    ];
    let (tested, said) = test_with(&which, &[("HELO_MESSAGES", MESSAGES)])?;
    tally.add(tested);
    let counts: Vec<&str> = said
        .lines()
        .filter_map(|line| line.find("resident: ").and_then(|at| line.get(at..)))
        .collect();
    ensure!(!counts.is_empty(), "the test does not say what it measured");
    Ok(counts.join("; "))
}

fn laws(tally: &mut Tally) -> Result<String> {
    let which = ["--package", "helo-shared"];
    let (tested, _) = test_with(&which, &[("PROPTEST_CASES", CASES)])?;
    let came = format!(
        "{} tests passed, with {CASES} cases for each law",
        tested.passed
    );
    tally.add(tested);
    Ok(came)
}

fn fuzzing(target: &str, tally: &mut Tally) -> Result<String> {
    let inputs = fuzz::run(Some(target), FUZZ)?;
    tally.passed += 1;
    Ok(format!("{inputs} inputs in {FUZZ} s, no law broken"))
}

fn with_peers(tally: &mut Tally) -> Result<String> {
    let tried = peers::run(None)?;
    let came = format!("{} passed, {} skipped", tried.passed, tried.skipped.len());
    tally.add(tried);
    Ok(came)
}

fn page(campaigns: &[Campaign]) -> Result<String> {
    let commit = said("git", &["rev-parse", "--short=12", "HEAD"])?;
    let changed = !said("git", &["status", "--porcelain"])?.is_empty();
    let mut page = String::from(
        "# The full campaigns\n\nWritten by `cargo xtask campaigns`, which is part of \
         `cargo xtask ci --full` and fails where one of them does.\n\n",
    );
    writeln!(page, "| | |\n|---|---|")?;
    writeln!(
        page,
        "| date | {} |",
        said("date", &["--utc", "+%Y-%m-%d"])?
    )?;
    let changes = if changed { ", with changes" } else { "" };
    writeln!(page, "| commit | {commit}{changes} |")?;
    writeln!(page, "| compiler | {} |", said("rustc", &["--version"])?)?;
    let cores = std::thread::available_parallelism()?;
    writeln!(
        page,
        "| machine | {}, {cores} cores |",
        said("uname", &["-sm"])?
    )?;
    writeln!(
        page,
        "\n| campaign | what came of it | seconds |\n|---|---|---|"
    )?;
    for Campaign { name, came, took } in campaigns {
        writeln!(page, "| {name} | {came} | {} |", took.as_secs())?;
    }
    Ok(page)
}

fn said(program: &str, arguments: &[&str]) -> Result<String> {
    let output = capture(Command::new(program).args(arguments).current_dir(root()))?;
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}
