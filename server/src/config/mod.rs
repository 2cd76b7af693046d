//! What the user may say about a server: each option once, as a flag and as a key
//! of a TOML file. Flags win over the file, the file over the defaults.

mod api;
mod exit;
mod faults;
mod limits;
mod listen;
mod mailboxes;
mod store;

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, Result};
use clap::parser::ValueSource;
use clap::{ArgAction, ArgMatches, Args, Parser, ValueEnum};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use serde_with::{DisplayFromStr, serde_as};
use shared::address::Domain;
use toml::{Table, Value};

pub use api::Api;
pub use exit::Exit;
pub use faults::{FaultSpec, RuleSpec};
pub use limits::Limits;
pub use listen::{ListenSpec, NoListener, Place, Protocol, ProxyHeader, TlsMode};
pub use mailboxes::Mailboxes;
pub use store::{LineEndings, NoStore, StoreSpec, WitnessSpec};

/// Everything about a server that can be chosen.
#[serde_as]
#[derive(Args, Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub struct Options {
    /// Listen here; may be given more than once. Port 0 takes a free port, fd:N the
    /// Nth socket that systemd passed (from 0). Options follow after commas: name=NAME, proto=smtp|submission|lmtp,
    /// tls=none|starttls|implicit, proxy=off|v1|v2|any, relay=closed|auth|open, require-tls, require-auth
    #[arg(
        short,
        long,
        default_value = "127.0.0.1:2525",
        value_name = "ADDRESS:PORT|unix:PATH|fd:N"
    )]
    #[serde_as(as = "Vec<DisplayFromStr>")]
    pub listen: Vec<ListenSpec>,
    /// The name the server calls itself
    #[arg(long, default_value = "localhost", value_name = "NAME")]
    #[serde_as(as = "DisplayFromStr")]
    pub hostname: Domain,
    /// A domain it is the final destination for; may be given more than once
    /// [default: the host name]
    #[arg(short = 'd', long, value_name = "DOMAIN")]
    #[serde_as(as = "Vec<DisplayFromStr>")]
    pub local_domain: Vec<Domain>,
    /// A domain it would relay for, as a backup MX does: any mailbox of it is taken;
    /// may be given more than once
    #[arg(long, value_name = "DOMAIN")]
    #[serde_as(as = "Vec<DisplayFromStr>")]
    pub relay_domain: Vec<Domain>,
    /// A user of the local domains; may be given more than once. postmaster and
    /// abuse always exist
    #[arg(short, long, value_name = "NAME")]
    pub user: Vec<String>,
    /// Which mailboxes the local domains have: those of the users, any at all, or those
    /// of this list, with a mailbox or @DOMAIN a line
    #[arg(long, default_value = "users", value_name = "users|any|FILE")]
    #[serde_as(as = "DisplayFromStr")]
    pub recipients: Recipients,
    /// Take mail from these reverse-paths alone: a list with a mailbox or @DOMAIN a
    /// line. The null reverse-path is always taken
    #[arg(long, value_name = "FILE")]
    pub senders: Option<PathBuf>,
    /// What a client may call itself in EHLO and HELO
    #[arg(long, value_enum, default_value_t = HeloRule::Any)]
    pub helo: HeloRule,
    /// Clients that are trusted to send to foreign domains
    #[arg(long, default_value = "127.0.0.0/8,::1", value_delimiter = ',', value_name = "CIDR,…", value_parser = network)]
    #[serde(deserialize_with = "networks")]
    pub mynetworks: Vec<IpNet>,
    /// Who may send to foreign domains
    #[arg(long, value_enum, default_value_t = RelayPolicy::Closed)]
    pub relay_policy: RelayPolicy,
    /// Users and their passwords: a file with `user:password` lines. They have
    /// mailboxes, too
    #[arg(long, value_name = "FILE")]
    pub users: Option<PathBuf>,
    /// Users and their OAuth 2.0 bearer tokens: a file with `user token` lines
    #[arg(long, value_name = "FILE")]
    pub tokens: Option<PathBuf>,
    /// Accept every password and every token
    #[arg(long)]
    pub auth_any: bool,
    /// The AUTH mechanisms offered without TLS [default: all that do not show the
    /// password]
    #[arg(long, value_delimiter = ',', value_name = "NAME,…")]
    pub auth_mechs: Option<Vec<String>>,
    /// The AUTH mechanisms offered inside TLS [default: all]
    #[arg(long, value_delimiter = ',', value_name = "NAME,…")]
    pub auth_mechs_tls: Option<Vec<String>>,
    /// Believe the PROXY header of these clients, at listeners that want one
    #[arg(long, default_value = "127.0.0.0/8,::1", value_delimiter = ',', value_name = "CIDR,…", value_parser = network)]
    #[serde(deserialize_with = "networks")]
    pub proxy_hosts: Vec<IpNet>,
    /// Believe what these clients say in XCLIENT: so a session on loopback can be one
    /// from anywhere
    #[arg(long, value_delimiter = ',', value_name = "CIDR,…", value_parser = network)]
    #[serde(deserialize_with = "networks")]
    pub xclient_hosts: Vec<IpNet>,
    /// Keep what these clients say in XFORWARD
    #[arg(long, value_delimiter = ',', value_name = "CIDR,…", value_parser = network)]
    #[serde(deserialize_with = "networks")]
    pub xforward_hosts: Vec<IpNet>,
    /// Do not offer this extension, nor know it; may be given more than once
    #[arg(long, value_name = "KEYWORD")]
    pub hide: Vec<String>,
    /// Add this line to the EHLO reply, or put it in place of the keyword's own; may
    /// be given more than once
    #[arg(long, value_name = "KEYWORD ARGS")]
    pub advertise: Vec<String>,
    /// Refuse what is otherwise only noted: commands before the greeting, commands in
    /// a group that was not offered or must have ended, and bad syntax that can be
    /// understood
    #[arg(long)]
    pub strict: bool,
    /// Be wrong in this way (see `helo-server personas`)
    #[arg(long, default_value = "honest", value_name = "NAME")]
    pub persona: String,
    /// Keep mail for users here: the newest N in memory (1000 if no N is given); in a
    /// directory with NAME.eml and NAME.json for each message; in a directory with a
    /// Maildir for each user; in an mbox; or nowhere
    #[arg(
        long,
        default_value = "memory",
        value_name = "memory[:N]|eml:DIR|maildir:DIR|mbox:FILE|null"
    )]
    #[serde_as(as = "DisplayFromStr")]
    pub store: StoreSpec,
    /// Keep here what was accepted for foreign domains, instead of discarding it
    #[arg(
        long,
        default_value = "null",
        value_name = "eml:DIR|maildir:DIR|mbox:FILE|null"
    )]
    #[serde_as(as = "DisplayFromStr")]
    pub witness: WitnessSpec,
    /// Say that a message is kept only when it is on the disk, and not just in the
    /// hands of the system
    #[arg(long, default_value_t = true, action = ArgAction::Set, value_name = "true|false", hide_possible_values = true)]
    pub fsync: bool,
    /// What becomes of mail data with a CR or an LF that is not part of CRLF
    #[arg(long, value_enum, default_value_t = LineEndings::Normalize)]
    pub line_endings: LineEndings,
    /// The certificate chain for TLS, PEM [default: minted at start]
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// Its private key, PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Whether clients are asked for a certificate, which must be of --tls-ca
    #[arg(long, value_enum, default_value_t = ClientAuth::None)]
    pub tls_client_auth: ClientAuth,
    /// The CA certificates that sign those of clients, PEM
    #[arg(long, value_name = "FILE")]
    pub tls_ca: Option<PathBuf>,
    /// Offer no STARTTLS on any listener
    #[arg(long, conflicts_with = "tls_cert")]
    pub no_tls: bool,
    /// Record every session to this new file
    #[arg(short, long, value_name = "FILE")]
    pub record: Option<PathBuf>,
    /// Record passwords as they are
    #[arg(long)]
    pub record_secrets: bool,
    /// Once the ports are taken, run as this user: to be started as root for port 25
    #[arg(long, value_name = "USER")]
    pub run_as: Option<String>,
    /// Write the addresses listened on to this file, one a line, when ready
    #[arg(long, value_name = "FILE")]
    pub ready_file: Option<PathBuf>,
    /// Misbehave by this rule, preset or named failure (see `helo-server faults`); may be
    /// given more than once
    #[arg(long, value_name = "RULE")]
    #[serde_as(as = "Vec<DisplayFromStr>")]
    pub fault: Vec<FaultSpec>,
    /// Read more of them from this file, one a line
    #[arg(long, value_name = "FILE")]
    pub scenario: Option<PathBuf>,
    /// What is left to chance is drawn from this: the same seed draws the same [default:
    /// another one at each start]
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// The mailboxes of this domain ask for what is to happen to them: 421@D,
    /// 550-5.1.1@D, rcpt-450@D, mail-451@D, dot-554@D, timeout@D, close@D, slow-3s@D
    #[arg(long, value_name = "D")]
    #[serde_as(as = "Option<DisplayFromStr>")]
    pub magic_domain: Option<Domain>,
    /// Decide nothing: play this file to each client, which says what to wait for (`C:`)
    /// and what to say (`S:`). May be given more than once: sessions are dealt them in turn
    #[arg(long, value_name = "FILE")]
    pub script: Vec<PathBuf>,
    /// Rules in four parts, in the file alone
    #[arg(skip)]
    pub rule: Vec<RuleSpec>,
    /// What a client may do, and for how long
    #[command(flatten)]
    pub limits: Limits,
    /// Where the HTTP API is
    #[command(flatten)]
    pub api: Api,
    /// When to end
    #[command(flatten)]
    pub exit: Exit,
}

