//! Scripts: what to say to a server, as data.

use super::{Facts, LegKind, Stop};
use crate::escape::escape;

/// The name in a [`Step::Ehlo`] for which its player says the literal of its own
/// address (RFC 5321 §4.1.3).
pub const OWN_LITERAL: &str = "[client-address]";

/// One case of a check: one connection.
///
/// It is played in lock-step. A 530 that asks for STARTTLS is no verdict: play
/// [`in_tls`](Self::in_tls) then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// The check it belongs to, or [`BASELINE`](super::BASELINE).
    pub check: &'static str,
    /// The case within the check.
    pub case: &'static str,
    /// How far it goes.
    pub stop: Stop,
    /// That the server closes the connection is an answer too: it is no reason to
    /// ask again.
    pub once: bool,
    /// The steps, in order.
    pub steps: Vec<Step>,
}

/// One step of a script. Every step waits for its replies.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// AUTH with the test account, by the best mechanism offered.
    Auth,
    /// EHLO with that name; no HELO after a refusal.
    Ehlo(String),
    /// A command line, without its line end.
    Line {
        /// The line.
        line: String,
        /// Whether to send it.
        when: When,
    },
    /// MAIL, RCPT, DATA and the marked message, each only if the one before
    /// was accepted; a dry run ends after RCPT.
    Message {
        /// The reverse-path without brackets; empty for the null one.
        from: String,
        /// The forward-path without brackets.
        to: String,
    },
    /// STARTTLS, the handshake without regard to the certificate, and EHLO
    /// again; nothing if STARTTLS is not offered.
    StartTls,
    /// Octets as they are, in one write.
    Octets {
        /// The octets.
        octets: Vec<u8>,
        /// How many replies to wait for.
        replies: u8,
    },
    /// QUIT.
    Quit,
    /// A marked message with another body: MAIL, RCPT and the content, each only if
    /// the one before was accepted.
    Special(Special),
}

/// A marked message with a body of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Special {
    /// The reverse-path without brackets.
    pub from: String,
    /// The forward-path without brackets.
    pub to: String,
    /// The parameters of MAIL.
    pub parameters: &'static str,
    /// The content is sent with BDAT, in two chunks, the first of ten octets.
    pub chunks: bool,
    /// Its text; the header says that it is UTF-8, if it is not ASCII.
    pub body: String,
}

/// When a line is sent; lines that are left out do not change the last reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum When {
    /// Whatever was answered before.
    Always,
    /// If the last reply was 2yz.
    Accepted,
    /// If the last reply was 3yz.
    GoOn,
    /// If the last reply was 4yz or 5yz.
    Refused,
}

impl Step {
    /// What a transcript shows for the step.
    pub fn transcript(&self) -> String {
        match self {
            Self::Auth => "C: AUTH".into(),
            Self::Ehlo(name) => format!("C: EHLO {name}"),
            Self::Line { line, .. } => format!("C: {line}"),
            Self::Message { from, to } => format!(
                "C: MAIL FROM:<{from}>\nC: RCPT TO:<{to}>\nC: DATA\nC| (the marked message)\nC| ."
            ),
            Self::Octets { octets, .. } => octets
                .split_inclusive(|&octet| octet == b'\n')
                .map(|line| match line.strip_suffix(b"\r\n") {
                    Some(line) => format!("C: {}", escape(line)),
                    None => format!("C~ {}", escape(line)),
                })
                .collect::<Vec<_>>()
                .join("\n"),
            Self::Special(special) => {
                let Special { from, to, .. } = special;
                let (data, end) = if special.chunks {
                    ("BDAT 10\nC: BDAT n LAST", "")
                } else {
                    ("DATA", "\nC| .")
                };
                let parameters = special.parameters;
                format!(
                    "C: MAIL FROM:<{from}>{parameters}\nC: RCPT TO:<{to}>\nC: {data}\nC| (a marked message){end}"
                )
            }
            Self::StartTls => "C: STARTTLS\n-- tls".into(),
            Self::Quit => "C: QUIT".into(),
        }
    }
}

impl Script {
    /// A script that stops before DATA and has no steps yet.
    pub fn new(check: &'static str, case: &'static str) -> Self {
        Self {
            check,
            case,
            stop: Stop::PreData,
            once: false,
            steps: Vec::new(),
        }
    }

    /// That the server closes the connection is an answer too.
    pub(crate) fn once(mut self) -> Self {
        self.once = true;
        self
    }

    /// The script as transcript text.
    pub fn transcript(&self) -> String {
        self.steps
            .iter()
            .map(|step| step.transcript() + "\n")
            .collect()
    }

    /// The same inside TLS: STARTTLS follows the first EHLO.
    #[must_use]
    pub fn in_tls(self) -> Self {
        self.after_hello([Step::StartTls])
    }

    /// The same authenticated, inside TLS.
    #[must_use]
    pub fn authenticated(self) -> Self {
        self.after_hello([Step::StartTls, Step::Auth])
    }

