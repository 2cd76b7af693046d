//! EHLO, HELO and LHLO: who the client says it is, and what it is offered.

use shared::address::Domain;
use shared::extension::{AnnouncedLimits, HoldLimits, Offered, Xclient, Xforward};
use shared::reply::{Reply, ReplyCode};

use super::SessionPolicy;
use crate::config::{HeloRule, Protocol, TlsMode};

/// For how long FUTURERELEASE lets a message be held: a day, in seconds.
const HOLD: u32 = 86_400;

/// What the client said in EHLO, HELO or LHLO, and what it was offered.
#[derive(Debug)]
pub(super) struct Helo {
    /// Who it says it is.
    pub(super) name: String,
    /// It may use extensions: it did not say HELO.
    pub(super) extended: bool,
    /// Which ones.
    pub(super) offered: Offered,
}

impl SessionPolicy {
    pub(super) fn hello(&mut self, name: &str, extended: bool) -> Reply {
        if let Some(objection) = self.name_objection(name) {
            return objection;
        }
        self.abandon();
        let name = presentable(name);
        let greeting = match self.client.address() {
            Some(address) => format!("{} greets {name} [{address}]", self.site.hostname),
            None => format!("{} greets {name}", self.site.hostname),
        };
        let lines = if extended { self.offer() } else { Vec::new() };
        self.helo = Some(Helo {
            name,
            extended,
            offered: Offered::parse(lines.iter().map(String::as_str)),
        });
        match ReplyCode::new(250).filter(|_| extended) {
            None => Reply::of(250, "", greeting),
            Some(code) => {
                let all = std::iter::once(greeting).chain(lines);
                Reply::multi(code, all)
            }
        }
    }

    /// What there is against what a client calls itself.
    fn name_objection(&self, name: &str) -> Option<Reply> {
        let domain: Option<Domain> = name.parse().ok();
        let is_literal = name.starts_with('[');
        let full = domain.is_some() && (is_literal || name.trim_end_matches('.').contains('.'));
        match self.site.helo {
            HeloRule::Valid if domain.is_none() => Some(Reply::of(
                501,
                "5.5.4",
                "that is neither a domain nor an address literal",
            )),
            HeloRule::Fqdn if !full => Some(Reply::of(
                504,
                "5.5.2",
                "a fully qualified domain name is needed",
            )),
            _ => None,
        }
    }

    /// The lines of the EHLO reply after the first.
    fn offer(&self) -> Vec<String> {
        let mut lines = self.extensions();
        for line in self.site.advertised.iter().chain(&self.faults.advertised) {
            let keyword = keyword(line);
            lines.retain(|one| self::keyword(one) != keyword);
            lines.push(line.clone());
        }
        let hidden = |line: &String| {
            let keyword = keyword(line);
            let mut hidden = self.site.hidden.iter().chain(&self.faults.hidden);
            hidden.any(|one| one.eq_ignore_ascii_case(keyword))
        };
        lines.retain(|line| !hidden(line));
        lines
    }

    /// What the server can do, for this client, now.
    fn extensions(&self) -> Vec<String> {
        let limits = &self.site.limits;
        // RFC 1870 §4: zero is no fixed maximum.
        let size = match limits.max_size.0 {
            u64::MAX => 0,
            most => most,
        };
        let mut lines: Vec<String> = vec![
            "PIPELINING".into(),
            format!("SIZE {size}"),
            "8BITMIME".into(),
            "SMTPUTF8".into(),
            "CHUNKING".into(),
            "BINARYMIME".into(),
            "DSN".into(),
            "DELIVERBY".into(),
            "MT-PRIORITY".into(),
        ];
        if self.port.protocol == Protocol::Submission {
            // RFC 4865 §3: of submission alone.
            let limits = HoldLimits {
                interval: HOLD,
                until: self.clock.now() + std::time::Duration::from_secs(HOLD.into()),
            };
            lines.push(format!("FUTURERELEASE {limits}"));
        }
        if self.port.tls == TlsMode::StartTls && !self.in_tls {
            lines.push("STARTTLS".into());
        }
        if self.in_tls {
            // RFC 8689 §2: within TLS alone.
            lines.push("REQUIRETLS".into());
        }
        lines.extend(self.auth_line());
        lines.extend(self.announced_limits());
        if self.believes(&self.site.xclient_hosts) {
            lines.push(format!("XCLIENT {}", Xclient::ATTRIBUTES));
        }
        if self.believes(&self.site.xforward_hosts) {
            lines.push(format!("XFORWARD {}", Xforward::ATTRIBUTES));
        }
        lines.push("ENHANCEDSTATUSCODES".into());
        lines
    }

    /// The LIMITS line (RFC 9422), where there are limits that it can express.
    fn announced_limits(&self) -> Option<String> {
        let limit = |most: u64| {
            let most = u32::try_from(most).ok();
            // RFC 9422 §4: six digits at most.
            most.filter(|most| (1..1_000_000).contains(most))
        };
        let limits = AnnouncedLimits {
            mail_max: limit(self.site.limits.max_messages),
            rcpt_max: limit(self.site.limits.max_recipients as u64),
            ..AnnouncedLimits::default()
        };
        let text = limits.to_string();
        (!text.is_empty()).then(|| format!("LIMITS {text}"))
    }

    /// The client said EHLO or LHLO, so that it may use extensions.
    pub(super) fn is_extended(&self) -> bool {
        self.helo.as_ref().is_some_and(|helo| helo.extended)
    }

    /// The extension is on offer.
    pub(super) fn offers(&self, keyword: &str) -> bool {
        let helo = self.helo.as_ref();
        helo.is_some_and(|helo| helo.offered.has(keyword))
    }
}

/// The first word of an EHLO line.
fn keyword(line: &str) -> &str {
    line.split([' ', '=']).next().unwrap_or(line)
}

/// What a client calls itself, for a reply and for a header field: no more than a
/// domain may have, and nothing that a name or an address literal has not.
pub(super) fn presentable(name: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
    name.chars()
        .take(255)
        .map(|c| if fits(c) { c } else { '?' })
        .collect()
}
