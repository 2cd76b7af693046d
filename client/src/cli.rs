//! What the user may say.
#![allow(
    rustdoc::broken_intra_doc_links,
    reason = "the comments are the help text, where brackets mean optional"
)]

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use shared::address::Mailbox;
use shared::quantity::{Period, QuantityError};
use shared::replay::{Pattern, Slowdown};

use crate::command::replay::{Pace, Redirection};
use crate::target::Target;
use crate::vantage::Vantage;

/// Tests mail servers by speaking SMTP to them, and keeps a record of what was said.
#[derive(Debug, Parser)]
#[command(name = "helo-client", version, after_help = EXAMPLES)]
pub struct Cli {
    /// More diagnostics on standard error (repeat for more still)
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    pub verbose: u8,
    /// Run inside this network namespace
    #[arg(long, hide = true, global = true)]
    pub netns: Option<String>,
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the procedure: deliver over localhost, deliver from elsewhere, check the controls
    Test(Box<Test>),
    /// Send one message
    Send(Box<Send>),
    /// Say again what a recorded client said, and compare the replies
    Replay(Box<Replay>),
    /// Judge the sessions of an existing recording
    Judge(Judge),
    /// List the checks
    Checks,
    /// Run one leg: a plan comes on standard input, a recording goes to standard output
    #[command(hide = true)]
    Leg,
    /// Wait for messages: a list comes on standard input, what arrived goes to standard output
    #[command(hide = true)]
    Arrive,
}

/// The options of `test`.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
#[command(after_help = TEST_EXAMPLES)]
pub struct Test {
    /// The server as the remote leg reaches it: host[:port]
    pub target: Target,
    /// A mailbox that exists on the server
    #[arg(short, long, value_name = "MAILBOX")]
    pub to: Mailbox,
    /// A mailbox elsewhere, for the relay checks. They end before DATA: nothing is sent to it
    #[arg(long, value_name = "MAILBOX")]
    pub witness: Option<Mailbox>,
    /// The address of the witness's mail host, for the check of address literals
    #[arg(long, value_name = "ADDRESS")]
    pub witness_ip: Option<IpAddr>,
    /// Where the localhost leg runs: here, netns:NAME, exec:COMMAND, ssh:[USER@]HOST[:PORT]
    #[arg(long, value_name = "VANTAGE")]
    pub localhost_from: Option<Vantage>,
    /// Where the remote leg runs
    #[arg(long, value_name = "VANTAGE")]
    pub remote_from: Option<Vantage>,
    /// The server as the localhost leg reaches it [default: loopback, port of TARGET]
    #[arg(long, value_name = "TARGET")]
    pub localhost_target: Option<Target>,
    /// The remote leg's client address for --remote-from on the server itself; such a leg
    /// is called emulated
    #[arg(long, value_name = "ADDRESS")]
    pub emulate_from: Option<IpAddr>,
    /// Connect from this address
    #[arg(long, value_name = "ADDRESS")]
    pub source: Option<IpAddr>,
    /// Run one leg only, and do not call the other one missing
    #[arg(long)]
    pub one_leg: bool,
    /// Run the remote leg even if the localhost leg failed
    #[arg(long)]
    pub keep_going: bool,
    /// IPv4 only
    #[arg(short = '4', long, conflicts_with = "ipv6")]
    pub ipv4: bool,
    /// IPv6 only
    #[arg(short = '6', long)]
    pub ipv6: bool,
    /// Look for the messages here, on the server: maildir:PATH
    #[arg(long, value_name = "WHERE", value_parser = maildir)]
    pub arrival: Option<PathBuf>,
    /// How long to wait for a message to arrive, and for the end of greylisting
    #[arg(long, default_value = "30s", value_name = "TIME", value_parser = duration)]
    pub patience: Duration,
    /// How long to wait for each reply [default: 45s for the greeting, 120s for the
    /// verdict on a message, 60s for all else]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub timeout: Option<Duration>,
    /// The least time between two connections; 0 for loopback and your own namespaces only
    #[arg(long, default_value = "250ms", value_name = "TIME", value_parser = duration)]
    pub pace: Duration,
    /// The name to give in EHLO [default: the address literal of this end]
    #[arg(long, value_name = "NAME", value_parser = word)]
    pub helo: Option<String>,
    /// The name the server's certificate should have [default: the host of TARGET]
    #[arg(long, value_name = "NAME")]
    pub tls_name: Option<String>,
    /// Who runs this, with a contact; the test messages say so
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "the administrator of this server"
    )]
    pub operator: String,
    /// A separately recorded leg to put into the same report; may be given more than once
    #[arg(long, value_name = "FILE")]
    pub join: Vec<PathBuf>,
    /// Record to this new file [default: helo-test-TIME.helo.jsonl]
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,
    /// How the report is printed
    #[command(flatten)]
    pub output: Output,
}

/// How a report is printed.
#[derive(Debug, Args)]
pub struct Output {
    /// Print the report as JSON
    #[arg(long)]
    pub json: bool,
    /// From which verdict on the exit status is 1
    #[arg(long, value_enum, default_value_t = FailOn::Fail)]
    pub fail_on: FailOn,
}