    fn after_hello<const N: usize>(mut self, steps: [Step; N]) -> Self {
        self.steps.retain(|step| *step != Step::StartTls);
        let hello = self
            .steps
            .iter()
            .position(|step| matches!(step, Step::Ehlo(_)));
        let at = hello.map_or(0, |at| at + 1);
        self.steps.splice(at..at, steps);
        self
    }

    pub(crate) fn ehlo(self, name: impl Into<String>) -> Self {
        self.step(Step::Ehlo(name.into()))
    }

    pub(crate) fn say(self, line: impl Into<String>) -> Self {
        self.line(line, When::Always)
    }

    pub(crate) fn if_accepted(self, line: impl Into<String>) -> Self {
        self.line(line, When::Accepted)
    }

    pub(crate) fn if_refused(self, line: impl Into<String>) -> Self {
        self.line(line, When::Refused)
    }

    pub(crate) fn if_go_on(self, line: impl Into<String>) -> Self {
        self.line(line, When::GoOn)
    }

    /// Lines in one write, with a reply to each.
    pub(crate) fn together(self, lines: &[String]) -> Self {
        self.step(Step::Octets {
            octets: lines
                .iter()
                .flat_map(|line| [line, "\r\n"].concat().into_bytes())
                .collect(),
            replies: u8::try_from(lines.len()).unwrap_or(u8::MAX),
        })
    }

    /// Octets in one write, with so many replies.
    pub(crate) fn octets(self, octets: impl Into<Vec<u8>>, replies: u8) -> Self {
        let octets = octets.into();
        self.step(Step::Octets { octets, replies })
    }

    pub(crate) fn quit(self) -> Self {
        self.step(Step::Quit)
    }

    pub(crate) fn step(mut self, step: Step) -> Self {
        if matches!(step, Step::Message { .. } | Step::Special(_)) {
            self.stop = Stop::SelfMessage;
        }
        self.steps.push(step);
        self
    }

    fn line(self, line: impl Into<String>, when: When) -> Self {
        let line = line.into();
        self.step(Step::Line { line, when })
    }
}

/// What scripts are made from.
#[derive(Clone, Copy, Debug)]
pub struct Setting<'a> {
    /// What is known about the target.
    pub facts: &'a Facts,
    /// The leg the scripts are for.
    pub kind: LegKind,
    /// The extensions of the EHLO reply, as EHLO lines; empty if not known yet.
    pub offered: &'a [String],
}

impl Setting<'_> {
    /// That EHLO keyword was offered.
    pub fn offers(&self, keyword: &str) -> bool {
        self.offered.iter().any(|line| {
            line.split([' ', '='])
                .next()
                .is_some_and(|word| word.eq_ignore_ascii_case(keyword))
        })
    }

    /// EHLO, MAIL from the ordinary sender, one RCPT with exactly that
    /// argument, RSET, QUIT. Where MAIL is refused, the null sender and then
    /// the local mailbox are tried: the question is about the forward-path.
    pub(crate) fn ask(
        &self,
        check: &'static str,
        case: &'static str,
        argument: &str,
    ) -> Option<Script> {
        let sender = self.facts.sender(self.kind)?;
        let script = Script::new(check, case)
            .ehlo(self.facts.helo())
            .say(format!("MAIL FROM:<{sender}>"))
            .if_refused("MAIL FROM:<>");
        let script = match self.facts.local_mailbox() {
            Some(local) => script.if_refused(format!("MAIL FROM:<{local}>")),
            None => script,
        };
        let script = script.if_accepted(format!("RCPT TO:{argument}"));
        Some(script.say("RSET").quit())
    }

    /// EHLO and MAIL from the ordinary sender, with those parameters.
    pub(crate) fn mail(
        &self,
        check: &'static str,
        case: &'static str,
        parameters: &str,
    ) -> Option<Script> {
        let sender = self.facts.sender(self.kind)?;
        let mail = format!("MAIL FROM:<{sender}>{parameters}");
        Some(Script::new(check, case).ehlo(self.facts.helo()).say(mail))
    }

    /// [`ask`](Self::ask) for each case that could be written.
    pub(crate) fn ask_each<const N: usize>(
        &self,
        check: &'static str,
        cases: [(&'static str, Option<String>); N],
    ) -> Vec<Script> {
        cases
            .into_iter()
            .filter_map(|(case, path)| self.ask(check, case, &format!("<{}>", path?)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tls_follows_the_first_hello_once() {
        let script = Script::new("x", "a")
            .ehlo("c.example.org")
            .say("NOOP")
            .quit();
        let tls = script.in_tls();
        assert_eq!(
            tls.clone().in_tls().transcript(),
            "C: EHLO c.example.org\nC: STARTTLS\n-- tls\nC: NOOP\nC: QUIT\n"
        );
        assert_eq!(
            tls.authenticated().steps.get(1..3),
            Some(&[Step::StartTls, Step::Auth][..])
        );
    }
}
