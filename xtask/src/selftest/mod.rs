//! `cargo xtask selftest`: the whole procedure on this machine.
//!
//! A server and, before it, a recorder on each leg's own host; the client runs
//! the procedure through the recorders, over IPv4 and over IPv6. The honest server
//! must pass, the open relay must be caught on the remote leg and nowhere else, and
//! what was recorded must replay.

mod ground;
mod outcome;
mod scenario;
pub(crate) mod unprivileged;
mod words;

use std::time::Instant;

use anyhow::Result;

use self::ground::{Family, Ground, Legs};
use self::scenario::Scenario;
use crate::cargo::Programs;
use crate::interrupt;
use crate::tally::Tally;

/// Runs it, and prints one closing line.
pub(crate) fn run(emulated: bool) -> Result<Tally> {
    interrupt::listen()?;
    if !emulated && let Some(outcome) = ground::become_root() {
        return outcome;
    }
    let programs = Programs::build()?;
    let begun = Instant::now();
    let ground = Ground::prepare(emulated)?;
    println!("selftest: {}", ground.describe());
    let scenario = Scenario::new(&programs, &ground)?;
    let (mut shown, mut replayed) = (Vec::new(), 0);
    for family in [Family::V4, Family::V6] {
        let Some(legs) = ground.legs(family) else {
            continue;
        };
        heading(&format!("an honest server over {family}"));
        let honest = scenario.run("honest", family)?;
        honest.must_pass()?;
        replayed += honest.replayed;
        if legs == Legs::Localhost {
            shown.push(format!(
                "over {family} the honest server passed on the localhost leg (loopback has no \
                 second address to come from)"
            ));
            continue;
        }
        heading(&format!(
            "an open relay over {family}, which must be caught"
        ));
        let open = scenario.run("open-relay", family)?;
        open.must_be_caught()?;
        replayed += open.replayed;
        shown.push(format!(
            "over {family} the honest server passed on both legs, the open relay was caught on \
             the remote leg alone"
        ));
    }
    let skipped = ground.skipped();
    for what in &skipped {
        println!("{}{what}", ground::SKIPPED);
    }
    println!(
        "\nselftest: PASS: {}; {replayed} recorded sessions replayed the same; {:.1} s",
        shown.join("; "),
        begun.elapsed().as_secs_f64()
    );
    let passed = shown.len();
    Ok(Tally { passed, skipped })
}

fn heading(what: &str) {
    println!("\n===== {what} =====\n");
}