/// Who may send to foreign domains.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RelayPolicy {
    /// The clients of --mynetworks, and who has authenticated
    Closed,
    /// Who has authenticated
    Auth,
    /// Everybody
    Open,
}

/// Which mailboxes the local domains have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recipients {
    /// Those of the users.
    Users,
    /// Any.
    Any,
    /// Those of the list in this file.
    Listed(PathBuf),
}

impl FromStr for Recipients {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match text {
            "users" => Self::Users,
            "any" => Self::Any,
            path => Self::Listed(path.into()),
        })
    }
}

impl fmt::Display for Recipients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Users => f.write_str("users"),
            Self::Any => f.write_str("any"),
            Self::Listed(path) => path.display().fmt(f),
        }
    }
}

/// What a client may call itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum HeloRule {
    /// Anything
    Any,
    /// A domain or an address literal (RFC 5321 §4.1.1.1)
    Valid,
    /// A domain of two labels at least, or an address literal
    Fqdn,
}

/// Whether clients are asked for a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClientAuth {
    /// No
    None,
    /// They may have one
    Request,
    /// They must have one
    Require,
}

impl RelayPolicy {
    const WORDS: &[(&str, Self)] = &[
        ("closed", Self::Closed),
        ("auth", Self::Auth),
        ("open", Self::Open),
    ];
}

