//! What a listener of the sink offers: its replies, written out beforehand.

use std::str::FromStr;

use anyhow::{Result, bail};
use shared::address::Domain;

use crate::config::{ListenSpec, Protocol, TlsMode};

/// One line of an EHLO reply, as `--advertise` has it: a keyword, and what
/// follows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer(String);

/// Why a text cannot be offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "an EHLO keyword is letters, digits and hyphens, and what follows it printable; 500 octets in all"
)]
pub struct NoOffer;

impl FromStr for Offer {
    type Err = NoOffer;

    /// `ehlo-line = ehlo-keyword *( SP ehlo-param )` (RFC 5321 §4.1.1.1).
    fn from_str(text: &str) -> Result<Self, NoOffer> {
        let (keyword, rest) = text.split_once(' ').unwrap_or((text, ""));
        let sound = |c: char| c.is_ascii_alphanumeric() || c == '-';
        let fits = keyword.starts_with(|c: char| c.is_ascii_alphanumeric())
            && keyword.chars().all(sound)
            && rest.chars().all(|c| matches!(c, ' '..='~'))
            && text.len() <= 500;
        fits.then(|| Self(text.to_owned())).ok_or(NoOffer)
    }
}

impl Offer {
    fn keyword(&self) -> &str {
        self.0.split(' ').next().unwrap_or_default()
    }
}

/// Changes to what is offered.
#[derive(Clone, Debug, Default)]
pub(super) struct Changes {
    /// Offered in addition, or with other parameters.
    pub(super) advertise: Vec<Offer>,
    /// Not offered; what a client uses of it is taken all the same.
    pub(super) hide: Vec<String>,
}

/// The terms of one listener.
#[derive(Debug)]
pub(super) struct Terms {
    pub(super) protocol: Protocol,
    pub(super) tls: TlsMode,
    pub(super) greeting: Vec<u8>,
    /// The reply to EHLO or LHLO.
    pub(super) hello: Vec<u8>,
    pub(super) hello_in_tls: Vec<u8>,
    /// The reply to HELO.
    pub(super) helo: Vec<u8>,
}

/// What is offered always.
const OFFERED: [&str; 9] = [
    "PIPELINING",
    "SIZE",
    "8BITMIME",
    "SMTPUTF8",
    "CHUNKING",
    "BINARYMIME",
    "DSN",
    "DELIVERBY",
    "MT-PRIORITY",
];

impl Terms {
    /// The terms of a listener.
    pub(super) fn new(spec: &ListenSpec, hostname: &Domain, changes: &Changes) -> Result<Self> {
        let mut plain = ListenSpec::at(spec.place.clone());
        (plain.protocol, plain.tls) = (spec.protocol, spec.tls);
        if plain != *spec {
            bail!("--listen {spec}: the sink knows proto= and tls=, and no other option");
        }
        let protocol = match spec.protocol {
            Protocol::Lmtp => "LMTP",
            _ => "ESMTP",
        };
        let before_tls: &[&str] = match spec.tls {
            TlsMode::StartTls => &["STARTTLS"],
            TlsMode::Implicit | TlsMode::None => &[],
        };
        Ok(Self {
            protocol: spec.protocol,
            tls: spec.tls,
            greeting: format!("220 {hostname} {protocol} Heloscope sink\r\n").into_bytes(),
            hello: hello(hostname, before_tls, changes),
            // Nothing leaves it, so nothing leaves it without TLS: RFC 8689 §2.
            hello_in_tls: hello(hostname, &["REQUIRETLS"], changes),
            helo: format!("250 {hostname}\r\n").into_bytes(),
        })
    }
}

/// The reply to EHLO, with what is offered in that state of TLS alone.
fn hello(hostname: &Domain, by_tls: &[&str], changes: &Changes) -> Vec<u8> {
    let usual = OFFERED.iter().chain(by_tls).chain(&["ENHANCEDSTATUSCODES"]);
    let is_changed = |keyword: &str| {
        let hidden = changes.hide.iter();
        let replaced = changes.advertise.iter().map(Offer::keyword);
        hidden
            .map(String::as_str)
            .chain(replaced)
            .any(|changed| changed.eq_ignore_ascii_case(keyword))
    };
    let mut lines = vec![hostname.to_string()];
    lines.extend(
        usual
            .filter(|usual| !is_changed(usual))
            .map(ToString::to_string),
    );
    lines.extend(changes.advertise.iter().map(|offer| offer.0.clone()));
    let last = lines.len() - 1;
    let line = |(index, text): (usize, String)| {
        let separator = if index == last { ' ' } else { '-' };
        format!("250{separator}{text}\r\n")
    };
    let reply: String = lines.into_iter().enumerate().map(line).collect();
    reply.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(spec: &str, changes: &Changes) -> Result<Terms> {
        Terms::new(&spec.parse()?, &"mx.test".parse()?, changes)
    }

    fn keywords(reply: &[u8]) -> Vec<String> {
        let reply = shared::reply::Reply::parse(reply).unwrap();
        reply.lines().skip(1).map(str::to_owned).collect()
    }

    #[test]
    fn starttls_is_offered_where_it_can_be_done() {
        for (spec, outside, inside) in [
            ("127.0.0.1:0", true, false),
            ("127.0.0.1:0,tls=none", false, false),
            ("127.0.0.1:0,tls=implicit", false, false),
        ] {
            let terms = terms(spec, &Changes::default()).unwrap();
            let offers = |reply| keywords(reply).contains(&"STARTTLS".to_owned());
            assert_eq!(offers(&terms.hello), outside, "{spec}");
            assert_eq!(offers(&terms.hello_in_tls), inside, "{spec}");
        }
    }

    #[test]
    fn what_is_offered_can_be_changed() {
        let changes = Changes {
            advertise: vec!["SIZE 1000".parse().unwrap(), "X-ODD a=b".parse().unwrap()],
            hide: vec!["chunking".into(), "BINARYMIME".into()],
        };
        let terms = terms("127.0.0.1:0,proto=lmtp", &changes).unwrap();
        let found = keywords(&terms.hello);
        assert!(found.contains(&"SIZE 1000".into()) && !found.contains(&"SIZE".into()));
        assert!(found.contains(&"X-ODD a=b".into()) && found.contains(&"DSN".into()));
        assert!(!found.contains(&"CHUNKING".into()) && !found.contains(&"BINARYMIME".into()));
        assert!(terms.greeting.starts_with(b"220 mx.test LMTP "));
        for unsound in ["", " X", "-X", "X\r\n250 Y", "X_Y", "X \u{e9}"] {
            assert_eq!(unsound.parse::<Offer>(), Err(NoOffer), "{unsound:?}");
        }
    }

    #[test]
    fn options_of_a_listener_that_would_do_nothing_are_refused() {
        for spec in ["127.0.0.1:0,relay=open", "127.0.0.1:0,name=mx"] {
            let error = terms(spec, &Changes::default()).unwrap_err();
            assert!(error.to_string().contains("no other option"), "{error}");
        }
    }
}
