//! Recorded sessions said again to real servers.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

use super::lab::{Lab, must};
use crate::cargo::Programs;
use crate::process::{Background, capture, code};

/// A delivery to Postfix, replayed against another one, is the same.
pub(super) fn same(programs: &Programs) -> Result<()> {
    let lab = Lab::up("postfix", "sane", None)?;
    let to = lab.mailbox();
    let recording = record(&lab, programs, &to, true)?;
    let fresh = Lab::up("postfix", "sane", Some(&lab.names_file()))?;
    let (status, shown) = replay(&fresh, programs, &recording)?;
    ensure!(status == 0, "status {status}:\n{shown}");
    Ok(())
}

/// A refused relay attempt, replayed against an open relay, is not, and the
/// step is named.
pub(super) fn different(programs: &Programs) -> Result<()> {
    let lab = Lab::up("postfix", "sane", None)?;
    let to = format!("w@{}", lab.name("FOREIGN"));
    let recording = record(&lab, programs, &to, false)?;
    let open = Lab::up("postfix", "open-relay", Some(&lab.names_file()))?;
    let (status, shown) = replay(&open, programs, &recording)?;
    ensure!(status == 1, "status {status}:\n{shown}");
    let named =
        shown.contains(&format!("RCPT TO:<{to}>")) && shown.contains("FAIL code: 554 > 250");
    ensure!(named, "the step is not named:\n{shown}");
    Ok(())
}

/// Records what swaks and Postfix say, from the remote host.
fn record(lab: &Lab, programs: &Programs, to: &str, accepted: bool) -> Result<PathBuf> {
    let (ready, file) = (
        lab.scratch("recorder.ready"),
        lab.scratch("session.helo.jsonl"),
    );
    let mut command = lab.on("remote", &programs.recorder)?;
    command.args([
        "proxy",
        "--listen",
        "127.0.0.1:0",
        "--upstream",
        "192.0.2.25:25",
    ]);
    command
        .arg("--record")
        .arg(&file)
        .arg("--ready-file")
        .arg(&ready);
    let (recorder, addresses) = Background::start_ready("helo-recorder", &mut command, &ready)?;
    let (host, port) = addresses
        .first()
        .and_then(|address| address.rsplit_once(':'))
        .context("the recorder listens nowhere")?;
    let mut swaks = lab.on("remote", "swaks")?;
    swaks.args(["--server", host, "--port", port, "--to", to, "--hide-all"]);
    swaks.args(["--from", &format!("probe@{}", lab.name("PROBE"))]);
    swaks.args(["--helo", &format!("probe.{}", lab.name("PROBE"))]);
    if accepted {
        must(&mut swaks)?;
    } else {
        let output = capture(&mut swaks)?;
        // swaks says 24 when every recipient was refused.
        ensure!(code(&output) == 24, "swaks has status {}", code(&output));
    }
    recorder.stop()?;
    Ok(file)
}

fn replay(lab: &Lab, programs: &Programs, recording: &PathBuf) -> Result<(i32, String)> {
    let mut command = lab.on("remote", &programs.client)?;
    command
        .arg("replay")
        .arg(recording)
        .args(["192.0.2.25", "--live"]);
    let output = capture(&mut command)?;
    Ok((
        code(&output),
        String::from_utf8_lossy(&output.stdout).into_owned(),
    ))
}
