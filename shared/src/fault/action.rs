//! What a rule does, and where each action has a place.

use super::rule::Stage;
use crate::quantity::{Octets, Period};
use crate::reply::ReplyCode;
use crate::status::EnhancedStatusCode;

/// One thing that a rule does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Says this.
    Reply {
        /// The code.
        code: ReplyCode,
        /// The enhanced status code.
        status: Option<EnhancedStatusCode>,
        /// The text.
        text: Option<String>,
    },
    /// Says the reply in this file.
    ReplyLines(String),
    /// Says these octets.
    ReplyRaw(Vec<u8>),
    /// Says its reply in two writes, with a pause between them.
    ReplySplit {
        /// The first has so many octets.
        at: u64,
        /// The pause.
        pause: Period,
    },
    /// Says only so many octets of its reply.
    ReplyTruncate(u64),
    /// Says its reply twice.
    ReplyTwice,
    /// Does what was asked, and says yes where it would have refused.
    Accept,
    /// Refuses for now.
    Defer,
    /// Refuses for good.
    Reject,
    /// Says yes and keeps nothing.
    Discard,
    /// Keeps the message, whatever is said about it.
    Keep,
    /// Waits before it answers.
    Delay {
        /// At least.
        least: Period,
        /// At most; drawn between the two.
        most: Period,
    },
    /// Says its reply so many octets at a time.
    Drip {
        /// So many octets.
        octets: u64,
        /// In each of these times.
        every: Period,
    },
    /// Reads so many octets a second at most from now on.
    ThrottleIn(Octets),
    /// Writes so many octets a second at most from now on.
    ThrottleOut(Octets),
    /// Reads nothing for a time, once it has answered.
    StallRead(Period),
    /// Says nothing more and waits for the client to go.
    Hang,
    /// Closes the connection.
    Close,
    /// Resets the connection.
    Reset,
    /// Closes its own side and hears the client out.
    HalfClose,
    /// Says 421, and takes no connections for a time.
    Shutdown(Period),
    /// Does what was asked and says nothing about it.
    NoReply,
    /// Leaves this EHLO keyword out, and what it stands for.
    Hide(String),
    /// Adds this EHLO line, or puts it in place of the keyword's own.
    Advertise(String),
    /// Says that the message is kept before it has come.
    EarlyReply,
    /// Says so many drawn octets before its reply.
    Garbage(u64),
    /// Shows a certificate that is wrong in this way.
    TlsCert(Profile),
    /// Answers the handshake with this alert.
    TlsAlert(Alert),
    /// Closes in the middle of the handshake.
    TlsCloseAfter(Hello),
    /// Never answers the handshake.
    TlsHang,
    /// Speaks this version of TLS alone.
    TlsVersion(Version),
    /// Says these octets in clear, right behind the reply to STARTTLS.
    InjectBeforeTls(Vec<u8>),
    /// Marks the session with this tag.
    Tag(String),
    /// Keeps the session in sight: the API forgets it last.
    Capture,
    /// Writes this text beside the traffic.
    Label(String),
}

/// What is wrong with a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Profile {
    /// It is valid no more.
    Expired,
    /// It is not valid yet.
    NotYetValid,
    /// It is another host's.
    WrongName,
    /// The name is only in the subject's common name (RFC 6125 §6.4.4).
    NameInCn,
    /// An unknown CA has signed it.
    UnknownCa,
    /// It has signed itself.
    SelfSigned,
    /// The intermediate CA's certificate is missing.
    MissingIntermediate,
}

/// A TLS alert (RFC 8446 §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alert(u8);

/// A point of the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hello {
    /// The client's first message.
    Client,
    /// The server's first message.
    Server,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// TLS 1.2.
    V12,
    /// TLS 1.3.
    V13,
}

/// A group of actions of which a rule may have one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Group {
    /// What becomes of what was asked.
    Work,
    /// What is said.
    Answer,
    /// How the connection ends.
    End,
    /// How the handshake goes wrong.
    Handshake,
    /// Only once in a rule, beside all others.
    Alone,
    /// As often as wanted.
    Many,
}

