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
    /// Make a recording of the SMTP and LMTP sessions in packet captures
    Import(Import),
    /// Print a recording (or a capture) for a person
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

/// The options of `import`.
#[derive(Debug, Args)]
#[command(after_help = IMPORT_EXAMPLES)]
#[expect(clippy::struct_excessive_bools, reason = "flags of a command line")]
pub struct Import {
    /// The captures (pcap or pcapng, also packed with gzip or zstd), in the order in
    /// which they were taken; `-` is standard input
    #[arg(required = true, value_name = "CAPTURE")]
    pub captures: Vec<PathBuf>,
    /// Write the recording to this file; `-` is standard output
    #[arg(
        short,
        long,
        visible_alias = "record",
        value_name = "FILE",
        required_unless_present = "summary"
    )]
    pub output: Option<PathBuf>,
    /// Write no recording: print what sessions there are, their commands, reply codes,
    /// envelopes, and digests of their messages
    #[arg(long, conflicts_with = "output")]
    pub summary: bool,
    /// Print the summary as JSON
    #[arg(long, requires = "summary")]
    pub json: bool,
    /// Record passwords as they are
    #[arg(long)]
    pub record_secrets: bool,
}

/// The options of `show`.
#[derive(Debug, Args)]
pub struct Show {
    /// The recording, or a capture
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

const IMPORT_EXAMPLES: &str = "\
Examples:
  Make a recording of a capture:
    helo-recorder import capture.pcapng.zst -o mail.helo.jsonl
  Capture and record at once (-U: each packet as it comes):
    tcpdump -U -w - port 25 or port 587 | helo-recorder import - -o mail.helo.jsonl
  What is in it?
    helo-recorder import --summary capture.pcap

Mail is known by what is said, whatever the port. Passwords are taken out unless
--record-secrets. What is missing in a capture, or damaged, is named; what came before
damage is kept.

Exit status: 0 as asked (damage is a warning), 2 usage, 4 a capture cannot be used,
6 the recording could not be written.";

const EXAMPLES: &str = "\
Examples:
  Record what reaches the mail server on this machine; clients connect to port 2525:
    helo-recorder proxy --listen 0.0.0.0:2525 --upstream localhost:25 --record mail.helo.jsonl
  Read it:
    helo-recorder show mail.helo.jsonl
  Make a recording of what tcpdump captured:
    helo-recorder import capture.pcap --output mail.helo.jsonl

Exit status: 0 as asked, 2 usage, 3 an address could not be bound, 4 the
recording cannot be used, 6 the recording could not be written.";
