//! Plays the scripts of a leg, over each address family.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use driver::clock::Clock;
use driver::journal::{self, Durability, Journal};
use driver::stream::Stream;
use driver::talk::{Broken, Talk};
use driver::tls;
use shared::check::{BASELINE, Facts, LegKind, OWN_LITERAL, Script, Step, literal, plan};
use shared::message::Marked;
use shared::recording::{NoteFacts, OpenFacts};
use tokio::time::Instant;

use super::Plan;
use super::deferred::Deferred;
use crate::exit::{Failure, Status};
use crate::player::{Limits, Part, Played, play};

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(30);

/// How long a server may take to let us leave.
const LEAVING: Duration = Duration::from_secs(5);

/// How long to wait before a session that the server cut short is tried again.
/// A paced run waits the minute that busy servers ask for.
const RETRY: Duration = Duration::from_secs(60);

/// After so many connections in a row over which nothing could be asked, the
/// server is left alone: it may have banned this client, or be down.
const FRUITLESS: u32 = 5;

/// Runs a leg, and writes its recording to standard output.
pub(super) async fn run(plan: &Plan) -> Result<Status, Failure> {
    let clock = Clock::start();
    let settings = journal::Settings {
        tool: concat!("helo-client ", env!("CARGO_PKG_VERSION")),
        durability: Durability::Written,
        record_secrets: false,
    };
    let journal = Journal::stdout(&settings, clock).map_err(Failure::with(Status::Output))?;
    let kind = LegKind::named(&plan.leg)
        .with_context(|| format!("there is no leg '{}'", plan.leg))
        .map_err(Failure::with(Status::Input))?;
    let mut leg = Leg {
        plan,
        kind,
        clock,
        journal,
        last_start: None,
        delivered: false,
    };
    let outcome = leg.run().await;
    if let Err(error) = &outcome {
        leg.remark("unreachable", &format!("{error:#}"))
            .map_err(Failure::with(Status::Output))?;
    }
    leg.journal
        .finish()
        .map_err(Failure::with(Status::Output))?;
    Ok(Status::AsAsked)
}

struct Leg<'a> {
    plan: &'a Plan,
    kind: LegKind,
    clock: Clock,
    journal: Journal,
    last_start: Option<Instant>,
    delivered: bool,
}

/// What the scripts of one address need.
struct Ground {
    server: SocketAddr,
    facts: Facts,
    /// There was a connection.
    talked: bool,
    /// Connections in a row over which nothing could be asked.
    fruitless: u32,
}