/// An action: its name, how it is written, and what it does.
type Row = (&'static str, &'static str, &'static str);

impl Action {
    /// All of them, for whoever asks what there is.
    pub const TABLE: &[Row] = &[
        (
            "reply",
            "reply CODE [ENH] [\"TEXT\"]",
            "says this; a refusal is not carried out",
        ),
        (
            "reply-lines",
            "reply-lines \"FILE\"",
            "says the reply in this file, line by line",
        ),
        (
            "reply-raw",
            "reply-raw \"BYTES\\r\\n\"",
            "says these octets, whatever they are",
        ),
        (
            "reply-split",
            "reply-split N [TIME]",
            "says its reply in two writes, the first of N octets",
        ),
        (
            "reply-truncate",
            "reply-truncate N",
            "says only the first N octets of its reply",
        ),
        ("reply-twice", "reply-twice", "says its reply twice"),
        (
            "accept",
            "accept",
            "says yes where it would have refused, and takes the recipient",
        ),
        ("defer", "defer", "refuses for now (4yz)"),
        ("reject", "reject", "refuses for good (5yz)"),
        ("discard", "discard", "says yes and keeps nothing"),
        (
            "keep",
            "keep",
            "keeps the message, whatever is said about it",
        ),
        ("delay", "delay TIME[..TIME]", "waits before it answers"),
        ("drip", "drip N/TIME", "says its reply N octets at a time"),
        (
            "throttle-in",
            "throttle-in RATE",
            "reads at most so much a second from now on: 1024B/s, 10K/s",
        ),
        (
            "throttle-out",
            "throttle-out RATE",
            "writes at most so much a second from now on",
        ),
        (
            "stall-read",
            "stall-read TIME",
            "reads nothing for a time, once it has answered",
        ),
        (
            "hang",
            "hang",
            "says nothing more and waits for the client to go",
        ),
        ("close", "close", "closes the connection (FIN)"),
        ("reset", "reset", "resets the connection (RST)"),
        (
            "half-close",
            "half-close",
            "closes its own side and hears the client out",
        ),
        (
            "shutdown",
            "shutdown TIME",
            "says 421, closes, and resets all connections for a time",
        ),
        (
            "no-reply",
            "no-reply",
            "does what was asked and says nothing about it",
        ),
        (
            "hide",
            "hide KEYWORD",
            "leaves the keyword out of the EHLO reply, and does not know it",
        ),
        (
            "advertise",
            "advertise \"KEYWORD ARGS\"",
            "adds the line to the EHLO reply, or puts it in place of the keyword's own",
        ),
        (
            "early-reply",
            "early-reply",
            "says that the message is kept before it has come",
        ),
        (
            "garbage",
            "garbage N",
            "says N octets of rubbish before its reply",
        ),
        (
            "tls-cert",
            "tls-cert PROFILE",
            "shows a certificate that is wrong in this way",
        ),
        (
            "tls-alert",
            "tls-alert NAME",
            "answers the handshake with this alert",
        ),
        (
            "tls-close-after",
            "tls-close-after client-hello|server-hello",
            "closes in the middle of the handshake",
        ),
        ("tls-hang", "tls-hang", "never answers the handshake"),
        (
            "tls-version",
            "tls-version 1.2|1.3",
            "speaks this version of TLS alone",
        ),
        (
            "inject-before-tls",
            "inject-before-tls \"BYTES\\r\\n\"",
            "says these octets in clear, right behind the 220 to STARTTLS",
        ),
        ("tag", "tag NAME", "marks the session in the recording"),
        (
            "capture",
            "capture",
            "the API forgets this session after all others",
        ),
        (
            "label",
            "label \"TEXT\"",
            "writes this text beside the traffic in the recording",
        ),
    ];

    /// As it is written, without its arguments.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Reply { .. } => "reply",
            Self::ReplyLines(_) => "reply-lines",
            Self::ReplyRaw(_) => "reply-raw",
            Self::ReplySplit { .. } => "reply-split",
            Self::ReplyTruncate(_) => "reply-truncate",
            Self::ReplyTwice => "reply-twice",
            Self::Accept => "accept",
            Self::Defer => "defer",
            Self::Reject => "reject",
            Self::Discard => "discard",
            Self::Keep => "keep",
            Self::Delay { .. } => "delay",
            Self::Drip { .. } => "drip",
            Self::ThrottleIn(_) => "throttle-in",
            Self::ThrottleOut(_) => "throttle-out",
            Self::StallRead(_) => "stall-read",
            Self::Hang => "hang",
            Self::Close => "close",
            Self::Reset => "reset",
            Self::HalfClose => "half-close",
            Self::Shutdown(_) => "shutdown",
            Self::NoReply => "no-reply",
            Self::Hide(_) => "hide",
            Self::Advertise(_) => "advertise",
            Self::EarlyReply => "early-reply",
            Self::Garbage(_) => "garbage",
            Self::TlsCert(_) => "tls-cert",
            Self::TlsAlert(_) => "tls-alert",
            Self::TlsCloseAfter(_) => "tls-close-after",
            Self::TlsHang => "tls-hang",
            Self::TlsVersion(_) => "tls-version",
            Self::InjectBeforeTls(_) => "inject-before-tls",
            Self::Tag(_) => "tag",
            Self::Capture => "capture",
            Self::Label(_) => "label",
        }
    }

    pub(super) const fn group(&self) -> Group {
        match self {
            Self::Accept | Self::Discard | Self::Keep => Group::Work,
            Self::Reply { .. }
            | Self::ReplyLines(_)
            | Self::ReplyRaw(_)
            | Self::Defer
            | Self::Reject
            | Self::NoReply => Group::Answer,
            Self::Hang | Self::Close | Self::Reset | Self::HalfClose | Self::Shutdown(_) => {
                Group::End
            }
            Self::TlsAlert(_) | Self::TlsCloseAfter(_) | Self::TlsHang => Group::Handshake,
            Self::Hide(_) | Self::Advertise(_) | Self::Tag(_) | Self::Label(_) => Group::Many,
            _ => Group::Alone,
        }
    }

    /// It decides what happens; of several rules that fire at one event, only the first
    /// with such an action does. All others add up.
    pub const fn is_final(&self) -> bool {
        !matches!(
            self,
            Self::Delay { .. }
                | Self::Drip { .. }
                | Self::ReplySplit { .. }
                | Self::ThrottleIn(_)
                | Self::ThrottleOut(_)
                | Self::StallRead(_)
                | Self::Hide(_)
                | Self::Advertise(_)
                | Self::Tag(_)
                | Self::Capture
                | Self::Label(_)
        )
    }

    /// It has a place at this stage.
    pub fn fits(&self, stage: Stage) -> bool {
        let hello = matches!(stage, Stage::Ehlo | Stage::Lhlo);
        let content = matches!(stage, Stage::Dot | Stage::Bdat);
        let body = matches!(stage, Stage::BodyByte(_) | Stage::BodyLine(_));
        let handshake = matches!(stage, Stage::Tls | Stage::StartTls);
        match self {
            Self::Tag(_) | Self::Capture | Self::Label(_) | Self::Delay { .. } => true,
            Self::Close | Self::Reset => stage != Stage::DotRcpt,
            Self::Hang
            | Self::HalfClose
            | Self::Shutdown(_)
            | Self::ThrottleIn(_)
            | Self::ThrottleOut(_)
            | Self::StallRead(_) => !matches!(stage, Stage::DotRcpt | Stage::Tls),
            Self::Reply { .. } => stage != Stage::Tls,
            Self::ReplyRaw(_) | Self::Garbage(_) => !matches!(stage, Stage::DotRcpt | Stage::Tls),
            Self::Defer | Self::Reject => stage.is_answered(),
            Self::ReplyLines(_)
            | Self::ReplySplit { .. }
            | Self::ReplyTruncate(_)
            | Self::ReplyTwice
            | Self::Drip { .. }
            | Self::NoReply => stage.is_answered() && stage != Stage::DotRcpt,
            Self::Accept => content || matches!(stage, Stage::Mail | Stage::Rcpt),
            Self::Discard | Self::Keep => content,
            Self::Hide(_) | Self::Advertise(_) => hello,
            Self::EarlyReply => body || stage == Stage::Data,
            Self::TlsCert(_)
            | Self::TlsAlert(_)
            | Self::TlsCloseAfter(_)
            | Self::TlsHang
            | Self::TlsVersion(_) => handshake,
            Self::InjectBeforeTls(_) => stage == Stage::StartTls,
        }
    }
}

