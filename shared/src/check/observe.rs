//! What was asked and what was answered, read leniently.
//!
//! Checks ask with forward-paths that no grammar allows, so the paths are taken
//! here as they were said and only taken apart at the marks that decide where
//! mail would go.

use super::{Evidence, Leg};
use crate::command::Verb;
use crate::recording::{Dialogue, Exchange, Said};
use crate::reply::{Reply, Severity};

/// The kinds of answer that verdicts distinguish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// 2yz.
    Accepted,
    /// 3yz.
    GoOn,
    /// 4yz but 421.
    Transient,
    /// 5yz.
    Permanent,
    /// 421: the session is being closed.
    Closing,
    /// Closed or reset without a reply.
    Closed,
    /// No reply within the time limit.
    TimedOut,
    /// Bytes that are no reply.
    Garbled,
}

impl Class {
    /// What the answer to an exchange is.
    pub(crate) fn of(dialogue: &Dialogue, exchange: &Exchange) -> Self {
        match exchange.reply() {
            Some(reply) => Self::of_reply(reply),
            None if !exchange.answers.is_empty() => Self::Garbled,
            None if dialogue.unsolicited.iter().any(|answer| {
                answer.n > exchange.n && answer.reply.as_ref().is_some_and(is_closing)
            }) =>
            {
                Self::Closing
            }
            None => Self::of_ending(dialogue),
        }
    }

    pub(crate) fn of_reply(reply: &Reply) -> Self {
        match reply.code().severity() {
            _ if is_closing(reply) => Self::Closing,
            Severity::Positive => Self::Accepted,
            Severity::Intermediate => Self::GoOn,
            Severity::Transient => Self::Transient,
            Severity::Permanent => Self::Permanent,
        }
    }

    pub(crate) fn of_ending(dialogue: &Dialogue) -> Self {
        match &dialogue.close {
            Some(close) if close.by == "timeout" => Self::TimedOut,
            _ => Self::Closed,
        }
    }

    /// The server ended the session with it.
    pub(crate) const fn is_end(self) -> bool {
        matches!(self, Self::Closing | Self::Closed)
    }

    /// 5yz.
    pub(crate) const fn is_refusal(self) -> bool {
        matches!(self, Self::Permanent)
    }

    /// Nothing was decided: asking again may help.
    pub(crate) const fn is_open(self) -> bool {
        !matches!(self, Self::Accepted | Self::Permanent | Self::GoOn)
    }
}

fn is_closing(reply: &Reply) -> bool {
    reply.code().number() == 421
}

/// One RCPT and what led to it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) dialogue: &'a Dialogue,
    /// The dialogue within the leg, the exchange within the dialogue.
    pub(crate) order: (usize, usize),
    pub(crate) hello: Option<&'a Exchange>,
    pub(crate) mail: &'a Exchange,
    pub(crate) rcpt: &'a Exchange,
}

impl<'a> Asked<'a> {
    /// Every RCPT of a dialogue that follows a MAIL.
    pub(crate) fn all(index: usize, dialogue: &'a Dialogue) -> Vec<Self> {
        let mut asked = Vec::new();
        let (mut hello, mut mail) = (None, None);
        for (at, exchange) in dialogue.exchanges.iter().enumerate() {
            match exchange.said.verb() {
                Some(Verb::Ehlo | Verb::Helo | Verb::Lhlo) => {
                    (hello, mail) = (Some(exchange), None);
                }
                Some(Verb::Rset | Verb::StartTls) => mail = None,
                Some(Verb::Mail) => mail = Some(exchange),
                Some(Verb::Rcpt) => asked.extend(mail.map(|mail| Self {
                    dialogue,
                    order: (index, at),
                    hello,
                    mail,
                    rcpt: exchange,
                })),
                _ => {}
            }
        }
        asked
    }

    /// The reverse-path, without brackets.
    pub(crate) fn sender(&self) -> String {
        path_of(&self.mail.said)
    }

    /// The forward-path, without brackets.
    pub(crate) fn recipient(&self) -> String {
        path_of(&self.rcpt.said)
    }

    /// The name in the last EHLO or HELO.
    pub(crate) fn hello_name(&self) -> String {
        self.hello
            .map(|hello| argument(&hello.said))
            .unwrap_or_default()
    }

    pub(crate) fn class(&self) -> Class {
        Class::of(self.dialogue, self.rcpt)
    }

    pub(crate) fn reply(&self) -> Option<&'a Reply> {
        self.rcpt.reply()
    }

    pub(crate) fn evidence(&self) -> Evidence {
        Evidence::of(self.dialogue, self.rcpt)
    }

    pub(crate) fn case(&self) -> &'a str {
        self.dialogue.facts.get("case").map_or("", String::as_str)
    }

    /// What identifies the question when it is asked again.
    fn key(&self) -> (String, String, String) {
        match self.case() {
            "" => (self.hello_name(), self.sender(), self.recipient()),
            case => (case.to_owned(), String::new(), self.recipient()),
        }
    }

    /// Nothing was decided, or only that TLS must come first.
    pub(crate) fn is_open(&self) -> bool {
        self.class().is_open() || self.reply().is_some_and(wants_tls)
    }
}

