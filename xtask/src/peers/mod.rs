//! The suite against real mail servers and clients: Postfix and Exim in a lab of
//! network namespaces, as servers and as senders, and programs and libraries that are
//! clients alone.
//!
//! Nothing is skipped: what a machine lacks is an error that names it.

mod api;
mod clients;
mod delivery;
mod expected;
mod lab;
mod nmap;
mod replay;
mod truth;
mod verdicts;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::{Result, bail, ensure};

use self::lab::Lab;
use crate::cargo::Programs;
use crate::interrupt;
use crate::process::find;
use crate::tally::Tally;

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

/// What the servers of the lab are like.
const VARIANTS: &[&str] = &[
    "greylist",
    "closed-localhost",
    "sane",
    "open-relay",
    "plaintext-auth",
    "catchall",
    "no-tls",
    "expired-cert",
];

/// Labs at a time. Each is three hosts with a mail server, a name server and a
/// witness, which mostly wait.
const LABS: usize = 6;

/// Runs it, or what has those words in its name.
pub(crate) fn run(only: Option<&str>) -> Result<Tally> {
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
    let wanted = |step: &Step<'_>| only.is_none_or(|words| step.name.contains(words));
    let (steps, skipped): (Vec<_>, Vec<_>) = steps(&programs).into_iter().partition(wanted);
    ensure!(!steps.is_empty(), "peers: nothing is called that");
    let failed = at_once(&steps)?;
    println!(
        "peers: {} passed, {failed} failed, {} skipped in {:.1} s",
        steps.len() - failed,
        skipped.len(),
        begun.elapsed().as_secs_f64()
    );
    ensure!(failed == 0, "peers: {failed} of {} failed", steps.len());
    Ok(Tally {
        passed: steps.len(),
        skipped: skipped.into_iter().map(|step| step.name).collect(),
    })
}

/// One thing to try, in a lab of its own.
struct Step<'a> {
    name: String,
    run: Box<dyn Fn() -> Result<()> + Send + Sync + 'a>,
}

impl<'a> Step<'a> {
    fn new(name: impl Into<String>, run: impl Fn() -> Result<()> + Send + Sync + 'a) -> Self {
        Self {
            name: name.into(),
            run: Box::new(run),
        }
    }
}

/// All of them, the longest first: Exim takes its time to say goodbye.
fn steps(programs: &Programs) -> Vec<Step<'_>> {
    let mut steps = vec![
        Step::new("docs/clients.md is what real clients do", || {
            clients::run(programs)
        }),
        Step::new(
            "nmap finds honest servers honest, and open ones open",
            || nmap::run(programs),
        ),
    ];
    for mta in ["exim", "postfix"] {
        steps.extend(VARIANTS.iter().map(|variant| {
            let name = format!("verdicts on {mta} {variant} agree with the truth");
            Step::new(name, move || verdicts::check(programs, mta, variant))
        }));
    }
    for peer in delivery::PEERS {
        let name =
            |to: &str| format!("{peer} delivers to {to} through the recorder, octet by octet");
        steps.push(Step::new(name("Postfix"), move || {
            delivery::to_postfix(programs, peer)
        }));
        steps.push(Step::new(name("helo-server"), move || {
            delivery::to_our_server(programs, peer)
        }));
    }
    steps.push(Step::new(
        "secrets are masked, and recorded exactly on request",
        || delivery::secrets(programs),
    ));
    steps.push(Step::new(
        "schemathesis finds nothing against the API",
        || api::schemathesis(programs),
    ));
    steps.push(Step::new(
        "a Postfix session replays against a fresh Postfix",
        || replay::same(programs),
    ));
    steps.push(Step::new(
        "a refused relay session differs against an open relay",
        || replay::different(programs),
    ));
    steps
}

/// Runs the steps, some at a time; how many failed.
fn at_once(steps: &[Step<'_>]) -> Result<usize> {
    let (next, failed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let work = || {
        while let Some(step) = steps.get(next.fetch_add(1, Ordering::Relaxed)) {
            if interrupt::check().is_err() {
                return;
            }
            match (step.run)() {
                Ok(()) => println!("peers: ok: {}", step.name),
                Err(error) => {
                    failed.fetch_add(1, Ordering::Relaxed);
                    println!("peers: FAILED: {}: {error:#}", step.name);
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..LABS {
            scope.spawn(work);
        }
    });
    interrupt::check()?;
    Ok(failed.into_inner())
}
