//! The HTTP API against schemathesis, which makes requests from its description, good
//! and bad ones, and holds the answers to what the description says.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use super::lab::must;
use crate::cargo::{Programs, root};
use crate::process::{Background, capture, code};

/// What there is to be asked for: messages, one that is refused, and a session that
/// fails.
const DELIVER: &str = "\
import smtplib, sys
host, port = sys.argv[1].rsplit(':', 1)
to = ['user@test.invalid']
with smtplib.SMTP(host, int(port)) as smtp:
    for number in range(3):
        smtp.sendmail('probe@test.invalid', to, f'Subject: {number}\\r\\n\\r\\nhello\\r\\n')
with smtplib.SMTP(host, int(port)) as smtp:
    # Without SIZE it is refused after its content.
    smtp.helo()
    try:
        smtp.sendmail('probe@test.invalid', to, 'too much\\r\\n' * 1000)
        sys.exit('what is too big was taken')
    except smtplib.SMTPDataError:
        pass
smtp = smtplib.SMTP(host, int(port))
smtp.ehlo()
smtp.sock.close()
";

/// A wait for what never comes is sound, and is told that the time is up. What is a rule
/// no schema tells: most strings are none, and are refused.
const CONFIG: &str = "\
[[operations]]
include-name = \"GET /api/v1/wait\"
checks.positive_data_acceptance.expected-statuses = [200, 408]

[[operations]]
include-name = \"POST /api/v1/faults\"
checks.positive_data_acceptance.expected-statuses = [201, 400]

[[operations]]
include-name = \"PUT /api/v1/faults\"
checks.positive_data_acceptance.expected-statuses = [200, 400]
";

/// It finds nothing, neither where it only looks nor where it changes things.
pub(super) fn schemathesis(programs: &Programs) -> Result<()> {
    let tester = tester()?;
    let directory = tempfile::Builder::new().prefix("helo-api-").tempdir()?;
    let ready = directory.path().join("ready");
    let mut command = Command::new(&programs.server);
    command.args(["--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"]);
    // It asks for waits of many days, too.
    command.args(["--http-max-wait", "100ms", "--max-size", "1000"]);
    command.args(["--local-domain", "test.invalid", "--user", "user"]);
    let mail = directory.path().join("mail");
    command
        .arg(format!("--store=maildir:{}", mail.display()))
        .arg("--ready-file")
        .arg(&ready);
    let (server, addresses) = Background::start_ready("helo-server", &mut command, &ready)?;
    let [smtp, http] = &addresses[..] else {
        bail!("the server listens at {addresses:?}");
    };
    must(Command::new("python3").args(["-c", DELIVER, smtp]))?;
    std::fs::write(directory.path().join("schemathesis.toml"), CONFIG)?;
    for methods in [&["--include-method", "GET"][..], &[]] {
        let mut command = Command::new(&tester);
        command
            .args(["run", &format!("{http}/api/v1/openapi.json")])
            // An answer without an end.
            .args(["--exclude-path", "/api/v1/events"])
            .args(["--checks", "all", "--max-examples", "30"])
            .args(["--generation-deterministic", "--no-color"])
            .args(["--request-timeout", "10"])
            .args(methods)
            .current_dir(directory.path());
        let output = capture(&mut command)?;
        let shown = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(code(&output) == 0, "it found something:\n{shown}");
        ensure!(shown.contains(" passed"), "it tried nothing:\n{shown}");
    }
    server.stop()
}

/// `schemathesis`, where `.ci/run` puts it.
fn tester() -> Result<PathBuf> {
    let target = std::env::var_os("CARGO_TARGET_DIR");
    let target = target.map_or_else(|| root().join("target"), |path| Path::new(&path).to_owned());
    let program = target.join("peers-venv/bin/schemathesis");
    program
        .exists()
        .then_some(program)
        .context("there is no schemathesis in target/peers-venv (.ci/run installs it)")
}
