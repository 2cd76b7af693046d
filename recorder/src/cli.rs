//! What the user may say.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Records what SMTP clients and servers say to each other, and shows it.
#[derive(Debug, Parser)]
#[command(name = "helo-recorder", version, after_help = EXAMPLES)]
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
    /// Stand between clients and a server, and record
    Proxy(Box<Proxy>),
    /// Print a recording for a person
    Show(Show),
    /// Check a recording for damage
    Check(Check),
}

/// The options of `proxy`.
#[derive(Debug, Args)]
pub struct Proxy {
    /// Listen here; may be given more than once. Port 0 takes a free port
    #[arg(short, long, required = true, value_name = "ADDRESS:PORT")]
    pub listen: Vec<SocketAddr>,
    /// The server to pass connections on to
    #[arg(short, long, value_name = "HOST:PORT")]
    pub upstream: String,
    /// Connect to it from this address
    #[arg(long, value_name = "ADDRESS")]
    pub source: Option<IpAddr>,
    /// Record to this file
    #[arg(short = 'o', long, value_name = "FILE")]
    pub record: PathBuf,
    /// Go on with the file if it exists
    #[arg(long)]
    pub append: bool,
    /// What survives when the recorder is killed, or the machine dies
    #[arg(long, value_enum, default_value_t = Durability::Written)]
    pub durability: Durability,
    /// Record passwords as they are
    #[arg(long)]
    pub record_secrets: bool,
    /// The most connections at a time
    #[arg(long, default_value_t = 1000, value_name = "N")]
    pub max_connections: usize,
    /// Seconds both peers may be silent (RFC 5321 §4.5.3.2 has clients wait for
    /// up to 600)
    #[arg(long, default_value_t = 900, value_name = "SECONDS")]
    pub timeout: u64,
    /// Write the addresses listened on to this file, one a line, when ready
    #[arg(long, value_name = "FILE")]
    pub ready_file: Option<PathBuf>,
}

/// What is promised about the recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Durability {
    /// What is older than about 10 ms survives a crash of the recorder
    Buffered,
    /// What either peer has seen survives a crash of the recorder
    Written,
    /// What the client has seen survives a power loss
    Synced,
}

/// The options of `show`.
#[derive(Debug, Args)]
pub struct Show {
    /// The recording
    pub file: PathBuf,
    /// Only these sessions; may be given more than once
    #[arg(short, long, value_name = "N")]
    pub session: Vec<u64>,
    /// All of the mail data, not only its beginning
    #[arg(long)]
    pub full: bool,
    /// How to print it
    #[arg(long = "as", value_enum, default_value_t = Form::Text)]
    pub form: Form,
}

/// How a session is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// With times, latencies and notes
    Text,
    /// As a text transcript, which can be played again
    Transcript,
}

/// The options of `check`.
#[derive(Debug, Args)]
pub struct Check {
    /// The recording
    pub file: PathBuf,
}

const EXAMPLES: &str = "\
Examples:
  Record what reaches the mail server on this machine; clients connect to port 2525:
    helo-recorder proxy --listen 0.0.0.0:2525 --upstream localhost:25 --record mail.helo.jsonl
  Read it:
    helo-recorder show mail.helo.jsonl

Exit status: 0 as asked, 2 usage, 3 an address could not be bound, 4 the
recording cannot be used, 6 the recording could not be written.";
