//! The suite against real mail servers and clients: Postfix and Exim in a lab of
//! network namespaces, swaks, curl, msmtp and Python's smtplib as clients.
//!
//! Nothing is skipped: what a machine lacks is an error that names it.

mod delivery;
mod lab;
mod replay;
mod verdicts;

use std::time::Instant;

use anyhow::{Context, Result, bail};

use self::lab::Lab;
use crate::cargo::Programs;
use crate::interrupt;
use crate::process::find;

/// The programs that must be there, and the Debian package of each.
const NEEDED: &[(&str, &str)] = &[
    ("apt-get", "apt"),
    ("curl", "curl"),
    ("ip", "iproute2"),
    ("msmtp", "msmtp"),
    ("nsenter", "util-linux"),
    ("openssl", "openssl"),
    ("python3", "python3"),
    ("swaks", "swaks"),
    ("unshare", "util-linux"),
];

/// Runs it.
pub(crate) fn run() -> Result<()> {
    interrupt::listen()?;
    let missing: Vec<String> = NEEDED
        .iter()
        .filter(|(program, _)| find(program).is_none())
        .map(|(program, package)| format!("{program} (apt-get install {package})"))
        .collect();
    if !missing.is_empty() {
        bail!("the peers' suite needs {}", missing.join(", "));
    }
    if !rustix::process::geteuid().is_root() {
        bail!("the peers' suite needs root, for network namespaces");
    }
    let programs = Programs::build()?;
    let begun = Instant::now();
    Lab::install()?;
    let mut passed = 0;
    let mut step = |name: &str, done: Result<()>| -> Result<()> {
        done.with_context(|| format!("peers: {name}"))?;
        passed += 1;
        println!("peers: ok: {name}");
        Ok(())
    };
    for peer in delivery::PEERS {
        step(
            &format!("{peer} delivers to Postfix through the recorder, octet by octet"),
            delivery::to_postfix(&programs, peer),
        )?;
        step(
            &format!("{peer} delivers to helo-server through the recorder, octet by octet"),
            delivery::to_our_server(&programs, peer),
        )?;
    }
    step(
        "secrets are masked, and recorded exactly on request",
        delivery::secrets(&programs),
    )?;
    step(
        "a Postfix session replays against a fresh Postfix",
        replay::same(&programs),
    )?;
    step(
        "a refused relay session differs against an open relay",
        replay::different(&programs),
    )?;
    for mta in ["exim", "postfix"] {
        for variant in ["sane", "open-relay", "catchall", "no-tls"] {
            step(
                &format!("verdicts on {mta} {variant} agree with the truth"),
                verdicts::check(&programs, mta, variant),
            )?;
        }
    }
    println!(
        "peers: {passed} passed, 0 failed, 0 skipped in {:.1} s",
        begun.elapsed().as_secs_f64()
    );
    Ok(())
}
