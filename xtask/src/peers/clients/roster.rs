//! The clients: what each knows, what it does to a message, and how it is called.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, bail};

use super::Transport;
use super::installed::{Installed, program};
use super::site::{Site, TOKEN, USER};

/// The mailbox each message is from, and the one it is for.
const FROM: &str = "probe@test.invalid";
pub(super) const TO: &str = "anna@example.test";
/// What clients call themselves.
const HELO: &str = "client.test";
/// How long one may take, in seconds.
const LIMIT: &str = "60";

/// One delivery.
pub(super) struct Job<'a> {
    pub(super) installed: &'a Installed,
    pub(super) mechanism: &'static str,
    pub(super) port: &'a str,
    pub(super) site: &'a Site,
    pub(super) transport: Transport,
}

/// A column of the table.
pub(super) struct Client {
    pub(super) name: &'static str,
    /// Those of the server's mechanisms that it knows.
    pub(super) mechanisms: &'static [&'static str],
    /// What it says if it will not use a mechanism in clear that others do.
    pub(super) refusal: Option<&'static str>,
    /// How it is called, and what it does, for the reader.
    pub(super) about: &'static str,
    /// What it makes of the message it is given, in CRLF.
    pub(super) sends: fn(&[u8]) -> Vec<u8>,
    command: fn(&Job<'_>) -> Command,
    /// The file at its standard input.
    input: Option<&'static str>,
}

pub(super) const CLIENTS: &[Client] = &[
    Client {
        name: "swaks",
        mechanisms: &["PLAIN", "LOGIN", "CRAM-MD5"],
        refusal: None,
        about: "given lines in LF, sends CRLF, and ends every message with one empty line more; \
                its CRAM-SHA1, DIGEST-MD5 and NTLM are not offered",
        sends: |message| [message, b"\r\n"].concat(),
        command: swaks,
        input: None,
    },
    Client {
        name: "curl",
        mechanisms: &[
            "PLAIN",
            "LOGIN",
            "CRAM-MD5",
            "OAUTHBEARER",
            "XOAUTH2",
            "EXTERNAL",
        ],
        refusal: None,
        about: "sends what it is given; its GSSAPI, DIGEST-MD5 and NTLM are not offered, and \
                Debian builds it without SCRAM",
        sends: <[u8]>::to_vec,
        command: curl,
        input: None,
    },
    Client {
        name: "msmtp",
        mechanisms: &[
            "PLAIN",
            "LOGIN",
            "CRAM-MD5",
            "SCRAM-SHA-1",
            "SCRAM-SHA-256",
            "OAUTHBEARER",
            "XOAUTH2",
            "EXTERNAL",
        ],
        refusal: None,
        about: "given lines in LF, sends CRLF (it would leave Bcc out; there is none here); its \
                GSSAPI, DIGEST-MD5 and NTLM are not offered",
        sends: <[u8]>::to_vec,
        command: msmtp,
        input: Some("message.txt"),
    },
    Client {
        name: "s-nail",
        mechanisms: &["PLAIN", "LOGIN", "CRAM-MD5", "XOAUTH2", "EXTERNAL"],
        refusal: Some("needs TLS"),
        about: "given an mbox, sends its message on as it is (`Resend`), in CRLF: what it \
                composes itself, it encodes anew; its oauthbearer says XOAUTH2 on the wire; its \
                GSSAPI is not offered",
        sends: <[u8]>::to_vec,
        command: s_nail,
        input: Some("resend"),
    },
    Client {
        name: "smtplib",
        mechanisms: &["PLAIN", "LOGIN", "CRAM-MD5"],
        refusal: None,
        about: "`sendmail` with octets, sent as they are",
        sends: <[u8]>::to_vec,
        command: |job| python(job, "with_smtplib.py"),
        input: None,
    },
    Client {
        name: "aiosmtplib",
        mechanisms: &["PLAIN", "LOGIN", "CRAM-MD5", "XOAUTH2"],
        refusal: None,
        about: "`sendmail` with octets, sent as they are",
        sends: <[u8]>::to_vec,
        command: |job| python(job, "with_aiosmtplib.py"),
        input: None,
    },
    Client {
        name: "nodemailer",
        mechanisms: &["PLAIN", "LOGIN", "CRAM-MD5", "XOAUTH2"],
        refusal: None,
        about: "`raw` with octets, sent as they are",
        sends: <[u8]>::to_vec,
        command: nodemailer,
        input: None,
    },
    Client {
        name: "net/smtp",
        mechanisms: &["PLAIN", "CRAM-MD5"],
        refusal: None,
        about: "Go's; given lines in LF, sends CRLF; sends PLAIN in clear only to localhost",
        sends: <[u8]>::to_vec,
        command: |job| library(job, &job.installed.net_smtp(), None, "message.txt"),
        input: None,
    },
];

