//! What a client may do, and for how long.

use std::time::Duration;

use clap::Args;
use serde::{Deserialize, Serialize};
use serde_with::{DisplayFromStr, serde_as};
use shared::quantity::{Octets, Period};

/// The limits. Zero means none, where that is possible.
#[serde_as]
#[derive(Args, Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
#[command(next_help_heading = "Limits")]
pub struct Limits {
    /// The largest message
    #[arg(long, default_value_t = Octets(50 << 20), value_name = "SIZE")]
    #[serde_as(as = "DisplayFromStr")]
    pub max_size: Octets,
    /// The longest line of content, its end not counted; longer ones are noted, and
    /// with this refused
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub max_line: u64,
    /// The largest header section; a larger one is noted
    #[arg(long, default_value_t = Octets(1 << 20), value_name = "SIZE")]
    #[serde_as(as = "DisplayFromStr")]
    pub max_header: Octets,
    /// The most Received header fields, one for each server a message came through:
    /// with more, it is refused (RFC 5321 §6.3 asks to allow 100)
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub max_received: u64,
    /// The most memory for messages that are kept in memory, the oldest go first; and
    /// as much again for messages that are coming in
    #[arg(long, default_value_t = Octets(256 << 20), value_name = "SIZE")]
    #[serde_as(as = "DisplayFromStr")]
    pub max_memory: Octets,
    /// A message larger than this is held in a file while it comes in, if it goes to
    /// files; with 0 every one is
    #[arg(long, default_value_t = Octets(256 << 10), value_name = "SIZE")]
    #[serde_as(as = "DisplayFromStr")]
    pub spill: Octets,
    /// The least room on the disk, if mail goes to files: with less, none is taken
    #[arg(long, default_value_t = Octets(64 << 20), value_name = "SIZE")]
    #[serde_as(as = "DisplayFromStr")]
    pub min_free: Octets,
    /// The most recipients of one message (RFC 5321 §4.5.3.1.8 asks for 100)
    #[arg(long, default_value_t = 1000, value_name = "N")]
    pub max_recipients: usize,
    /// The most messages in one session
    #[arg(long, default_value_t = 10_000, value_name = "N")]
    pub max_messages: u64,
    /// The most refused commands in one session
    #[arg(long, default_value_t = 20, value_name = "N")]
    pub max_errors: u32,
    /// The most NOOP, RSET, VRFY, EXPN, HELP in one session between two messages
    #[arg(long, default_value_t = 100, value_name = "N")]
    pub max_junk: u32,
    /// The most failures of AUTH in one session
    #[arg(long, default_value_t = 5, value_name = "N")]
    pub max_auth_failures: u32,
    /// How long each of them delays its reply
    #[arg(long, default_value_t = Period::seconds(1), value_name = "TIME")]
    #[serde_as(as = "DisplayFromStr")]
    pub auth_delay: Period,
    /// The most connections at a time
    #[arg(long, default_value_t = 1000, value_name = "N")]
    pub max_connections: usize,
    /// The most connections of one client address at a time
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub max_connections_per_client: usize,
    /// The most connections of one client address in a minute
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub max_connection_rate: u32,
    /// How long a client may be silent (RFC 5321 §4.5.3.2.7 asks for 5 minutes)
    #[arg(long, default_value_t = Period::seconds(300), value_name = "TIME")]
    #[serde_as(as = "DisplayFromStr")]
    pub timeout_command: Period,
    /// How long a session may last
    #[arg(long, default_value_t = Period::seconds(1800), value_name = "TIME")]
    #[serde_as(as = "DisplayFromStr")]
    pub timeout_session: Period,
    /// The least octets of content a second, on average
    #[arg(long, default_value_t = 100, value_name = "N")]
    pub min_rate: u64,
    /// Over how long that is averaged
    #[arg(long, default_value_t = Period::seconds(60), value_name = "TIME")]
    #[serde_as(as = "DisplayFromStr")]
    pub min_rate_over: Period,
    /// How long a PROXY header may take
    #[arg(long, default_value_t = Period::seconds(5), value_name = "TIME")]
    #[serde_as(as = "DisplayFromStr")]
    pub timeout_proxy: Period,
    /// How long a TLS handshake may take
    #[arg(long, default_value_t = Period::seconds(30), value_name = "TIME")]
    #[serde_as(as = "DisplayFromStr")]
    pub timeout_tls: Period,
    /// How long sessions may take to finish when the server ends
    #[arg(long, default_value_t = Period::seconds(30), value_name = "TIME")]
    #[serde_as(as = "DisplayFromStr")]
    pub timeout_drain: Period,
    /// How long to wait before the greeting, for clients that cannot
    #[arg(long, default_value_t = Period::seconds(0), value_name = "TIME")]
    #[serde_as(as = "DisplayFromStr")]
    pub greet_pause: Period,
}

impl Default for Limits {
    fn default() -> Self {
        super::Options::default().limits
    }
}

impl Limits {
    /// The least octets of content, and in which time; none if it may be slow.
    pub fn pace(&self) -> Option<(u64, Duration)> {
        let over = self.min_rate_over.0;
        let least = self.min_rate.saturating_mul(over.as_secs().max(1));
        (least > 0 && !over.is_zero()).then_some((least, over))
    }

    /// The same, with the most there is in place of every zero that means no limit.
    #[must_use]
    pub fn with_none_as_most(self) -> Self {
        let forever = |period: Period| Period(or_most(period.0, Duration::MAX));
        Self {
            max_size: Octets(or_most(self.max_size.0, u64::MAX)),
            max_line: or_most(self.max_line, u64::MAX),
            max_header: Octets(or_most(self.max_header.0, u64::MAX)),
            max_received: or_most(self.max_received, u64::MAX),
            max_memory: Octets(or_most(self.max_memory.0, u64::MAX)),
            spill: self.spill,
            min_free: self.min_free,
            max_recipients: or_most(self.max_recipients, usize::MAX),
            max_messages: or_most(self.max_messages, u64::MAX),
            max_errors: or_most(self.max_errors, u32::MAX),
            max_junk: or_most(self.max_junk, u32::MAX),
            max_auth_failures: or_most(self.max_auth_failures, u32::MAX),
            auth_delay: self.auth_delay,
            max_connections: or_most(self.max_connections, usize::MAX),
            max_connections_per_client: or_most(self.max_connections_per_client, usize::MAX),
            max_connection_rate: or_most(self.max_connection_rate, u32::MAX),
            timeout_command: forever(self.timeout_command),
            timeout_session: forever(self.timeout_session),
            min_rate: self.min_rate,
            min_rate_over: self.min_rate_over,
            timeout_proxy: forever(self.timeout_proxy),
            timeout_tls: forever(self.timeout_tls),
            timeout_drain: forever(self.timeout_drain),
            greet_pause: self.greet_pause,
        }
    }
}

fn or_most<T: Default + PartialEq>(limit: T, most: T) -> T {
    if limit == T::default() { most } else { limit }
}
