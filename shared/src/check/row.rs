//! The row of a check in the catalogue.

use serde::Serialize;

use super::{Context, Facts, Finding, Leg, LegKind, Script, Setting, Severity};

/// One check of the catalogue.
#[derive(Clone, Copy, Debug)]
pub struct Check {
    /// Its id, such as `relay-plain`.
    pub id: &'static str,
    /// What it belongs to.
    pub group: Group,
    /// The one question it asks.
    pub question: &'static str,
    /// How bad a fail is; single findings may be milder or worse.
    pub severity: Severity,
    /// What playing its scripts may cause.
    pub safety: Safety,
    /// How far its scripts go.
    pub stop: Stop,
    /// What must be known or offered, in words; empty if nothing.
    pub needs: &'static str,
    /// Where the rule comes from.
    pub references: &'static [&'static str],
    /// What passes on the localhost leg.
    pub localhost: On,
    /// What passes for strangers: on the remote and the own-address leg.
    pub remote: On,
    /// What passes for an authenticated client.
    pub authenticated: On,
    /// The scripts that ask the question; empty if facts are missing.
    pub scripts: fn(&Setting<'_>) -> Vec<Script>,
    /// The verdict on one leg.
    pub judge: fn(&Leg<'_>, &Facts, &Context<'_>) -> Finding,
    /// What to change, by product.
    pub cures: &'static [(Mta, &'static str)],
}

impl Check {
    /// What is asked on a leg of that kind.
    pub const fn on(&self, kind: LegKind) -> On {
        match kind {
            LegKind::Localhost => self.localhost,
            LegKind::OwnAddress | LegKind::Remote => self.remote,
            LegKind::Authenticated => self.authenticated,
        }
    }
}

/// Whether a check runs on a leg, and what passes there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    /// It is not run.
    Skip,
    /// It is run, but never judged worse than info.
    NotJudged,
    /// It is run and judged; this is what passes.
    Judged(&'static str),
}

/// What a check belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Group {
    /// Reaching the server.
    Conn,
    /// Delivering to its own users.
    Deliver,
    /// Relaying to others.
    Relay,
    /// Authentication.
    Auth,
    /// Encryption.
    Tls,
    /// What is given away.
    Enum,
    /// Who the client says it is.
    Helo,
    /// Who the mail says it is from.
    Sender,
    /// Recipients.
    Rcpt,
    /// Sizes and numbers.
    Limit,
    /// The protocol.
    Proto,
    /// Where mail data ends.
    Smuggle,
    /// What happened to the message.
    Trace,
}

/// What playing a check's scripts may cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Safety {
    /// Reads what the server says unasked.
    Passive,
    /// Ordinary commands, no content but to the local user.
    Harmless,
    /// May trip limits or alarms.
    Intrusive,
}

/// How far a script goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stop {
    /// Ends before DATA.
    PreData,
    /// One marked message to the local user.
    SelfMessage,
}

/// A mail server product for which cures are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub enum Mta {
    /// Postfix.
    Postfix,
    /// Exim.
    Exim,
    /// OpenSMTPD.
    #[serde(rename = "OpenSMTPD")]
    OpenSmtpd,
    /// Sendmail.
    Sendmail,
}

impl Mta {
    /// The product's own spelling.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Postfix => "Postfix",
            Self::Exim => "Exim",
            Self::OpenSmtpd => "OpenSMTPD",
            Self::Sendmail => "Sendmail",
        }
    }
}
