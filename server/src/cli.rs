//! What the user may say.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use ipnet::IpNet;
use shared::address::Domain;

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
    /// List the personas: named ways of being right or wrong
    Personas,
}

/// The options of `run`.
#[derive(Debug, Args)]
pub struct Run {
    /// Listen here; may be given more than once. Port 0 takes a free port
    #[arg(
        short,
        long,
        default_value = "127.0.0.1:2525",
        value_name = "ADDRESS:PORT"
    )]
    pub listen: Vec<SocketAddr>,
    /// The name the server calls itself
    #[arg(long, default_value = "localhost", value_name = "NAME")]
    pub hostname: Domain,
    /// A domain it is the final destination for; may be given more than once
    /// [default: the host name]
    #[arg(short = 'd', long, value_name = "DOMAIN")]
    pub local_domain: Vec<Domain>,
    /// A user of the local domains; may be given more than once. postmaster and
    /// abuse always exist
    #[arg(short, long, value_name = "NAME")]
    pub user: Vec<String>,
    /// Clients that are trusted to send to foreign domains
    #[arg(long, default_value = "127.0.0.0/8,::1", value_delimiter = ',', value_name = "CIDR,…", value_parser = network)]
    pub mynetworks: Vec<IpNet>,
    /// Who may send to foreign domains
    #[arg(long, value_enum, default_value_t = RelayPolicy::Closed)]
    pub relay_policy: RelayPolicy,
    /// Be wrong in this way (see `helo-server personas`)
    #[arg(long, default_value = "honest", value_name = "NAME")]
    pub persona: String,
    /// Deliver to Maildirs in this directory, one for each user
    #[arg(long, value_name = "DIR")]
    pub maildir: Option<PathBuf>,
    /// Keep what was accepted for foreign domains here instead of discarding it
    #[arg(long, value_name = "maildir:DIR", value_parser = witness)]
    pub witness: Option<PathBuf>,
    /// The largest message, in octets
    #[arg(long, default_value_t = 26_214_400, value_name = "OCTETS")]
    pub max_size: u64,
    /// The most recipients of one message (RFC 5321 §4.5.3.1.8 asks for 100)
    #[arg(long, default_value_t = 1000, value_name = "N")]
    pub max_recipients: usize,
    /// The most connections at a time
    #[arg(long, default_value_t = 1000, value_name = "N")]
    pub max_connections: usize,
    /// Seconds a client may be silent (RFC 5321 §4.5.3.2.7 asks for 300)
    #[arg(long, default_value_t = 300, value_name = "SECONDS")]
    pub timeout: u64,
    /// The certificate chain for STARTTLS, PEM [default: minted at start]
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// Its private key, PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Do not offer STARTTLS
    #[arg(long, conflicts_with = "tls_cert")]
    pub no_tls: bool,
    /// Record every session to this new file
    #[arg(short, long, value_name = "FILE")]
    pub record: Option<PathBuf>,
    /// Record passwords as they are
    #[arg(long)]
    pub record_secrets: bool,
    /// Write the addresses listened on to this file, one a line, when ready
    #[arg(long, value_name = "FILE")]
    pub ready_file: Option<PathBuf>,
}

/// Who may send to foreign domains.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RelayPolicy {
    /// The clients of --mynetworks
    Closed,
    /// Everybody
    Open,
}

fn network(text: &str) -> Result<IpNet, String> {
    let address = || text.parse::<IpAddr>().map(IpNet::from);
    text.parse()
        .or_else(|_| address())
        .map_err(|_| format!("'{text}' is neither an address nor a network such as 192.0.2.0/24"))
}

fn witness(text: &str) -> Result<PathBuf, String> {
    text.strip_prefix("maildir:")
        .filter(|path| !path.is_empty())
        .map(PathBuf::from)
        .ok_or_else(|| "a witness is written maildir:DIR".to_owned())
}

const EXAMPLES: &str = "\
Examples:
  Take mail for example.test, one user, and keep a record:
    helo-server --local-domain example.test --user anna --maildir mail --record server.helo.jsonl
  An open relay to test a checker with; what it would have relayed goes to ./relayed:
    helo-server --persona open-relay --local-domain example.test --witness maildir:relayed

Exit status: 0 ended as asked, 2 usage, 3 an address could not be bound,
6 the recording or the mail could not be written.";
