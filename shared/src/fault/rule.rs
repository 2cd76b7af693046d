//! What a rule says.

use super::action::Action;
use super::condition::Condition;
use crate::quantity::Period;

/// One rule: when, under which conditions, how often, and what then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Where in a session.
    pub when: When,
    /// All of them must hold.
    pub conditions: Vec<Condition>,
    /// How often; every time if there is none.
    pub count: Option<Count>,
    /// What is done.
    pub actions: Vec<Action>,
}

/// Where in a session a rule is looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct When {
    /// At one of these.
    pub stages: Vec<Stage>,
    /// Only at the listener of this name.
    pub listener: Option<String>,
}

/// A point of a session at which rules are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// A connection was accepted.
    Connect,
    /// The greeting is due.
    Greeting,
    /// HELO.
    Helo,
    /// EHLO.
    Ehlo,
    /// LHLO.
    Lhlo,
    /// STARTTLS.
    StartTls,
    /// The TLS handshake is due.
    Tls,
    /// AUTH.
    Auth,
    /// A line of an AUTH exchange.
    AuthStep,
    /// MAIL.
    Mail,
    /// RCPT.
    Rcpt,
    /// DATA.
    Data,
    /// The end of a BDAT chunk.
    Bdat,
    /// So many octets of the content have come.
    BodyByte(u64),
    /// So many lines of the content have come.
    BodyLine(u64),
    /// The end of the content.
    Dot,
    /// The reply to one recipient at the end of the content, in LMTP.
    DotRcpt,
    /// RSET.
    Rset,
    /// NOOP.
    Noop,
    /// VRFY.
    Vrfy,
    /// EXPN.
    Expn,
    /// HELP.
    Help,
    /// ETRN.
    Etrn,
    /// XCLIENT.
    Xclient,
    /// QUIT.
    Quit,
    /// A verb that is none of these.
    Unknown,
    /// The client has said nothing for so long.
    Idle(Period),
    /// All at which a reply is due: the greeting, every command, the end of content.
    Any,
}

/// How often a rule fires, of all the times that its conditions hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// Which times.
    pub which: Which,
    /// Counted apart for each of these.
    pub per: Option<Key>,
    /// Counting only what was within this time.
    pub within: Option<Period>,
    /// Once it fired, it goes on for so long.
    pub lasts: Option<Period>,
}

/// Which of all the times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// The first so many.
    First(u64),
    /// The one of that number, from 1.
    Nth(u64),
    /// All after so many.
    After(u64),
    /// Each time that many have been.
    Every(u64),
    /// By chance.
    Chance(Chance),
}

/// A probability, in millionths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chance(u32);

/// What is counted apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// The client's address.
    Client,
    /// What it calls itself.
    Helo,
    /// The reverse-path.
    From,
    /// The forward-path.
    To,
    /// Who it has authenticated as.
    User,
    /// Client address, reverse-path and forward-path together.
    Triplet,
    /// The listener.
    Listener,
    /// The session.
    Session,
    /// The transaction.
    Transaction,
}

impl Chance {
    /// Certainty, in millionths.
    pub const CERTAIN: u32 = 1_000_000;

    /// So many millionths, if that is a probability.
    pub const fn millionths(count: u32) -> Option<Self> {
        if count <= Self::CERTAIN {
            Some(Self(count))
        } else {
            None
        }
    }

    /// In millionths.
    pub const fn get(self) -> u32 {
        self.0
    }
}

/// A stage without an argument, and what it is.
type Row = (Stage, &'static str, &'static str);

impl Stage {
    /// The stages that have no argument: as they are written, and what they are.
    pub const PLAIN: &[Row] = &[
        (Self::Connect, "connect", "a connection was accepted"),
        (Self::Greeting, "greeting", "the greeting is due"),
        (Self::Helo, "helo", "HELO"),
        (Self::Ehlo, "ehlo", "EHLO"),
        (Self::Lhlo, "lhlo", "LHLO"),
        (Self::StartTls, "starttls", "STARTTLS"),
        (Self::Tls, "tls", "the TLS handshake is due"),
        (Self::Auth, "auth", "AUTH"),
        (Self::AuthStep, "auth-step", "a line of an AUTH exchange"),
        (Self::Mail, "mail", "MAIL"),
        (Self::Rcpt, "rcpt", "RCPT"),
        (Self::Data, "data", "DATA"),
        (Self::Bdat, "bdat", "the end of a BDAT chunk"),
        (Self::Dot, "dot", "the end of the content"),
        (
            Self::DotRcpt,
            "dot-rcpt",
            "the reply to one recipient at the end of the content, in LMTP",
        ),
        (Self::Rset, "rset", "RSET"),
        (Self::Noop, "noop", "NOOP"),
        (Self::Vrfy, "vrfy", "VRFY"),
        (Self::Expn, "expn", "EXPN"),
        (Self::Help, "help", "HELP"),
        (Self::Etrn, "etrn", "ETRN"),
        (Self::Xclient, "xclient", "XCLIENT"),
        (Self::Quit, "quit", "QUIT"),
        (Self::Unknown, "unknown", "a verb that is none of these"),
        (
            Self::Any,
            "any",
            "the greeting, any command, the end of content",
        ),
    ];

