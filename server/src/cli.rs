//! What the user may say.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::config::Options;
use crate::sink;

/// An SMTP server to test with: honest by default, and on request wrong in exactly
/// the way you ask for. It never relays.
#[derive(Debug, Parser)]
#[command(name = "helo-server", version, after_help = EXAMPLES)]
pub struct Cli {
    /// More diagnostics on standard error (repeat for more still)
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    pub verbose: u8,
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve (this is meant when no subcommand is named)
    Run(Box<Run>),
    /// Accept everything and keep nothing, fast: for load tests of clients
    Sink(Box<sink::Options>),
    /// List the personas: named ways of being right or wrong
    Personas,
    /// List what rules of faults are made of, the presets and the named failures
    Faults {
        /// Explain this stage, condition, action, preset or failure alone
        name: Option<String>,
    },
}

/// The options of `run`.
#[derive(Debug, Args)]
pub struct Run {
    /// Read options from this TOML file; what is given as a flag wins
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Check the options, and do nothing else
    #[arg(long)]
    pub check_config: bool,
    /// Print all options as TOML, and do nothing else
    #[arg(long)]
    pub print_config: bool,
    /// The options that may be in the file, too
    #[command(flatten)]
    pub options: Options,
}

const EXAMPLES: &str = "\
Examples:
  Take mail for example.test, one user, and keep a record:
    helo-server --local-domain example.test --user anna --store maildir:mail \\
      --record server.helo.jsonl
  An open relay to test a checker with; what it would have relayed goes to ./relayed:
    helo-server --persona open-relay --local-domain example.test --witness maildir:relayed
  Three ports, each with terms of its own:
    helo-server -l 127.0.0.1:2525,name=mx -l 127.0.0.1:2587,proto=submission,require-tls \\
      -l 127.0.0.1:2465,proto=submission,tls=implicit
  Nothing of its own: each client is played these lines, and told where it departs from them:
    printf 'S: 220 mx\\nC: EHLO *\\nS: 250 mx\\nC: *\\n-- 5s\\nS: 451 4.3.0 later\\n' >slow.txt
    helo-server --script slow.txt --record server.helo.jsonl

  A test in a shell: what it got, and then status 0 if that is what was expected:
    helo-server --http 127.0.0.1:8025 --exit-after-messages 3 --expect messages=3,refused=0

Exit status: 0 ended as asked, 1 an expectation was not met, 2 usage, 3 an address could not be bound,
6 the recording or the mail could not be written.";
