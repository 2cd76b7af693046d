//! What the user stated about the target.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::LegKind;
use crate::recording::Dialogue;

/// What the user stated about the target, and what its greeting added.
///
/// Written into the run note of a recording, so that last month's recording
/// can be judged without asking again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The local-part of a mailbox that exists on the server.
    pub local_user: Option<String>,
    /// Domains the server is the final destination for; the first is the one asked with.
    pub local_domains: Vec<String>,
    /// The local-part of a mailbox elsewhere, normally the witness.
    pub foreign_user: Option<String>,
    /// A domain the server is not responsible for.
    pub foreign_domain: Option<String>,
    /// The name the server calls itself.
    pub server_name: Option<String>,
    /// The address the client connected to.
    pub server_ip: Option<IpAddr>,
    /// A local-part that cannot exist.
    pub unknown_user: Option<String>,
    /// The name to send in EHLO; `localhost` where none is stated.
    pub helo_name: Option<String>,
    /// The token of the run.
    pub token: Option<String>,
    /// A domain the server is backup MX for.
    pub relay_domain: Option<String>,
    /// The mailbox that would receive what should never have been relayed.
    pub witness: Option<String>,
    /// The address of the witness's mail host.
    pub witness_ip: Option<IpAddr>,
    /// Accepting any local-part is meant.
    pub catch_all: bool,
}

impl Facts {
    /// Reads what [`to_map`](Self::to_map) wrote; unknown keys are ignored, and
    /// so is an address that is none.
    pub fn from_map(map: &BTreeMap<String, String>) -> Self {
        let text = |key: &str| map.get(key).filter(|value| !value.is_empty()).cloned();
        let address = |key: &str| map.get(key).and_then(|value| value.parse().ok());
        let domains = text("local_domains").or_else(|| text("local_domain"));
        Self {
            local_user: text("local_user"),
            local_domains: domains
                .unwrap_or_default()
                .split([',', ' '])
                .filter(|domain| !domain.is_empty())
                .map(str::to_owned)
                .collect(),
            foreign_user: text("foreign_user"),
            foreign_domain: text("foreign_domain"),
            server_name: text("server_name"),
            server_ip: address("server_ip"),
            unknown_user: text("unknown_user"),
            helo_name: text("helo_name"),
            token: text("token"),
            relay_domain: text("relay_domain"),
            witness: text("witness"),
            witness_ip: address("witness_ip"),
            catch_all: text("catch_all").as_deref() == Some("yes"),
        }
    }

    /// The stated facts by name, as the run note binds them.
    pub fn to_map(&self) -> BTreeMap<String, String> {
        let domains = (!self.local_domains.is_empty()).then(|| self.local_domains.join(","));
        [
            ("local_user", self.local_user.clone()),
            ("local_domains", domains),
            ("foreign_user", self.foreign_user.clone()),
            ("foreign_domain", self.foreign_domain.clone()),
            ("server_name", self.server_name.clone()),
            ("server_ip", self.server_ip.map(|ip| ip.to_string())),
            ("unknown_user", self.unknown_user.clone()),
            ("helo_name", self.helo_name.clone()),
            ("token", self.token.clone()),
            ("relay_domain", self.relay_domain.clone()),
            ("witness", self.witness.clone()),
            ("witness_ip", self.witness_ip.map(|ip| ip.to_string())),
            ("catch_all", self.catch_all.then(|| "yes".to_owned())),
        ]
        .into_iter()
        .filter_map(|(key, value)| Some((key.to_owned(), value?)))
        .collect()
    }