/// The least verdict that fails the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FailOn {
    /// A check failed
    Fail,
    /// A check warned or failed
    Warn,
}

/// The options of `send`.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub struct Send {
    /// The server: host[:port]
    pub target: Target,
    /// A recipient; may be given more than once
    #[arg(short, long, required = true, value_name = "MAILBOX", value_parser = word)]
    pub to: Vec<String>,
    /// The envelope sender; empty for the null reverse-path
    #[arg(short, long, value_name = "MAILBOX", value_parser = word)]
    pub from: String,
    /// The message: a file, or - for standard input [default: a test message]
    #[arg(short, long, value_name = "FILE")]
    pub data: Option<PathBuf>,
    /// Whether to use TLS
    #[arg(long, value_enum, default_value_t = Tls::Offered)]
    pub tls: Tls,
    /// Trust the certificates of this file too, PEM
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// The name the server's certificate should have [default: the host of TARGET]
    #[arg(long, value_name = "NAME")]
    pub tls_name: Option<String>,
    /// The name to give in EHLO [default: the address literal of this end]
    #[arg(long, value_name = "NAME", value_parser = word)]
    pub helo: Option<String>,
    /// Connect from this address
    #[arg(long, value_name = "ADDRESS")]
    pub source: Option<IpAddr>,
    /// How long to wait for each reply
    #[arg(long, default_value = "60s", value_name = "TIME", value_parser = duration)]
    pub timeout: Duration,
    /// A session that does not end well is a failure, though the message was accepted
    #[arg(long)]
    pub strict_quit: bool,
    /// Record to this new file
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,
    /// Print the result as JSON, and no transcript
    #[arg(long)]
    pub json: bool,
    /// Print no transcript
    #[arg(short, long)]
    pub quiet: bool,
}

/// When to use TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Tls {
    /// Never
    Never,
    /// If it is offered, whatever the certificate
    Offered,
    /// Always, whatever the certificate
    Required,
    /// Always, with a certificate that verifies
    Verified,
}

/// The options of `replay`.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
#[command(after_help = REPLAY_EXAMPLES)]
pub struct Replay {
    /// The recording
    pub file: PathBuf,
    /// The server: host[:port]
    pub target: Target,
    /// Only this session; several with commas between, or given again
    #[arg(short, long, value_name = "N", value_delimiter = ',')]
    pub session: Vec<u64>,
    /// Send to a server that is not on loopback: this sends real mail
    #[arg(long)]
    pub live: bool,
    /// Print what would be said, and say nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Send mail for KEY to MAILBOX instead: KEY is a mailbox, a domain, postmaster, or *
    /// for all others; the content stays as it is. May be given more than once
    #[arg(long, value_name = "KEY=MAILBOX")]
    pub rcpt_map: Vec<Redirection>,
    /// Give messages a new Date, a new Message-ID; this breaks signatures
    #[arg(long, value_enum, value_delimiter = ',', value_name = "FIELDS")]
    pub refresh: Vec<Refresh>,
    /// The user name for recorded AUTH, which is performed anew. The password comes from
    /// --auth-password-file or from the environment: HELO_PASSWORD
    #[arg(long, value_name = "NAME")]
    pub auth_user: Option<String>,
    /// The file whose first line is the password (or the token)
    #[arg(long, value_name = "FILE", requires = "auth_user")]
    pub auth_password_file: Option<PathBuf>,
    /// Trust the certificates of this file too, PEM
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// The name the server's certificate should have [default: the host of TARGET]
    #[arg(long, value_name = "NAME")]
    pub tls_name: Option<String>,
    /// How fast: asap, recorded, or x2 for twice as fast
    #[arg(long, default_value = "asap", value_name = "PACE")]
    pub pace: Pace,
    /// The longest pause, whatever was recorded
    #[arg(long, default_value = "5m", value_name = "TIME", value_parser = duration)]
    pub max_wait: Duration,
    /// What comes after a difference
    #[arg(long, value_enum, default_value_t = OnMismatch::Next)]
    pub on_mismatch: OnMismatch,
    /// What of the replies must be the same
    #[arg(long = "match", value_enum, default_value_t = Match::Exact)]
    pub matching: Match,
    /// What of the enhanced status codes must be the same
    #[arg(long, value_enum, default_value_t = Ec::Usual)]
    pub ec: Ec,
    /// The number of lines of every reply must be the same, not only of EHLO and HELP
    #[arg(long)]
    pub strict_shape: bool,
    /// Do not compare who closed the connection, and how
    #[arg(long)]
    pub ignore_close: bool,
    /// A value that differs from run to run, besides those known by their place, such as
    /// queue ids: 'ticket=ticket *'. May be given more than once
    #[arg(long, value_name = "NAME=BEFORE*AFTER")]
    pub vary: Vec<Pattern>,
    /// A reply that takes longer than this is a difference: 3x+250ms is three times the
    /// recorded time and 250 ms more [default: however long]
    #[arg(long, value_name = "FACTORx+TIME")]
    pub max_slowdown: Option<Slowdown>,
    /// Connect from this address
    #[arg(long, value_name = "ADDRESS")]
    pub source: Option<IpAddr>,
    /// How long to wait for each reply
    #[arg(long, default_value = "60s", value_name = "TIME", value_parser = duration)]
    pub timeout: Duration,
    /// Record the replay to this new file
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,
    /// Print one JSON object a step
    #[arg(long)]
    pub json: bool,
    /// Write JUnit XML to this file, too: a case for each step
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
    /// From which level on a difference makes the exit status 1
    #[arg(long, value_enum, default_value_t = FailOn::Fail)]
    pub fail_on: FailOn,
}