#[derive(Parser)]
struct Alone {
    #[command(flatten)]
    options: Options,
}

impl Default for Options {
    /// What the flags are by themselves.
    fn default() -> Self {
        Alone::parse_from([""]).options
    }
}

impl Options {
    /// Puts a file under the flags: what was given as a flag stays.
    pub fn over_file(self, path: &Path, matches: &ArgMatches) -> Result<Self> {
        let what = || format!("reading --config {}", path.display());
        let text = std::fs::read_to_string(path).with_context(what)?;
        // Read as options first: its errors tell the line and the column.
        let of_file: Self = toml::from_str(&text)
            .map_err(|error| anyhow::anyhow!("{}", one_line(path, &text, &error)))?;
        let keys: Table = text.parse().with_context(what)?;
        let (mut merged, of_file) = (Table::try_from(&self)?, Table::try_from(&of_file)?);
        overlay(&mut merged, &of_file, &keys, &given(matches));
        Ok(merged.try_into()?)
    }

    /// The same with rules in place of the names that stand for them.
    #[must_use]
    pub fn expanded(mut self) -> Self {
        self.fault = faults::expanded(&self.fault);
        self
    }

    /// As the file that would say the same.
    pub fn to_toml(&self) -> Result<String> {
        Ok(toml::to_string(self)?)
    }
}