impl Leg<'_> {
    async fn run(&mut self) -> Result<()> {
        let target = &self.plan.target;
        let found = target
            .resolve()
            .await
            .with_context(|| format!("looking up {target}"))?;
        let mut addresses: Vec<SocketAddr> = Vec::new();
        for address in found {
            let known = addresses
                .iter()
                .any(|known| known.is_ipv4() == address.is_ipv4());
            let fits = self
                .plan
                .source
                .is_none_or(|source| source.is_ipv4() == address.is_ipv4());
            if !known && fits && self.plan.families.include(address.ip()) {
                addresses.push(address);
            }
        }
        if addresses.is_empty() {
            anyhow::bail!("{target} has no address of the families asked for");
        }
        for address in addresses {
            self.address(address).await?;
        }
        Ok(())
    }

    /// Everything over one address of the server. What was asked before the server
    /// could be asked no more counts, and the rest is missing.
    async fn address(&mut self, server: SocketAddr) -> Result<(), journal::WriteFailed> {
        let mut ground = Ground {
            server,
            facts: Facts::from_map(&self.plan.facts),
            talked: false,
            fruitless: 0,
        };
        ground.facts.server_ip = Some(server.ip().to_canonical());
        match self.scripts(&mut ground).await {
            Ok(()) => Ok(()),
            Err(error) => {
                let tag = if ground.talked {
                    "stopped"
                } else {
                    "unreachable"
                };
                self.remark(tag, &format!("{error:#}"))
            }
        }
    }

    async fn scripts(&mut self, ground: &mut Ground) -> Result<()> {
        let probe = Script {
            steps: vec![Step::Ehlo(helo(&ground.facts, None)), Step::Quit],
            ..baseline_script()
        };
        let played = self.script(ground, &probe).await?;
        if ground.facts.server_name.is_none() {
            ground.facts.server_name.clone_from(&played.server_name);
        }
        let offered: Vec<String> = played.offered.lines().map(str::to_owned).collect();
        self.delivered = false;
        let scripts = plan(self.kind, &ground.facts, &offered);
        let baseline = scripts
            .last()
            .filter(|last| last.check == BASELINE)
            .cloned();
        let mut deferred = Deferred::new(self.plan.patience);
        for script in scripts {
            let delivery = script.check == "deliver-self";
            let mut played = self.script_with_retry(ground, &script).await?;
            match played.greylisted {
                // No answer means anything before the delivery is through: it waits by
                // itself, the others are asked again together.
                Some(wait) if delivery => {
                    if let Some(ready) = deferred.after(wait) {
                        self.wait(ready).await?;
                        played = self.script_with_retry(ground, &script).await?;
                    }
                }
                Some(wait) if script.check != BASELINE => deferred.add(script, wait),
                _ => {}
            }
            self.delivered |= delivery && played.delivered;
            let first_failed = delivery && !self.delivered && !self.plan.keep_going;
            if first_failed && self.kind == LegKind::Localhost {
                anyhow::bail!("the delivery failed: the other checks were not run");
            }
        }
        if let Some((ready, scripts)) = deferred.take() {
            self.wait(ready).await?;
            for script in baseline.iter().chain(&scripts).chain(&baseline) {
                self.script_with_retry(ground, script).await?;
            }
        }
        Ok(())
    }

    /// Waits for the end of greylisting, and says so every minute: who waits for us
    /// takes a long silence for the end.
    async fn wait(&mut self, ready: Instant) -> Result<()> {
        loop {
            let rest = ready.saturating_duration_since(Instant::now());
            if rest.is_zero() {
                return Ok(());
            }
            let message = format!("greylisted, waiting {:.0} s", rest.as_secs_f64());
            self.remark("waiting", &message)?;
            tokio::time::sleep(rest.min(Duration::from_secs(60))).await;
        }
    }

    async fn script_with_retry(&mut self, ground: &mut Ground, script: &Script) -> Result<Played> {
        let mut played = self.script(ground, script).await?;
        if played.wants_tls {
            played = self.script(ground, &script.clone().in_tls()).await?;
        }
        if played.cut_short.is_some() && !script.once {
            // Once more, as a client that was told to come back later would.
            if !self.plan.pace.is_zero() {
                tokio::time::sleep(RETRY).await;
            }
            played = self.script(ground, script).await?;
        }
        Ok(played)
    }

    /// Plays one script over a connection of its own. A server that lets nothing be
    /// asked again and again is asked no more.
    async fn script(&mut self, ground: &mut Ground, script: &Script) -> Result<Played> {
        let played = self.connection(ground, script).await?;
        let nothing = played.cut_short.is_some() && !played.answered;
        if played.greeted && !nothing && !played.silent {
            ground.fruitless = 0;
            return Ok(played);
        }
        ground.fruitless += 1;
        if ground.fruitless >= FRUITLESS {
            let why = played.cut_short.as_deref();
            anyhow::bail!(
                "over {FRUITLESS} connections in a row nothing could be asked ({}): the other \
                 checks were not run; ask again later, or more slowly",
                why.unwrap_or("it greeted with a refusal")
            );
        }
        Ok(played)
    }

    async fn connection(&mut self, ground: &mut Ground, script: &Script) -> Result<Played> {
        self.pace().await;
        let connected = driver::net::connect(ground.server, self.plan.source, CONNECT).await;
        let tcp = connected.with_context(|| format!("connecting to {}", ground.server))?;
        ground.talked = true;
        let client = tcp.local_addr().context("asking for our address")?;
        let mut session = self.journal.session(OpenFacts {
            role: "client",
            client: Some(client.to_string()),
            listener: Some(ground.server.to_string()),
            name: Some(self.plan.target.host.clone()),
            implicit_tls: self.plan.target.implicit_tls,
            ..OpenFacts::default()
        })?;
        session.note(&NoteFacts {
            by: "helo-client".into(),
            tag: Some("session".into()),
            bind: self.labels(script),
            ..NoteFacts::default()
        })?;
        let mut talk = Talk::new(Stream::new(tcp), self.clock, session, Box::new(|_| {}));
        let name = tls::server_name(&self.plan.tls_name)?;
        let helo = helo(&ground.facts, Some(client.ip()));
        let script = name_ourselves(script, &helo, client.ip());
        // A Message-ID of its own for each of a session's messages.
        let count = AtomicU32::new(0);
        let part = Part {
            limits: self.plan.timeout.map_or(Limits::QUICK, Limits::all),
            name: name.clone(),
            message: Box::new(|from, to| {
                let nth = count.fetch_add(1, Ordering::Relaxed);
                self.message((ground.server, nth), &script, from, to)
            }),
        };
        if self.plan.target.implicit_tls {
            let client = tls::Client::new(tls::Verify::Noted, None)?;
            let limit = self.plan.timeout.unwrap_or(CONNECT);
            if let Err(error) = talk.start_tls(&client, name, limit).await {
                talk.close(LEAVING).await?;
                return Ok(Played {
                    silent: matches!(error, Broken::TimedOut(_)),
                    cut_short: Some(error.to_string()),
                    ..Played::default()
                });
            }
        }
        let played = play(&mut talk, &script, &part).await;
        drop(part);
        talk.close(LEAVING).await?;
        let played = match played {
            Err(Broken::Journal(error)) => return Err(error.into()),
            other => other?,
        };
        Ok(played)
    }

    /// At least the time between two connections that good manners ask for.
    async fn pace(&mut self) {
        if let Some(last) = self.last_start {
            tokio::time::sleep_until(last + self.plan.pace).await;
        }
        self.last_start = Some(Instant::now());
    }

    fn labels(&self, script: &Script) -> Vec<(String, String)> {
        let mut labels = vec![
            ("leg".to_owned(), self.kind.name().to_owned()),
            ("check".to_owned(), script.check.to_owned()),
            ("case".to_owned(), script.case.to_owned()),
        ];
        if self.plan.emulated {
            labels.push(("emulated".to_owned(), "yes".to_owned()));
        }
        labels
    }

    fn message(
        &self,
        (server, nth): (SocketAddr, u32),
        script: &Script,
        from: &str,
        to: &str,
    ) -> Vec<u8> {
        // An id of its own for each family, whatever name is given in EHLO.
        let helo = &first_hello(script);
        let token = self.plan.facts.get("token").map_or("none", String::as_str);
        let postmaster = format!("postmaster@{helo}");
        let case = match nth {
            0 => script.case.to_owned(),
            nth => format!("{}-{}", script.case, nth + 1),
        };
        let family = if server.is_ipv6() { "-v6" } else { "" };
        Marked {
            token,
            check: script.check,
            leg: &format!("{}{family}", self.kind.name()),
            case: &case,
            from: if from.is_empty() { &postmaster } else { from },
            to,
            helo,
            operator: &self.plan.operator,
            at: self.clock.now(),
        }
        .build()
    }

    /// A note of the leg as a whole.
    fn remark(&self, tag: &str, message: &str) -> Result<(), journal::WriteFailed> {
        let mut bind = BTreeMap::from([("leg".to_owned(), self.kind.name().to_owned())]);
        bind.insert("target".to_owned(), self.plan.target.to_string());
        self.journal.note(&NoteFacts {
            by: "helo-client".into(),
            message: Some(message.to_owned()),
            tag: Some(tag.to_owned()),
            bind: bind.into_iter().collect(),
            ..NoteFacts::default()
        })
    }
}