impl Replay {
    /// The name the server's certificate should have.
    pub fn tls_name(&self) -> &str {
        self.tls_name.as_deref().unwrap_or(&self.target.host)
    }
}

/// What of the replies must be the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Match {
    /// The whole code
    Exact,
    /// The first digit
    Class,
    /// The whole code, and the words but for values that vary
    Text,
}

/// What of the enhanced status codes must be the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Ec {
    /// The same where there are two; one that is missing is a warning
    Usual,
    /// The same, and one that is missing is a difference
    Strict,
    /// Nothing
    Ignore,
}

/// What comes after a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OnMismatch {
    /// Where a yes became a no or a no a yes, RSET and the next transaction
    Next,
    /// Go on with a transaction of which a part was refused now; what was refused when it
    /// was recorded is still taken back
    Continue,
    /// The end, at the first difference that fails
    Stop,
}

/// What of a message is made anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Refresh {
    /// The Date field
    Date,
    /// The Message-ID field
    Msgid,
}

/// The options of `judge`.
#[derive(Debug, Args)]
pub struct Judge {
    /// The recordings, or captures (pcap, pcapng)
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
    /// A mailbox that exists on the server, if the recording does not say
    #[arg(short, long, value_name = "MAILBOX")]
    pub to: Option<Mailbox>,
    /// A mailbox elsewhere, if the recording does not say
    #[arg(long, value_name = "MAILBOX")]
    pub witness: Option<Mailbox>,
    /// How the report is printed
    #[command(flatten)]
    pub output: Output,
}

fn duration(text: &str) -> Result<Duration, QuantityError> {
    text.parse().map(|Period(duration)| duration)
}

/// A word of a command: what would end the line would begin another command.
fn word(text: &str) -> Result<String, String> {
    match text.chars().find(|c| c.is_control()) {
        Some(c) => Err(format!(
            "it has a control character, {}",
            c.escape_default()
        )),
        None => Ok(text.to_owned()),
    }
}

fn maildir(text: &str) -> Result<PathBuf, String> {
    text.strip_prefix("maildir:")
        .filter(|path| !path.is_empty())
        .map(PathBuf::from)
        .ok_or_else(|| "a place to look for messages is written maildir:PATH".to_owned())
}

const EXAMPLES: &str = "\
Examples:
  Test the server mx.example.net, the localhost leg on the server itself by ssh:
    helo-client test mx.example.net --to anna@example.net \\
      --witness me@elsewhere.example --localhost-from ssh:root@mx.example.net
  Send a message and watch:
    helo-client send localhost:2525 --from me@example.org --to anna@example.net

Exit status: 0 as asked, 1 a check failed or a replay differs, 2 usage, 3 no verdict,
4 the input cannot be used, 5 refused by a safety rule, 6 output could not be written,
8 some recipients refused; of send also 2P, 4P, 6P, 7P, 9P: refused, refused for now,
timeout, closed, not SMTP, in phase P (1 greeting, 2 EHLO, 3 MAIL, 4 RCPT, 5 DATA,
6 end of data, 7 QUIT, if --strict-quit, 9 TLS).";

const TEST_EXAMPLES: &str = "\
Examples:
  On the server itself, the remote leg from another machine:
    helo-client test mx.example.net --to anna@example.net --witness me@elsewhere.example \\
      --remote-from ssh:me@elsewhere.example --arrival maildir:/home/anna/Maildir
  Only what can be seen from here:
    helo-client test mx.example.net --to anna@example.net --one-leg

Relay checks are for servers you administer.";

const REPLAY_EXAMPLES: &str = "\
Examples:
  Look at what would be sent, and to whom:
    helo-client replay monday.helo.jsonl mx.example.net --dry-run
  Send it to a server under test, all mail to one mailbox there:
    helo-client replay monday.helo.jsonl mx.example.net --live \\
      --rcpt-map '*=sink@example.net' --refresh date,msgid
  Compare every word, after a change that should change nothing:
    helo-client replay monday.helo.jsonl localhost:2525 --match text --max-slowdown 3x+250ms
  A session with AUTH, the password in a file:
    helo-client replay submission.helo.jsonl localhost:2587 \\
      --auth-user anna --auth-password-file secret.txt

What a replay sends is real mail, and bounces of it go to the recorded reverse-path: try
--dry-run first.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }
}