    /// The same facts with the server's name and address filled in from a
    /// dialogue, where they were not stated: the name is the first word of the
    /// greeting, else of the EHLO reply.
    #[must_use]
    pub fn learned_from(mut self, dialogue: &Dialogue) -> Self {
        if self.server_ip.is_none() {
            self.server_ip = dialogue.server.map(|server| server.ip().to_canonical());
        }
        if self.server_name.is_none() {
            let greeting = dialogue
                .greeting
                .iter()
                .filter_map(|answer| answer.reply.as_ref());
            let hello = dialogue
                .exchanges
                .iter()
                .filter_map(|exchange| exchange.reply());
            self.server_name = greeting
                .chain(hello.take(1))
                .filter(|reply| reply.code().is_positive())
                .filter_map(|reply| reply.first_line().split(' ').next())
                .find(|word| word.contains('.'))
                .map(str::to_owned);
        }
        self
    }

    /// The domain the server's own mailboxes are asked with.
    pub fn local_domain(&self) -> Option<&str> {
        self.local_domains.first().map(String::as_str)
    }

    /// The ordinary local mailbox.
    pub fn local_mailbox(&self) -> Option<String> {
        Some(format!(
            "{}@{}",
            self.local_user.as_ref()?,
            self.local_domain()?
        ))
    }

    /// The ordinary foreign mailbox.
    pub fn foreign_mailbox(&self) -> Option<String> {
        let user = self.foreign_user.as_ref()?;
        Some(format!("{user}@{}", self.foreign_domain.as_ref()?))
    }

    /// The reverse-path of ordinary probes: the local mailbox when the server
    /// speaks to itself, `probe` at the foreign domain from elsewhere.
    pub fn sender(&self, kind: LegKind) -> Option<String> {
        match kind {
            LegKind::Localhost | LegKind::Authenticated => self.local_mailbox(),
            LegKind::OwnAddress | LegKind::Remote => {
                Some(format!("probe@{}", self.foreign_domain.as_ref()?))
            }
        }
    }

    /// The name to send in EHLO.
    pub fn helo(&self) -> &str {
        self.helo_name.as_deref().unwrap_or("localhost")
    }

    /// The server's address as a domain: an address literal (RFC 5321 §4.1.3).
    pub fn server_literal(&self) -> Option<String> {
        self.server_ip.map(literal)
    }

    /// The server answers for that domain itself, as far as was stated: its
    /// domains, its name, its address, `localhost`.
    pub fn is_own(&self, domain: &str) -> bool {
        let domain = domain.strip_suffix('.').unwrap_or(domain);
        let same = |own: &str| own.eq_ignore_ascii_case(domain);
        self.local_domains.iter().any(|own| same(own))
            || self.server_name.as_deref().is_some_and(same)
            || self.server_literal().as_deref().is_some_and(same)
            || same("localhost")
    }

    /// The first eight characters of the run token, for addresses.
    pub fn token8(&self) -> &str {
        let token = self.token.as_deref().unwrap_or("helotest");
        token.get(..8).unwrap_or(token)
    }
}

/// An address literal: `[192.0.2.1]` or `[IPv6:2001:db8::1]` (RFC 5321 §4.1.3).
pub fn literal(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => format!("[{ip}]"),
        IpAddr::V6(ip) => format!("[IPv6:{ip}]"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_survive_the_run_note() {
        let facts = Facts {
            local_user: Some("anna".into()),
            local_domains: vec!["example.net".into(), "example.com".into()],
            server_ip: Some("2001:db8::1".parse().unwrap()),
            catch_all: true,
            ..Facts::default()
        };
        assert_eq!(Facts::from_map(&facts.to_map()), facts);
        assert_eq!(Facts::from_map(&BTreeMap::new()), Facts::default());
    }

    #[test]
    fn own_domains_are_recognised_in_any_spelling() {
        let facts = Facts {
            local_domains: vec!["example.net".into()],
            server_ip: Some("192.0.2.25".parse().unwrap()),
            ..Facts::default()
        };
        for own in ["EXAMPLE.net", "example.net.", "[192.0.2.25]", "LocalHost"] {
            assert!(facts.is_own(own), "{own}");
        }
        for foreign in ["sub.example.net", "notexample.net", "192.0.2.25", ""] {
            assert!(!facts.is_own(foreign), "{foreign}");
        }
    }
}
