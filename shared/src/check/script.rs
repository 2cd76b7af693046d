//! Scripts: what to say to a server, as data.

use super::{Facts, LegKind, Stop};

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
    /// The steps, in order.
    pub steps: Vec<Step>,
}

/// One step of a script. Every step waits for its reply.
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
    /// QUIT.
    Quit,
}

/// When a line is sent; lines that are left out do not change the last reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum When {
    /// Whatever was answered before.
    Always,
    /// If the last reply was 2yz.
    Accepted,
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
            steps: Vec::new(),
        }
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

    pub(crate) fn quit(self) -> Self {
        self.step(Step::Quit)
    }

    pub(crate) fn step(mut self, step: Step) -> Self {
        if matches!(step, Step::Message { .. }) {
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
