//! `helo-client test` against real servers: what it says is what is so.

use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::expected::verdicts;
use super::lab::Lab;
use super::truth::{Facts, Truth};
use crate::cargo::Programs;
use crate::process::{capture, code};

/// Runs the procedure over IPv4 and IPv6, and from the server's own address, and
/// compares every verdict with what follows from the truth.
pub(super) fn check(programs: &Programs, mta: &str, variant: &str) -> Result<()> {
    let (lab, truth) = (Lab::up(mta, variant, None)?, Truth::of(mta, variant)?);
    let runs = Runs {
        programs,
        lab: &lab,
        truth: &truth,
    };
    for place in &PLACES {
        runs.at(place).with_context(|| place.name.to_owned())?;
    }
    Ok(())
}

/// Where the procedure is run, and what it is compared with.
struct Place {
    name: &'static str,
    /// The address on localhost, and its truth; without them the leg is not run.
    localhost: Option<(&'static str, &'static str)>,
    /// The server's own address.
    target: &'static str,
    /// The host of the remote leg, and its truth.
    remote: (&'static str, &'static str),
    /// The address of the witness's mail host.
    witness: &'static str,
}

const PLACES: [Place; 3] = [
    Place {
        name: "over IPv4",
        localhost: Some(("127.0.0.1", "localhost")),
        target: "192.0.2.25",
        remote: ("remote", "remote"),
        witness: "203.0.113.25",
    },
    Place {
        name: "over IPv6",
        localhost: Some(("[::1]", "localhost6")),
        target: "[2001:db8::25]",
        remote: ("remote", "remote6"),
        witness: "2001:db8:53::25",
    },
    Place {
        name: "from the server's own address",
        localhost: None,
        target: "192.0.2.25",
        remote: ("mx", "own-address"),
        witness: "203.0.113.25",
    },
];

/// The runs against one server.
struct Runs<'a> {
    programs: &'a Programs,
    lab: &'a Lab,
    truth: &'a Truth,
}

impl Runs<'_> {
    fn at(&self, place: &Place) -> Result<()> {
        let localhost = place.localhost.map(|(_, leg)| self.truth.leg(leg));
        let localhost = localhost.transpose()?;
        let remote = self.truth.leg(place.remote.1)?;
        if let Some(first) = self.truth.first_try(place.remote.1)? {
            // Less patience than the server announces: nothing can be decided.
            self.run(
                place,
                &["--patience", "3s"],
                (localhost.as_ref(), Some(first)),
            )
            .context("with little patience")?;
        }
        let is_closed = |facts: &Facts| {
            facts
                .get("delivery")
                .is_some_and(|what| what != "delivered")
        };
        let Some(closed) = localhost.as_ref().filter(|facts| is_closed(facts)) else {
            return self.run(place, &[], (localhost.as_ref(), Some(remote)));
        };
        let mut stopped = closed.clone();
        stopped.insert("stopped".into(), "yes".into());
        self.run(place, &[], (Some(&stopped), None))?;
        self.run(place, &["--keep-going"], (Some(closed), Some(remote)))
            .context("going on")
    }

    /// One run, and what must be true of its legs; a leg without facts must not
    /// be run.
    fn run(
        &self,
        place: &Place,
        options: &[&str],
        (localhost, remote): (Option<&Facts>, Option<Facts>),
    ) -> Result<()> {
        let name = format!("{}{}.helo.jsonl", place.remote.1, options.concat());
        let mut command = self.command(place)?;
        command.args(options);
        command.arg("--record").arg(self.lab.scratch(&name));
        let output = capture(&mut command)?;
        let status = code(&output);
        let report: Value = serde_json::from_slice(&output.stdout)
            .with_context(|| format!("no report (status {status})"))?;
        let mut remote = remote;
        let near = localhost.and_then(|facts| facts.get("starttls"));
        if let (Some(remote), Some(near)) = (&mut remote, near) {
            remote.insert("starttls_near".into(), near.clone());
        }
        let mut compared = Compared::default();
        compared.leg(&report, "localhost", localhost)?;
        compared.leg(&report, "remote", remote.as_ref())?;
        compared.finish(status)
    }

    fn command(&self, place: &Place) -> Result<Command> {
        let lab = self.lab;
        let mut command = Command::new(&self.programs.client);
        command.args(["test", place.target, "--json", "--pace", "0"]);
        match place.localhost {
            Some((address, _)) => {
                command.args(["--localhost-target", address]);
                command.args(["--localhost-from", &format!("netns:{}", lab.pid("mx")?)]);
            }
            None => drop(command.arg("--one-leg")),
        }
        let from = format!("netns:{}", lab.pid(place.remote.0)?);
        command.args(["--remote-from", &from]);
        command.args(["--to", &lab.mailbox()]);
        command.args(["--witness", &format!("w@{}", lab.name("FOREIGN"))]);
        command.args(["--witness-ip", place.witness]);
        command.args(["--helo", &format!("probe.{}", lab.name("PROBE"))]);
        let mailbox = format!("maildir:{}", lab.maildir().display());
        command.args(["--arrival", &mailbox]);
        Ok(command)
    }
}

/// What came of the comparison.
#[derive(Default)]
struct Compared {
    wrong: Vec<String>,
    failed: bool,
    undecided: bool,
}

impl Compared {
    fn leg(&mut self, report: &Value, leg: &str, facts: Option<&Facts>) -> Result<()> {
        let Some(column) = column(report, leg) else {
            if facts.is_some() {
                self.wrong.push(format!("the {leg} leg was not run"));
            }
            return Ok(());
        };
        let Some(facts) = facts else {
            self.wrong.push(format!("the {leg} leg was run"));
            return Ok(());
        };
        for row in list(report, "rows") {
            let id = text(row, "id");
            let Some(cell) = list(row, "cells")
                .get(column)
                .filter(|cell| !cell.is_null())
            else {
                continue;
            };
            let wanted = verdicts(id, leg, facts)
                .with_context(|| format!("nothing is known of {id} on the {leg} leg: {facts:?}"))?;
            self.cell(&format!("{id} on the {leg} leg"), cell, &wanted);
        }
        Ok(())
    }

    fn cell(&mut self, name: &str, cell: &Value, wanted: &[&str]) {
        let (verdict, summary) = (text(cell, "verdict"), text(cell, "summary"));
        if !wanted.contains(&verdict) {
            let wanted = wanted.join(" or ");
            self.wrong.push(format!(
                "{name} is {verdict} ({summary}), the truth is {wanted}"
            ));
        }
        if verdict == "inconclusive" && list(cell, "advice").is_empty() {
            self.wrong
                .push(format!("{name} is inconclusive, without advice"));
        }
        self.failed |= verdict == "fail";
        self.undecided |= verdict == "inconclusive";
    }

    fn finish(mut self, status: i32) -> Result<()> {
        let wanted = match (self.failed, self.undecided) {
            (true, _) => 1,
            (false, true) => 3,
            (false, false) => 0,
        };
        if status != wanted {
            self.wrong
                .push(format!("the status is {status}, not {wanted}"));
        }
        if !self.wrong.is_empty() {
            bail!("{}", self.wrong.join("\n  "));
        }
        Ok(())
    }
}

fn column(report: &Value, leg: &str) -> Option<usize> {
    list(report, "legs")
        .iter()
        .position(|column| text(column, "kind") == leg)
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    let list = value.get(name).and_then(Value::as_array);
    list.map_or(&[], Vec::as_slice)
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}
