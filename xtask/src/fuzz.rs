//! `cargo xtask fuzz`: the targets of `shared/fuzz` under libFuzzer.
//!
//! cargo-fuzz wants a nightly compiler for its sanitizers. Safe Rust does well
//! without them, and what libFuzzer needs to be guided by coverage any compiler
//! has. libFuzzer itself is C++.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::cargo::{cargo_with, root, target};
use crate::interrupt;
use crate::process::{capture, find, run as run_program};

/// What cargo-fuzz passes to the compiler, but for the sanitizers.
const COVERAGE: &[&str] = &[
    "--cfg=fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Ccodegen-units=1",
    "-Cdebug-assertions",
    "-Coverflow-checks",
];

/// Fuzzes every target, or the one of that name, for so many seconds; how many
/// inputs were tried.
pub(crate) fn run(only: Option<&str>, seconds: u32) -> Result<u64> {
    interrupt::listen()?;
    ensure!(
        find("c++").is_some(),
        "there is no c++ (apt-get install g++)"
    );
    let programs = build()?;
    let (mut tried, mut inputs) = (0, 0);
    for target in targets()? {
        if only.is_some_and(|only| only != target) {
            continue;
        }
        let runs = fuzz(&programs.join(&target), &target, seconds)
            .with_context(|| format!("fuzzing {target}"))?;
        println!("fuzz: ok: {target}, {runs} inputs in {seconds} s");
        (tried, inputs) = (tried + 1, inputs + runs);
    }
    ensure!(tried > 0, "there is no such target");
    Ok(inputs)
}

/// Builds the targets, and says where they are.
fn build() -> Result<PathBuf> {
    let host = host()?;
    let directory = target().join("fuzz");
    let manifest = root().join("shared/fuzz/Cargo.toml");
    let (manifest, place) = (manifest.to_string_lossy(), directory.to_string_lossy());
    let mut arguments = vec![
        "build",
        "--release",
        "--locked",
        "--manifest-path",
        &manifest,
    ];
    // For a target that is named, the flags are not for what runs while building.
    arguments.extend(["--target", &host, "--target-dir", &place]);
    cargo_with(&arguments, &[("RUSTFLAGS", &COVERAGE.join(" "))])?;
    Ok(directory.join(&host).join("release"))
}

fn host() -> Result<String> {
    let output = capture(Command::new("rustc").arg("-vV"))?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let host = said.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc does not say its host")?.to_owned())
}

/// What can be fuzzed.
pub(crate) fn targets() -> Result<Vec<String>> {
    let mut targets = Vec::new();
    for entry in fs::read_dir(root().join("shared/fuzz/fuzz_targets"))? {
        let path = entry?.path();
        targets.extend(
            path.file_stem()
                .map(|name| name.to_string_lossy().into_owned()),
        );
    }
    targets.sort();
    Ok(targets)
}

/// Runs one, from what it found before and what is known to be of interest.
fn fuzz(program: &Path, name: &str, seconds: u32) -> Result<u64> {
    let place = target().join("fuzz");
    let corpus = place.join("corpus").join(name);
    fs::create_dir_all(&corpus)?;
    let log = place.join(format!("{name}.log"));
    let mut command = Command::new(program);
    command
        .arg(format!("-max_total_time={seconds}"))
        .args(["-print_final_stats=1", "-timeout=10", "-rss_limit_mb=2048"])
        .arg(option("-dict=", &root().join("shared/fuzz/smtp.dict")))
        .arg(option("-artifact_prefix=", &place.join(format!("{name}-"))))
        .arg(&corpus)
        .args(seeds(name))
        .stderr(fs::File::create(&log)?);
    let status = run_program(&mut command)?;
    let said = fs::read(&log)?;
    let said = String::from_utf8_lossy(&said);
    if !status.success() {
        let tail: Vec<&str> = said.lines().rev().take(30).collect();
        let tail: Vec<&str> = tail.into_iter().rev().collect();
        bail!("it ended with {status}:\n{}", tail.join("\n"));
    }
    let runs = said
        .lines()
        .find_map(|line| line.strip_prefix("stat::number_of_executed_units:"));
    let runs = runs.and_then(|number| number.trim().parse().ok());
    runs.context("libFuzzer does not say how many inputs it tried")
}

fn option(name: &str, path: &Path) -> String {
    format!("{name}{}", path.display())
}

/// Real input, to begin with.
fn seeds(name: &str) -> Vec<PathBuf> {
    let transcripts = root().join("shared/tests/transcripts");
    let own = root().join("shared/fuzz/seeds").join(name);
    let transcripts = (name == "transcript").then_some(transcripts);
    let captures = (name == "capture").then(|| root().join("tests/captures"));
    let all = transcripts.into_iter().chain(captures).chain([own]);
    all.filter(|directory| directory.is_dir()).collect()
}
