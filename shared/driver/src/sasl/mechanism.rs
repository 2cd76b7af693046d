//! What a row of the table says of a mechanism.

use super::client::{self, ClientHalf};
use super::server::{self, Failure, ServerHalf};
use super::{ALL, Channel};

/// A mechanism: what is known of it before an exchange begins.
#[derive(Debug)]
pub struct Mechanism {
    /// As EHLO lists it (RFC 4422 §3.1).
    pub name: &'static str,
    /// What the client proves itself with.
    pub needs: Needs,
    /// What of it goes over the wire.
    pub transfer: Transfer,
    /// It binds the exchange to the TLS session: a -PLUS.
    pub channel_binding: bool,
    /// The client can say that it wants to act as somebody else.
    pub authzid: bool,
    /// Whether AUTH may carry the first message.
    pub initial: Initial,
    pub(super) server: BeginServer,
    pub(super) client: BeginClient,
}

/// Makes the half that asks.
pub(super) type BeginServer = fn(&server::Context) -> Result<Box<dyn ServerHalf>, Failure>;

/// Makes the half that proves.
pub(super) type BeginClient =
    fn(&client::Credentials, &client::Context) -> Result<Box<dyn ClientHalf>, client::Error>;

/// What a client proves itself with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// A certificate, shown in the TLS handshake.
    Certificate,
    /// A password.
    Password,
    /// An OAuth 2.0 bearer token.
    Token,
}

/// What of the secret goes over the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transfer {
    /// The secret itself: only inside TLS.
    ClearText,
    /// A digest, from which the secret can be guessed.
    Digest,
    /// A digest either way: the server proves that it knows the secret, too.
    Mutual,
    /// Nothing: the TLS handshake has proven it.
    Nothing,
}

/// Whether AUTH may carry the first message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Initial {
    /// The client speaks first.
    Expected,
    /// The server speaks first, and a client that does is refused (RFC 4954 §4).
    Refused,
    /// The server speaks first, but clients are known that do not wait.
    Tolerated,
}

/// Where mechanisms may be used that show the secret.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClearText {
    /// Everywhere: asked for, for a lab.
    Anywhere,
    /// Inside TLS.
    #[default]
    InTls,
}

/// The mechanism of that name, in any case.
pub fn find(name: &str) -> Option<&'static Mechanism> {
    ALL.iter()
        .find(|mechanism| mechanism.name.eq_ignore_ascii_case(name))
}

impl Mechanism {
    /// Whether it can and may be used over this channel.
    pub fn fits(&self, channel: &Channel, clear_text: ClearText) -> bool {
        let safe = self.transfer != Transfer::ClearText || clear_text == ClearText::Anywhere;
        (safe || channel.is_tls()) && (!self.channel_binding || channel.binding().is_some())
    }
}

impl PartialEq for Mechanism {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Mechanism {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_names_each_mechanism_once_as_rfc_4422_wants() {
        for (at, mechanism) in ALL.iter().enumerate() {
            let name = mechanism.name;
            assert!((1..=20).contains(&name.len()), "{name}");
            assert!(
                name.bytes()
                    .all(|c| matches!(c, b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_')),
                "{name}"
            );
            assert_eq!(find(&name.to_lowercase()), Some(&ALL[at]));
            assert_eq!(name.ends_with("-PLUS"), mechanism.channel_binding, "{name}");
        }
    }

    #[test]
    fn a_secret_in_clear_text_stays_inside_tls() {
        let fits = |name: &str, channel: &Channel, clear_text| {
            find(name).is_some_and(|mechanism| mechanism.fits(channel, clear_text))
        };
        for name in ["PLAIN", "LOGIN", "XOAUTH2", "OAUTHBEARER"] {
            assert!(!fits(name, &Channel::Clear, ClearText::InTls), "{name}");
            assert!(fits(name, &Channel::Clear, ClearText::Anywhere), "{name}");
            assert!(fits(name, &Channel::Tls, ClearText::InTls), "{name}");
        }
        for name in ["CRAM-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256"] {
            assert!(fits(name, &Channel::Clear, ClearText::InTls), "{name}");
        }
    }
}