/// Has a client send the message, and wants it to end well; what it said.
pub(super) fn send(client: &Client, job: &Job<'_>) -> Result<String> {
    let command = (client.command)(job);
    bounded(client.name, &command, job.site.path(), client.input)
}

/// Runs a client in a folder, with a file of it as its input, and not for ever.
pub(super) fn bounded(
    name: &str,
    own: &Command,
    directory: &Path,
    input: Option<&str>,
) -> Result<String> {
    let mut command = Command::new("timeout");
    command
        .args(["--kill-after=5", LIMIT])
        .arg(own.get_program());
    command.args(own.get_args());
    let set = own.get_envs();
    command.envs(set.filter_map(|(variable, value)| Some((variable, value?))));
    // None of them is to read what somebody has at home.
    command.current_dir(directory).env("HOME", directory);
    command.env("MAILRC", "/dev/null").env("LC_ALL", "C.UTF-8");
    match input {
        Some(name) => command.stdin(File::open(directory.join(name))?),
        None => command.stdin(Stdio::null()),
    };
    let output = command.output().context("cannot run timeout")?;
    if !output.status.success() {
        bail!("{name} ended with {}: {}", output.status, said(&output));
    }
    Ok(said(&output))
}

fn said(output: &Output) -> String {
    let all = [&output.stdout[..], &output.stderr[..]].concat();
    let text = String::from_utf8_lossy(&all);
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

impl Job<'_> {
    fn proves(&self) -> bool {
        self.mechanism != "none"
    }

    /// The password, or the token.
    fn secret(&self) -> &'static str {
        match self.mechanism {
            "OAUTHBEARER" | "XOAUTH2" => TOKEN,
            _ => super::site::PASSWORD,
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.site.path().join(name)
    }
}

fn swaks(job: &Job<'_>) -> Command {
    let mut command = Command::new("swaks");
    command.args(["--server", "localhost", "--port", job.port, "--hide-all"]);
    command.args(["--helo", HELO, "--from", FROM, "--to", TO]);
    command.args(["--data", "@message.txt"]);
    match job.transport {
        Transport::Clear => {}
        Transport::Starttls => {
            command.arg("--tls");
        }
        Transport::Implicit => {
            command.arg("--tls-on-connect");
        }
    }
    if job.transport != Transport::Clear {
        command.args(["--tls-verify", "--tls-ca-path", "ca.pem"]);
    }
    if job.proves() {
        command.args(["--auth", job.mechanism, "--auth-user", USER]);
        command.args(["--auth-password", job.secret()]);
    }
    command
}

fn curl(job: &Job<'_>) -> Command {
    let mut command = Command::new("curl");
    // It reads no settings only if this is the first argument.
    command.args(["--disable", "--silent", "--show-error"]);
    command.args(["--mail-from", FROM, "--mail-rcpt", TO]);
    command.args(["--upload-file", "message.eml", "--cacert", "ca.pem"]);
    let scheme = match job.transport {
        Transport::Clear => "smtp",
        Transport::Starttls => {
            command.arg("--ssl-reqd");
            "smtp"
        }
        Transport::Implicit => "smtps",
    };
    match job.mechanism {
        "none" => {}
        "EXTERNAL" => {
            command.args(["--user", &format!("{USER}:")]);
        }
        "OAUTHBEARER" | "XOAUTH2" => {
            command.args(["--user", &format!("{USER}:"), "--oauth2-bearer", TOKEN]);
        }
        _ => {
            command.args(["--user", &format!("{USER}:{}", job.secret())]);
        }
    }
    if job.proves() {
        command.args(["--login-options", &format!("AUTH={}", job.mechanism)]);
    }
    if job.mechanism == "EXTERNAL" {
        command.args(["--cert", "client.pem", "--key", "client.key"]);
    }
    command.arg(format!("{scheme}://localhost:{}/{HELO}", job.port));
    command
}

