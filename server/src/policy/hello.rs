//! EHLO, HELO and LHLO: who the client says it is, and what it is offered.

use shared::reply::{Reply, ReplyCode};

use super::SessionPolicy;
use crate::config::TlsMode;

/// What the client said in EHLO, HELO or LHLO.
#[derive(Debug)]
pub(super) struct Helo {
    /// Who it says it is.
    pub(super) name: String,
    /// It may use extensions: it did not say HELO.
    pub(super) extended: bool,
}

impl SessionPolicy {
    pub(super) fn hello(&mut self, name: &str, extended: bool) -> Reply {
        self.abandon();
        let name = presentable(name);
        let greeting = match self.client.ip() {
            Some(address) => format!("{} greets {name} [{address}]", self.site.hostname),
            None => format!("{} greets {name}", self.site.hostname),
        };
        self.helo = Some(Helo { name, extended });
        let code = ReplyCode::new(250);
        match code.filter(|_| extended) {
            None => Reply::of(250, "", greeting),
            Some(code) => {
                let mut lines = vec![greeting];
                lines.extend(self.extensions());
                Reply::multi(code, lines)
            }
        }
    }

    fn extensions(&self) -> Vec<String> {
        // RFC 1870 §4: zero is no fixed maximum.
        let size = match self.site.limits.max_size.0 {
            u64::MAX => "SIZE 0".into(),
            most => format!("SIZE {most}"),
        };
        let mut lines = vec![
            "PIPELINING".into(),
            size,
            "8BITMIME".into(),
            "SMTPUTF8".into(),
        ];
        if self.port.tls == TlsMode::StartTls && !self.in_tls {
            lines.push("STARTTLS".into());
        }
        lines.push("ENHANCEDSTATUSCODES".into());
        lines
    }

    /// The client said EHLO or LHLO, so that it may use extensions.
    pub(super) fn is_extended(&self) -> bool {
        self.helo.as_ref().is_some_and(|helo| helo.extended)
    }
}

/// What a client calls itself, for a reply and for a header field: no more than a
/// domain may have, and nothing that a name or an address literal has not.
fn presentable(name: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
    name.chars()
        .take(255)
        .map(|c| if fits(c) { c } else { '?' })
        .collect()
}
