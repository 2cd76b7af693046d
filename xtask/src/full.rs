//! The longer campaigns, and what came of them: `docs/full-ci.md`.

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

/// Where it is written down what came of them.
const PAGE: &str = "docs/full-ci.md";

/// How it begins.
const HEAD: &str = "\
# The full campaigns

Written by `cargo xtask campaigns`, which is part of `cargo xtask ci --full`: the last run of
each campaign. It fails where one of them does.

| campaign | what came of it | seconds | date | commit | machine |
|---|---|---|---|---|---|
";

type Campaign<'a> = (String, Box<dyn Fn(&mut Tally) -> Result<String> + 'a>);

/// Runs them, or those with these words in their names, and writes down what came of
/// each as soon as it ends.
pub(crate) fn run(only: Option<&str>) -> Result<Tally> {
    let mut tally = Tally::default();
    let wanted = |name: &str| only.is_none_or(|words| name.contains(words));
    let mut some = false;
    for (name, campaign) in campaigns()? {
        if !wanted(&name) {
            continue;
        }
        some = true;
        println!("\n===== {name} =====\n");
        let begun = Instant::now();
        let came = campaign(&mut tally).with_context(|| name.clone())?;
        let row = row(&name, &came, begun.elapsed())?;
        let page = root().join(PAGE);
        let before = std::fs::read_to_string(&page).unwrap_or_default();
        std::fs::write(&page, with_row(&before, &name, &row))?;
    }
    ensure!(some, "campaigns: nothing is called that");
    Ok(tally)
}

fn campaigns() -> Result<Vec<Campaign<'static>>> {
    let mut all: Vec<Campaign<'static>> = vec![
        ("the recorder, killed at random".into(), Box::new(kills)),
        (
            "servers that take very many messages".into(),
            Box::new(growth),
        ),
        ("the laws of helo-shared".into(), Box::new(laws)),
    ];
    for target in fuzz::targets()? {
        let name = format!("fuzzing {target}");
        all.push((name, Box::new(move |tally| fuzzing(&target, tally))));
    }
    all.push(("real servers and clients".into(), Box::new(with_peers)));
    Ok(all)
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

/// A line of the page.
fn row(name: &str, came: &str, took: Duration) -> Result<String> {
    let commit = said("git", &["rev-parse", "--short=12", "HEAD"])?;
    let changed = !said("git", &["status", "--porcelain", "--", ".", ":!docs"])?.is_empty();
    let changes = if changed { ", with changes" } else { "" };
    let date = said("date", &["--utc", "+%Y-%m-%d"])?;
    let cores = std::thread::available_parallelism()?;
    let machine = said("uname", &["-sm"])?;
    let seconds = took.as_secs();
    Ok(format!(
        "| {name} | {came} | {seconds} | {date} | {commit}{changes} | {machine}, {cores} cores |\n"
    ))
}

/// The page with that row in the place of the campaign's last one, or at its end.
fn with_row(page: &str, name: &str, row: &str) -> String {
    let rows = page.strip_prefix(HEAD).unwrap_or_default();
    let of_campaign = format!("| {name} | ");
    let mut out = HEAD.to_owned();
    let mut replaced = false;
    for line in rows.split_inclusive('\n') {
        if line.starts_with(&of_campaign) {
            replaced = true;
            out.push_str(row);
        } else {
            out.push_str(line);
        }
    }
    if !replaced {
        out.push_str(row);
    }
    out
}

fn said(program: &str, arguments: &[&str]) -> Result<String> {
    let output = capture(Command::new(program).args(arguments).current_dir(root()))?;
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_campaign_has_one_row() {
        let page = with_row("", "a", "| a | 1 |\n");
        let page = with_row(&page, "b", "| b | 2 |\n");
        let page = with_row(&page, "a", "| a | 3 |\n");
        assert_eq!(page, format!("{HEAD}| a | 3 |\n| b | 2 |\n"));
    }
}