fn msmtp(job: &Job<'_>) -> Command {
    let mut command = Command::new("msmtp");
    command.args(["--host=localhost", &format!("--port={}", job.port)]);
    command.args([&format!("--domain={HELO}"), &format!("--from={FROM}")]);
    command.arg(match job.transport {
        Transport::Clear => "--tls=off",
        Transport::Starttls | Transport::Implicit => "--tls=on",
    });
    if job.transport != Transport::Clear {
        let starttls = if job.transport == Transport::Starttls {
            "on"
        } else {
            "off"
        };
        command.arg(format!("--tls-starttls={starttls}"));
        command.arg("--tls-trust-file=ca.pem");
    }
    if job.proves() {
        command.arg(format!("--auth={}", job.mechanism.to_lowercase()));
        command.arg(format!("--user={USER}"));
        command.arg(format!("--passwordeval=echo {}", job.secret()));
    } else {
        command.arg("--auth=off");
    }
    if job.mechanism == "EXTERNAL" {
        command.args(["--tls-cert-file=client.pem", "--tls-key-file=client.key"]);
    }
    command.arg(TO);
    command
}

fn s_nail(job: &Job<'_>) -> Command {
    let scheme = match job.transport {
        Transport::Clear | Transport::Starttls => "smtp",
        Transport::Implicit => "smtps",
    };
    let (login, mechanism) = match job.mechanism {
        "none" => (String::new(), "none".to_owned()),
        "EXTERNAL" => (format!("{USER}@"), "external".to_owned()),
        // What it calls OAUTHBEARER is the other one.
        "XOAUTH2" => (format!("{USER}:{TOKEN}@"), "oauthbearer".to_owned()),
        other => {
            let password = job.secret().replace('+', "%2B");
            (format!("{USER}:{password}@"), other.to_lowercase())
        }
    };
    let mut command = Command::new("s-nail");
    command.arg("-n");
    let mut set = |setting: &str| {
        command.args(["-S", setting]);
    };
    set("v15-compat=yes");
    set(&format!("mta={scheme}://{login}localhost:{}", job.port));
    set(&format!("smtp-auth={mechanism}"));
    set(&format!("smtp-hostname={HELO}"));
    set(&format!("from={FROM}"));
    set("sendwait");
    set("nosave");
    set("tls-ca-file=ca.pem");
    set("tls-ca-no-defaults");
    set("tls-verify=strict");
    if job.transport == Transport::Starttls {
        set("smtp-use-starttls");
    }
    if job.mechanism == "EXTERNAL" {
        set("tls-config-pairs=Certificate=client.pem,PrivateKey=client.key");
    }
    command.args(["-R", "-#", "-f", "message.mbox"]);
    command
}

fn python(job: &Job<'_>, script: &str) -> Command {
    library(job, &job.installed.python(), Some(script), "message.eml")
}

fn nodemailer(job: &Job<'_>) -> Command {
    let node = PathBuf::from("node");
    let mut command = library(job, &node, Some("with_nodemailer.cjs"), "message.eml");
    command.arg(job.installed.modules());
    command
}

/// A program of ours around a library.
fn library(job: &Job<'_>, runs: &PathBuf, script: Option<&str>, message: &str) -> Command {
    let mut command = Command::new(runs);
    command.args(script.map(program));
    command.args(["localhost", job.port, job.transport.name(), job.mechanism]);
    command.args([USER, job.secret()]);
    command
        .arg(job.file("ca.pem"))
        .args([FROM, TO])
        .arg(job.file(message));
    command
}