/// The name to give: what was stated, else our address as a literal
/// (RFC 5321 §4.1.4).
fn helo(facts: &Facts, client: Option<IpAddr>) -> String {
    match (&facts.helo_name, client) {
        (Some(name), _) => name.clone(),
        (None, Some(client)) => literal(client.to_canonical()),
        (None, None) => "localhost".to_owned(),
    }
}

/// The name that a script gives first.
fn first_hello(script: &Script) -> String {
    let names = script.steps.iter().find_map(|step| match step {
        Step::Ehlo(name) => Some(name.clone()),
        _ => None,
    });
    names.unwrap_or_else(|| "localhost".to_owned())
}

fn baseline_script() -> Script {
    Script {
        check: BASELINE,
        case: "hello",
        stop: shared::check::Stop::PreData,
        once: false,
        steps: Vec::new(),
    }
}

/// Where a script says the name that is said when none is known, it says ours; and our
/// address, where it means that.
fn name_ourselves(script: &Script, helo: &str, client: IpAddr) -> Script {
    let mut script = script.clone();
    // Checks that ask with `localhost` on purpose say so in their own steps.
    let on_purpose = ["relay-helo-trust", "deliver-self", "helo-own-name"];
    if on_purpose.contains(&script.check) {
        return script;
    }
    for step in &mut script.steps {
        match step {
            Step::Ehlo(name) if name == "localhost" => helo.clone_into(name),
            Step::Ehlo(name) if name == OWN_LITERAL => *name = literal(client.to_canonical()),
            _ => {}
        }
    }
    script
}