    /// The stages with an argument, as they are written, and what they are.
    pub const WITH_ARGUMENT: &[(&str, &str)] = &[
        ("body-byte(N)", "N octets of the content have come"),
        ("body-line(N)", "N lines of the content have come"),
        ("idle(TIME)", "the client has said nothing for so long"),
    ];

    /// The stage of that name, without an argument.
    pub fn named(name: &str) -> Option<Self> {
        let row = Self::PLAIN.iter().find(|(_, known, _)| *known == name);
        row.map(|(stage, ..)| *stage)
    }

    /// As it is written, without its argument.
    pub fn name(self) -> &'static str {
        match self {
            Self::BodyByte(_) => "body-byte",
            Self::BodyLine(_) => "body-line",
            Self::Idle(_) => "idle",
            plain => {
                let row = Self::PLAIN.iter().find(|(stage, ..)| *stage == plain);
                row.map_or("any", |(_, name, _)| name)
            }
        }
    }

    /// A reply is due there.
    pub const fn is_answered(self) -> bool {
        !matches!(
            self,
            Self::Connect | Self::Tls | Self::BodyByte(_) | Self::BodyLine(_) | Self::Idle(_)
        )
    }

    /// A rule for this stage is looked at there.
    pub fn covers(self, there: Self) -> bool {
        self == there || (self == Self::Any && there.is_answered() && there != Self::DotRcpt)
    }

    /// Its bit in a set of stages.
    pub const fn bit(self) -> u32 {
        1 << match self {
            Self::Connect => 0,
            Self::Greeting => 1,
            Self::Helo => 2,
            Self::Ehlo => 3,
            Self::Lhlo => 4,
            Self::StartTls => 5,
            Self::Tls => 6,
            Self::Auth => 7,
            Self::AuthStep => 8,
            Self::Mail => 9,
            Self::Rcpt => 10,
            Self::Data => 11,
            Self::Bdat => 12,
            Self::BodyByte(_) => 13,
            Self::BodyLine(_) => 14,
            Self::Dot => 15,
            Self::DotRcpt => 16,
            Self::Rset => 17,
            Self::Noop => 18,
            Self::Vrfy => 19,
            Self::Expn => 20,
            Self::Help => 21,
            Self::Etrn => 22,
            Self::Xclient => 23,
            Self::Quit => 24,
            Self::Unknown => 25,
            Self::Idle(_) => 26,
            Self::Any => 27,
        }
    }
}

impl Key {
    /// All of them, as they are written.
    pub const ALL: &[(Self, &str)] = &[
        (Self::Client, "client"),
        (Self::Helo, "helo"),
        (Self::From, "from"),
        (Self::To, "to"),
        (Self::User, "user"),
        (Self::Triplet, "triplet"),
        (Self::Listener, "listener"),
        (Self::Session, "session"),
        (Self::Transaction, "transaction"),
    ];

    /// The key of that name.
    pub fn named(name: &str) -> Option<Self> {
        let row = Self::ALL.iter().find(|(_, known)| *known == name);
        row.map(|(key, _)| *key)
    }

    /// As it is written.
    pub fn name(self) -> &'static str {
        let row = Self::ALL.iter().find(|(key, _)| *key == self);
        row.map_or("", |(_, name)| name)
    }
}

impl Rule {
    /// It decides what happens, so that no later rule does at the same event.
    pub fn is_final(&self) -> bool {
        self.actions.iter().any(Action::is_final)
    }

    /// It looks at the content of a message.
    pub fn reads_content(&self) -> bool {
        self.conditions.iter().any(Condition::reads_content)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stage_has_a_name_and_a_bit_of_its_own() {
        let mut bits = 0;
        let others = [
            Stage::BodyByte(1),
            Stage::BodyLine(1),
            Stage::Idle(Period::seconds(1)),
        ];
        let plain = Stage::PLAIN.iter().map(|(stage, ..)| *stage);
        for stage in plain.chain(others) {
            assert_eq!(bits & stage.bit(), 0, "{stage:?}");
            bits |= stage.bit();
        }
        for (stage, name, _) in Stage::PLAIN {
            assert_eq!(Stage::named(name), Some(*stage));
            assert_eq!(stage.name(), *name);
        }
        for (key, name) in Key::ALL {
            assert_eq!(Key::named(name), Some(*key));
        }
    }
}