/// Every RCPT by which a check is judged, an undecided one giving way to its
/// repetition.
pub(crate) fn asked<'a>(leg: &Leg<'a>, check: &str) -> Vec<Asked<'a>> {
    latest(
        leg.dialogues_for(check)
            .into_iter()
            .flat_map(|(index, dialogue)| Asked::all(index, dialogue)),
    )
}

/// Every RCPT of a leg, in order.
pub(crate) fn asked_anywhere<'a>(leg: &Leg<'a>) -> Vec<Asked<'a>> {
    let dialogues = leg.dialogues.iter().enumerate();
    dialogues
        .flat_map(|(index, dialogue)| Asked::all(index, dialogue))
        .collect()
}

fn latest<'a>(asked: impl Iterator<Item = Asked<'a>>) -> Vec<Asked<'a>> {
    let mut kept: Vec<Asked<'a>> = Vec::new();
    for next in asked {
        let earlier = kept
            .iter_mut()
            .find(|before| before.is_open() && before.key() == next.key());
        match earlier {
            Some(before) => *before = next,
            None => kept.push(next),
        }
    }
    kept
}

/// Where a dialogue stopped before it came to a RCPT.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Stopped<'a> {
    Greeting,
    Hello(&'a Exchange),
    StartTls(&'a Exchange),
    Mail(&'a Exchange),
}

impl<'a> Stopped<'a> {
    /// The first refusal on the way to RCPT; the greeting if nothing was said.
    pub(crate) fn of(dialogue: &'a Dialogue) -> Option<Self> {
        let greeted = dialogue
            .greeting
            .as_ref()
            .and_then(|greeting| greeting.reply.as_ref())
            .is_some_and(|reply| reply.code().is_positive());
        if !greeted && (dialogue.greeting.is_some() || dialogue.exchanges.is_empty()) {
            return Some(Self::Greeting);
        }
        let refused = |verbs: &[Verb]| {
            dialogue.exchanges.iter().rev().find(|exchange| {
                exchange
                    .said
                    .verb()
                    .is_some_and(|verb| verbs.contains(verb))
                    && Class::of(dialogue, exchange) != Class::Accepted
            })
        };
        refused(&[Verb::Mail])
            .map(Self::Mail)
            .or_else(|| refused(&[Verb::StartTls]).map(Self::StartTls))
            .or_else(|| refused(&[Verb::Ehlo, Verb::Helo, Verb::Lhlo]).map(Self::Hello))
    }

    pub(crate) fn exchange(self) -> Option<&'a Exchange> {
        match self {
            Self::Greeting => None,
            Self::Hello(exchange) | Self::StartTls(exchange) | Self::Mail(exchange) => {
                Some(exchange)
            }
        }
    }

    pub(crate) fn reply(self, dialogue: &'a Dialogue) -> Option<&'a Reply> {
        match self.exchange() {
            Some(exchange) => exchange.reply(),
            None => dialogue.greeting.as_ref()?.reply.as_ref(),
        }
    }

    pub(crate) fn class(self, dialogue: &Dialogue) -> Class {
        match self.exchange() {
            Some(exchange) => Class::of(dialogue, exchange),
            None => match &dialogue.greeting {
                Some(answer) => answer
                    .reply
                    .as_ref()
                    .map_or(Class::Garbled, Class::of_reply),
                None => Class::of_ending(dialogue),
            },
        }
    }

    pub(crate) fn evidence(self, dialogue: &Dialogue) -> Evidence {
        self.exchange().map_or_else(
            || Evidence::greeting(dialogue),
            |exchange| Evidence::of(dialogue, exchange),
        )
    }

    pub(crate) const fn at(self) -> &'static str {
        match self {
            Self::Greeting => "the greeting",
            Self::Hello(_) => "EHLO",
            Self::StartTls(_) => "STARTTLS",
            Self::Mail(_) => "MAIL",
        }
    }
}

/// The words after the verb, trimmed.
pub(crate) fn argument(said: &Said) -> String {
    let Said::Command { line, .. } = said else {
        return String::new();
    };
    let line = String::from_utf8_lossy(line);
    let line = line.trim();
    line.split_once(' ')
        .map_or("", |(_, rest)| rest.trim())
        .to_owned()
}

/// The path in a MAIL or RCPT line: from the first `<` to the last `>` before
/// the parameters, or the first word where there are no brackets.
pub(crate) fn path_of(said: &Said) -> String {
    let argument = argument(said);
    let path = argument
        .split_once(':')
        .map_or("", |(_, path)| path.trim_start());
    let Some(inner) = path.strip_prefix('<') else {
        return path.split(' ').next().unwrap_or(path).to_owned();
    };
    let mut quoted = false;
    let mut escaped = false;
    let mut end = None;
    for (at, mark) in inner.char_indices() {
        match mark {
            _ if escaped => escaped = false,
            '\\' => escaped = quoted,
            '"' => quoted = !quoted,
            '>' if !quoted => end = Some(at),
            ' ' if !quoted && end.is_some() => break,
            _ => {}
        }
    }
    let end = end.unwrap_or(inner.len());
    inner.get(..end).unwrap_or(inner).to_owned()
}

/// A path taken apart: `@route:local@domain`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Parts<'a> {
    pub(crate) routed: bool,
    pub(crate) local: &'a str,
    pub(crate) domain: Option<&'a str>,
}

