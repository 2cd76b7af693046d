//! `helo-client test` against real servers: what it says is what is so.

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::lab::Lab;
use crate::cargo::{Programs, root};
use crate::process::{capture, code};

/// Runs the procedure over IPv4 and IPv6, and compares.
pub(super) fn check(programs: &Programs, mta: &str, variant: &str) -> Result<()> {
    let lab = Lab::up(mta, variant, None)?;
    let truth = std::fs::read(root().join("tests/lab/truth.json"))?;
    let truth: Value = serde_json::from_slice(&truth)?;
    let truth = truth
        .get(mta)
        .and_then(|truth| truth.get(variant))
        .context("no truth is known")?;
    for (family, localhost, remote) in [
        ("-4", "127.0.0.1", "192.0.2.25"),
        ("-6", "[::1]", "[2001:db8::25]"),
    ] {
        let mut command = std::process::Command::new(&programs.client);
        command.args([
            "test",
            remote,
            "--localhost-target",
            localhost,
            family,
            "--json",
        ]);
        command.args(["--localhost-from", &format!("netns:{}", lab.pid("mx")?)]);
        command.args(["--remote-from", &format!("netns:{}", lab.pid("remote")?)]);
        command.args([
            "--to",
            &lab.mailbox(),
            "--witness",
            &format!("w@{}", lab.name("FOREIGN")),
        ]);
        command.args([
            "--helo",
            &format!("probe.{}", lab.name("PROBE")),
            "--pace",
            "0",
        ]);
        command
            .arg("--arrival")
            .arg(format!("maildir:{}", lab.maildir().display()));
        command
            .arg("--record")
            .arg(lab.scratch(&format!("test{family}.helo.jsonl")));
        let output = capture(&mut command)?;
        let report: Value = serde_json::from_slice(&output.stdout)
            .with_context(|| format!("no report over {family} (status {})", code(&output)))?;
        compare(&report, truth, code(&output), variant).with_context(|| {
            format!("over {family}: {}", String::from_utf8_lossy(&output.stdout))
        })?;
    }
    Ok(())
}

fn compare(report: &Value, truth: &Value, status: i32, variant: &str) -> Result<()> {
    for leg in ["localhost", "remote"] {
        let truth = truth.get(leg).context("no truth of the leg")?;
        for (check, wanted) in wanted(truth, leg) {
            if !is_in_catalogue(report, check) {
                continue;
            }
            let Some(verdict) = verdict(report, leg, check) else {
                bail!("{check} was not judged on the {leg} leg");
            };
            ensure!(
                wanted.contains(&verdict.as_str()),
                "{check} on the {leg} leg is {verdict}, and the truth is {wanted:?}"
            );
        }
        let stranger = leg == "remote" && variant == "open-relay";
        for row in report
            .get("rows")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            let id = row.get("id").and_then(Value::as_str).unwrap_or("");
            let failed = verdict(report, leg, id).as_deref() == Some("fail");
            let expected = (stranger && id.starts_with("relay-")) || allowed_to_fail(variant, id);
            ensure!(
                !failed || expected,
                "{id} failed on the {leg} leg of {variant}"
            );
        }
    }
    match variant {
        "sane" => ensure!(status == 0, "a sane server has status {status}"),
        "open-relay" => ensure!(status == 1, "an open relay has status {status}"),
        _ => {}
    }
    Ok(())
}

/// What is wrong with a variant besides relaying.
fn allowed_to_fail(variant: &str, check: &str) -> bool {
    match variant {
        "catchall" => check == "rcpt-unknown",
        "no-tls" => check.starts_with("tls-"),
        // The open relay takes any recipient, for its own domain too (Exim).
        "open-relay" => check == "rcpt-unknown",
        _ => false,
    }
}

/// The verdicts that agree with what is known of a leg.
fn wanted(truth: &Value, leg: &str) -> Vec<(&'static str, Vec<&'static str>)> {
    let is = |name: &str, word: &str| truth.get(name).and_then(Value::as_str) == Some(word);
    let yes = |name: &str| truth.get(name).and_then(Value::as_bool) == Some(true);
    let pass_if = |so: bool| if so { vec!["pass"] } else { vec!["fail"] };
    let mut wanted = vec![
        ("deliver-self", pass_if(is("delivery", "delivered"))),
        (
            "deliver-null-sender",
            pass_if(is("null_sender", "delivered")),
        ),
    ];
    if leg == "localhost" {
        wanted.push(("relay-plain", vec!["info"]));
        return wanted;
    }
    wanted.push(("relay-plain", pass_if(!yes("relays"))));
    wanted.push(("relay-null-sender", pass_if(!yes("relays"))));
    wanted.push(("relay-own-sender", pass_if(!yes("relays"))));
    for (check, verdicts) in [
        (
            "rcpt-unknown",
            if is("unknown_user", "refused-at-rcpt") {
                vec!["pass"]
            } else {
                vec!["fail", "warn"]
            },
        ),
        ("rcpt-postmaster", pass_if(is("postmaster", "delivered"))),
        ("enum-vrfy", pass_if(!yes("vrfy_tells"))),
        ("enum-expn", vec!["pass"]),
        ("tls-offered", pass_if(yes("starttls_offered"))),
    ] {
        wanted.push((check, verdicts));
    }
    wanted
}

/// The catalogue has that check: truth is known for more than is asked yet.
fn is_in_catalogue(report: &Value, check: &str) -> bool {
    let rows = report.get("rows").and_then(Value::as_array);
    rows.into_iter()
        .flatten()
        .any(|row| row.get("id").and_then(Value::as_str) == Some(check))
}

/// The verdict of a check on a leg.
fn verdict(report: &Value, leg: &str, check: &str) -> Option<String> {
    let legs = report.get("legs")?.as_array()?;
    let column = legs
        .iter()
        .position(|column| column.get("kind").and_then(Value::as_str) == Some(leg))?;
    let rows = report.get("rows")?.as_array()?;
    let row = rows
        .iter()
        .find(|row| row.get("id").and_then(Value::as_str) == Some(check))?;
    let cell = row.get("cells")?.as_array()?.get(column)?;
    Some(cell.get("verdict")?.as_str()?.to_owned())
}