/// `FILE:LINE:COLUMN: what is wrong`.
fn one_line(path: &Path, text: &str, error: &toml::de::Error) -> String {
    let before = error
        .span()
        .and_then(|span| text.get(..span.start))
        .unwrap_or("");
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|&c| c != '\n').count() + 1;
    let message = error.message().replace('\n', " ");
    format!("{}:{line}:{column}: {message}", path.display())
}

/// The keys of what was given on the command line.
fn given(matches: &ArgMatches) -> BTreeSet<String> {
    matches
        .ids()
        .filter(|id| matches.value_source(id.as_str()) == Some(ValueSource::CommandLine))
        .map(|id| id.as_str().replace('_', "-"))
        .collect()
}

/// Replaces what the file names and the command line does not.
fn overlay(merged: &mut Table, file: &Table, keys: &Table, given: &BTreeSet<String>) {
    for (key, named) in keys {
        match (file.get(key), named, merged.get_mut(key)) {
            (Some(Value::Table(file)), Value::Table(named), Some(Value::Table(inner))) => {
                overlay(inner, file, named, given);
            }
            (Some(value), _, _) if !given.contains(key) => {
                merged.insert(key.clone(), value.clone());
            }
            _ => {}
        }
    }
}

fn network(text: &str) -> Result<IpNet, String> {
    let address = || text.parse::<IpAddr>().map(IpNet::from);
    text.parse()
        .or_else(|_| address())
        .map_err(|_| format!("'{text}' is neither an address nor a network such as 192.0.2.0/24"))
}

fn networks<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<IpNet>, D::Error> {
    let texts = Vec::<String>::deserialize(from)?;
    let networks = texts.iter().map(|text| network(text));
    networks
        .collect::<Result<_, _>>()
        .map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, FromArgMatches};

    use super::*;

    fn with_file(arguments: &[&str], file: &str) -> Result<Options> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("helo.toml");
        std::fs::write(&path, file)?;
        let all = std::iter::once(&"helo-server").chain(arguments);
        let matches = Alone::command().try_get_matches_from(all)?;
        let options = Alone::from_arg_matches(&matches)?.options;
        options.over_file(&path, &matches)
    }

    #[test]
    fn flags_win_over_the_file_and_the_file_over_defaults() {
        let options = with_file(
            &["--hostname", "mx.flag.test", "--max-size", "1M"],
            "hostname = 'mx.file.test'\nuser = ['anna']\n\
             listen = ['127.0.0.1:0,name=mx', 'unix:/x,proto=lmtp']\n\
             [limits]\nmax-size = '2M'\nmax-errors = 7\n",
        )
        .unwrap();
        assert_eq!(options.hostname.to_string(), "mx.flag.test");
        assert_eq!(options.user, ["anna"]);
        assert_eq!(options.listen.len(), 2);
        assert_eq!(options.limits.max_size.0, 1 << 20);
        assert_eq!(options.limits.max_errors, 7);
        assert_eq!(options.limits.max_recipients, 1000);
    }

    #[test]
    fn errors_of_the_file_tell_the_line_and_the_column() {
        for (file, wanted) in [
            ("hostname = 'a'\nhostnme = 'b'\n", ":2:1: "),
            ("user = 3\n", ":1:8: "),
            ("mynetworks = ['10.0.0.0/40']\n", ":1:14: "),
            ("[limits]\nmax-size = 'big'\n", ":2:12: "),
            ("listen = ['127.0.0.1:25,tls=no']\n", ":1:1"),
            ("x = \n", ":1:"),
        ] {
            let error = with_file(&[], file).unwrap_err().to_string();
            assert!(error.contains(wanted), "{file}: {error}");
            assert_eq!(error.lines().count(), 1, "{error}");
        }
    }

    #[test]
    fn what_is_printed_is_read_again() {
        let options = Options::default();
        let again: Options = toml::from_str(&options.to_toml().unwrap()).unwrap();
        assert_eq!(again, options);
    }
}