impl<'a> Parts<'a> {
    /// Splits at the end of the route and at the last `@` that is not quoted.
    pub(crate) fn of(path: &'a str) -> Self {
        let (routed, rest) = match path.split_once(':') {
            Some((route, rest)) if route.starts_with('@') => (true, rest),
            _ => (false, path),
        };
        let after_quote = rest.rfind('"').map_or(0, |at| at + 1);
        let at = rest.get(after_quote..).and_then(|tail| tail.rfind('@'));
        let (local, domain) = match at {
            Some(at) => (
                rest.get(..after_quote + at).unwrap_or(rest),
                rest.get(after_quote + at + 1..),
            ),
            None => (rest, None),
        };
        Self {
            routed,
            local,
            domain,
        }
    }

    pub(crate) fn is_quoted(&self) -> bool {
        self.local.starts_with('"')
    }
}

/// Both name the same mailbox: domains in any case, local-parts exactly
/// (RFC 5321 §2.4).
pub(crate) fn same_mailbox(one: &str, other: &str) -> bool {
    let (one, other) = (Parts::of(one), Parts::of(other));
    let domains = match (one.domain, other.domain) {
        (Some(one), Some(other)) => one.eq_ignore_ascii_case(other),
        (None, None) => true,
        _ => false,
    };
    domains && one.local == other.local && one.routed == other.routed
}

/// Code, enhanced status code and text in lower case, blanks collapsed.
pub(crate) fn words(reply: &Reply) -> String {
    let text = reply.to_string().to_lowercase().replace(" / ", " ");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// TLS must come first: no verdict (530, or Microsoft's 451 5.7.3).
pub(crate) fn wants_tls(reply: &Reply) -> bool {
    matches!(reply.code().number(), 451 | 530) && words(reply).contains("starttls")
}

/// `454 4.7.1 Relay access denied`: refused for good, but said as temporary.
pub(crate) fn is_soft_relay_refusal(reply: &Reply) -> bool {
    reply.code().number() == 454 && words(reply).contains("relay access denied")
}

/// A refusal of the client, its name or the sender, whatever was asked for.
pub(crate) fn is_identity_refusal(reply: &Reply) -> bool {
    let status = reply.status().is_some_and(|status| {
        matches!(
            (status.subject(), status.detail()),
            (7, 25..=27) | (1, 7 | 8)
        )
    });
    let words = words(reply);
    let said = [
        "blocked using",
        "client host rejected",
        "helo command rejected",
        "sender address rejected",
        "sender verify failed",
        "fix reverse dns",
    ];
    reply.code().is_refusal() && (status || said.iter().any(|text| words.contains(text)))
}

/// A refusal of the syntax: 501, 555, 5.1.3, 5.5.x.
pub(crate) fn is_syntax_refusal(reply: &Reply) -> bool {
    let status = reply.status().is_some_and(|status| {
        status.class() == 5
            && (status.subject() == 5 || (status.subject(), status.detail()) == (1, 3))
    });
    matches!(reply.code().number(), 501 | 555) || status
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rcpt(argument: &str) -> String {
        path_of(&Said::Command {
            verb: Verb::Rcpt,
            line: format!("RCPT {argument}\r\n").into_bytes(),
            redacted: false,
        })
    }

    #[test]
    fn paths_are_taken_as_said() {
        for (argument, path) in [
            ("TO:<a@example.net>", "a@example.net"),
            ("TO: <a@example.net> NOTIFY=NEVER", "a@example.net"),
            ("TO:a@example.net", "a@example.net"),
            ("TO:<>", ""),
            (r#"TO:<"a>b"@example.net>"#, r#""a>b"@example.net"#),
            (r#"TO:<"a\">b"@example.net> X=1"#, r#""a\">b"@example.net"#),
            (
                "TO:<a@example.net><b@example.net>",
                "a@example.net><b@example.net",
            ),
            ("TO:<a@example.net> X=>", "a@example.net"),
            ("", ""),
        ] {
            assert_eq!(rcpt(argument), path, "{argument}");
        }
    }

    #[test]
    fn paths_are_split_where_mail_would_be_routed() {
        for (path, routed, local, domain) in [
            ("a@b", false, "a", Some("b")),
            ("a@b@c", false, "a@b", Some("c")),
            ("a@b@", false, "a@b", Some("")),
            ("@r:a@b", true, "a", Some("b")),
            (r#""a@b"@c"#, false, r#""a@b""#, Some("c")),
            (r#""a@b""#, false, r#""a@b""#, None),
            ("b!a", false, "b!a", None),
        ] {
            let parts = Parts {
                routed,
                local,
                domain,
            };
            assert_eq!(Parts::of(path), parts, "{path}");
        }
    }
}
