//! What the user may say about the sink.

use std::path::PathBuf;

use clap::Args;
use shared::address::Domain;
use shared::quantity::Period;

use super::store::Keep;
use super::terms::Offer;
use crate::config::ListenSpec;

/// The options of `sink`.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Options {
    /// Listen here; may be given more than once. Port 0 takes a free port; fd:N is
    /// the socket of that number that systemd or the like has passed on. Options
    /// follow after commas: proto=smtp|submission|lmtp, tls=none|starttls|implicit
    #[arg(
        short,
        long,
        default_value = "127.0.0.1:2525",
        value_name = "ADDRESS:PORT|unix:PATH|fd:N"
    )]
    pub listen: Vec<ListenSpec>,
    /// The name the sink calls itself
    #[arg(long, default_value = "localhost", value_name = "NAME")]
    pub hostname: Domain,
    /// Offer this in the reply to EHLO, too, or with these parameters; may be given
    /// more than once. Whatever is offered, every parameter is taken
    #[arg(long, value_name = "KEYWORD [PARAMETERS]")]
    pub advertise: Vec<Offer>,
    /// Do not offer this in the reply to EHLO; may be given more than once. A client
    /// that uses it all the same is served
    #[arg(long, value_name = "KEYWORD")]
    pub hide: Vec<String>,
    /// The certificate chain for TLS, PEM [default: minted at start]
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// Its private key, PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Keep messages after all: bsmtp:FILE appends each of them as it came, the
    /// commands of its envelope included (batch SMTP, RFC 2442)
    #[arg(long, default_value_t, value_name = "null|bsmtp:FILE")]
    pub store: Keep,
    /// Threads that serve; 0 is one for every two processors, to leave the client some
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub threads: usize,
    /// End when so many messages have come
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub exit_after_messages: Option<u64>,
    /// End when so many sessions have ended
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub exit_after_sessions: Option<u64>,
    /// Say how much has come this often [default: 10s on a terminal, else at the end
    /// alone]
    #[arg(long, value_name = "TIME")]
    pub every: Option<Period>,
    /// Say it as JSON, a line each time
    #[arg(long)]
    pub json: bool,
    /// Once the ports are taken, run as this user: to be started as root for port 25
    #[arg(long, value_name = "USER")]
    pub run_as: Option<String>,
    /// Write the addresses listened on to this file, one a line, when ready
    #[arg(long, value_name = "FILE")]
    pub ready_file: Option<PathBuf>,
    /// The most connections at a time
    #[arg(
        long,
        default_value_t = 20_000,
        value_name = "N",
        help_heading = "Limits"
    )]
    pub max_connections: usize,
    /// How long a client may be silent
    #[arg(long, default_value_t = Period::seconds(300), value_name = "TIME", help_heading = "Limits")]
    pub timeout_command: Period,
    /// How long a TLS handshake may take
    #[arg(long, default_value_t = Period::seconds(30), value_name = "TIME", help_heading = "Limits")]
    pub timeout_tls: Period,
    /// How long sessions may take to finish when the sink ends
    #[arg(long, default_value_t = Period::seconds(30), value_name = "TIME", help_heading = "Limits")]
    pub timeout_drain: Period,
}

const EXAMPLES: &str = "\
Examples:
  A hundred thousand messages, and how fast they came:
    helo-server sink -l 127.0.0.1:2525 --exit-after-messages 100000 --json
  A server that offers neither PIPELINING nor CHUNKING, and says it takes 1000 octets:
    helo-server sink --hide PIPELINING --hide CHUNKING --hide BINARYMIME --advertise 'SIZE 1000'
  LMTP on a UNIX socket, and SMTP inside TLS:
    helo-server sink -l unix:/tmp/sink.lmtp,proto=lmtp -l 127.0.0.1:2465,tls=implicit

It takes whatever stands in MAIL and RCPT, and any AUTH that needs no secret of the
server's own; commands out of order are refused.";