impl Profile {
    /// All of them, as they are written, and what they are.
    pub const ALL: &[(Self, &str, &str)] = &[
        (Self::Expired, "expired", "valid no more since a day ago"),
        (Self::NotYetValid, "not-yet-valid", "valid from tomorrow on"),
        (Self::WrongName, "wrong-name", "another host's"),
        (
            Self::NameInCn,
            "name-in-cn",
            "the name is in the common name alone",
        ),
        (Self::UnknownCa, "unknown-ca", "signed by a CA of our own"),
        (Self::SelfSigned, "self-signed", "signed by itself"),
        (
            Self::MissingIntermediate,
            "missing-intermediate",
            "the certificate between it and the CA is not shown",
        ),
    ];

    /// The profile of that name.
    pub fn named(name: &str) -> Option<Self> {
        let row = Self::ALL.iter().find(|(_, known, _)| *known == name);
        row.map(|(profile, ..)| *profile)
    }

    /// As it is written.
    pub fn name(self) -> &'static str {
        let row = Self::ALL.iter().find(|(profile, ..)| *profile == self);
        row.map_or("", |(_, name, _)| name)
    }
}

impl Alert {
    /// All that may be sent, by the names of RFC 8446 §6 with hyphens.
    pub const ALL: &[(u8, &str)] = &[
        (0, "close-notify"),
        (10, "unexpected-message"),
        (40, "handshake-failure"),
        (42, "bad-certificate"),
        (70, "protocol-version"),
        (71, "insufficient-security"),
        (80, "internal-error"),
        (112, "unrecognized-name"),
        (120, "no-application-protocol"),
    ];

    /// The alert of that name.
    pub fn named(name: &str) -> Option<Self> {
        let row = Self::ALL.iter().find(|(_, known)| *known == name);
        row.map(|(number, _)| Self(*number))
    }

    /// As it is written.
    pub fn name(self) -> &'static str {
        let row = Self::ALL.iter().find(|(number, _)| *number == self.0);
        row.map_or("", |(_, name)| name)
    }

    /// Its number.
    pub const fn number(self) -> u8 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique() {
        for (index, (name, written, _)) in Action::TABLE.iter().enumerate() {
            let others = Action::TABLE.iter().skip(index + 1);
            assert!(others.clone().all(|(other, ..)| other != name), "{name}");
            assert!(written.starts_with(name));
        }
        for (profile, name, _) in Profile::ALL {
            assert_eq!(Profile::named(name), Some(*profile));
        }
        for (number, name) in Alert::ALL {
            assert_eq!(Alert::named(name).map(Alert::number), Some(*number));
        }
    }
}
