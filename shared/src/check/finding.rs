//! Verdicts, findings and their evidence.

use std::fmt::Write as _;

use serde::Serialize;

use crate::recording::{Answer, Dialogue, Exchange, Said};

/// What a check says about a leg; the greatest of several counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// A precondition is absent.
    Skip,
    /// Nothing to judge.
    Info,
    /// As it should be.
    Pass,
    /// The server did not get far enough for a judgement.
    Inconclusive,
    /// Doubtful.
    Warn,
    /// Not as it should be.
    Fail,
}

impl Verdict {
    /// All of them, the worst first.
    pub const ALL: [Self; 6] = [
        Self::Fail,
        Self::Warn,
        Self::Inconclusive,
        Self::Pass,
        Self::Info,
        Self::Skip,
    ];

    /// The word used in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Skip => "skip",
            Self::Info => "info",
            Self::Pass => "pass",
            Self::Inconclusive => "inconclusive",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

/// How bad a fail is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// A departure from the standards with limited effect.
    Low,
    /// Mail may be refused elsewhere, or a policy is weak.
    Medium,
    /// Credentials, users or mail are exposed, or mail is lost.
    High,
    /// Strangers can use or take over the server.
    Critical,
}

/// One place of a recording: what was said and what was answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Evidence {
    /// The session in its recording.
    pub session: u64,
    /// The line of what was said; 0 for a greeting.
    pub n: u64,
    /// The line of the answer; `None` if there was none.
    pub reply_n: Option<u64>,
    /// What was said, escaped and cut; secrets are masked.
    pub said: String,
    /// What was answered, escaped and cut.
    pub answered: String,
}

impl Evidence {
    /// An exchange as evidence.
    pub fn of(dialogue: &Dialogue, exchange: &Exchange) -> Self {
        let answer = exchange.answers.last();
        Self {
            session: dialogue.session,
            n: exchange.n,
            reply_n: answer.map(|answer| answer.n),
            said: said(&exchange.said),
            answered: answer.map_or_else(|| ending(dialogue), answered),
        }
    }

    /// The greeting as evidence.
    pub fn greeting(dialogue: &Dialogue) -> Self {
        let answer = dialogue.greeting.as_ref();
        Self {
            session: dialogue.session,
            n: dialogue.n,
            reply_n: answer.map(|answer| answer.n),
            said: "(connected)".into(),
            answered: answer.map_or_else(|| ending(dialogue), answered),
        }
    }

    /// An answer to nothing as evidence.
    pub fn alone(dialogue: &Dialogue, answer: &Answer) -> Self {
        Self {
            session: dialogue.session,
            n: answer.n,
            reply_n: Some(answer.n),
            said: "(nothing)".into(),
            answered: answered(answer),
        }
    }

    /// A text that stands in no dialogue, such as a header field.
    pub fn text(said: &str, found: &str) -> Self {
        Self {
            session: 0,
            n: 0,
            reply_n: None,
            said: escape(said.as_bytes()),
            answered: escape(found.as_bytes()),
        }
    }
}

fn said(said: &Said) -> String {
    match said {
        Said::Command { verb, line, .. } if *verb == crate::command::Verb::Auth => {
            let mechanism = line
                .split(|&octet| octet == b' ')
                .nth(1)
                .unwrap_or_default();
            format!("AUTH {} ********", escape(mechanism))
        }
        Said::Command { line, .. } => escape(line),
        Said::Sasl { .. } => "********".into(),
        Said::Content { wire, .. } => format!("(mail data, {} octets)", wire.len()),
        Said::Raw { octets, why } => format!("({octets} octets, {})", escape(why.as_bytes())),
    }
}

fn answered(answer: &Answer) -> String {
    match &answer.reply {
        Some(reply) => escape(reply.to_string().as_bytes()),
        None => escape(&answer.wire),
    }
}

fn ending(dialogue: &Dialogue) -> String {
    match &dialogue.close {
        Some(close) => format!("(no reply; ended by {}, {})", close.by, close.how),
        None => "(no reply recorded)".into(),
    }
}

/// What a line says, safe to print and cut.
pub(crate) fn escape(bytes: &[u8]) -> String {
    crate::escape::excerpt(bytes.trim_ascii_end(), EXCERPT)
}

/// Characters of a line that evidence shows: RFC 5321 §4.5.3.1.4 allows 512, of
/// which the rest is rarely worth reading.
const EXCERPT: usize = 300;

/// What a check found on a leg.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The verdict.
    pub verdict: Verdict,
    /// How bad it is, if the verdict is fail.
    pub severity: Option<Severity>,
    /// One sentence, without full stop.
    pub summary: String,
    /// Where it was seen.
    pub evidence: Vec<Evidence>,
    /// What to do next.
    pub advice: Vec<String>,
}

impl Finding {
    /// A finding without evidence, such as a skip.
    pub fn plain(verdict: Verdict, summary: impl Into<String>) -> Self {
        Self {
            verdict,
            severity: None,
            summary: summary.into(),
            evidence: Vec::new(),
            advice: Vec::new(),
        }
    }

    /// A skip.
    pub fn skip(reason: impl Into<String>) -> Self {
        Self::plain(Verdict::Skip, reason)
    }

    /// The worst of several outcomes decides; a skip with that reason if there are none.
    pub(crate) fn worst(outcomes: Vec<Outcome>, otherwise: &str) -> Self {
        let Some(verdict) = outcomes.iter().map(|outcome| outcome.verdict).max() else {
            return Self::skip(otherwise);
        };
        let total = outcomes.len();
        let mut finding = Self::plain(verdict, "");
        let mut texts: Vec<String> = Vec::new();
        let mut count = 0;
        for outcome in outcomes
            .into_iter()
            .filter(|outcome| outcome.verdict == verdict)
        {
            count += 1;
            finding.severity = finding.severity.max(outcome.severity);
            if !texts.contains(&outcome.text) {
                texts.push(outcome.text);
            }
            finding.evidence.extend(outcome.evidence);
            for advice in outcome.advice {
                if !finding.advice.contains(&advice) {
                    finding.advice.push(advice);
                }
            }
        }
        let more = texts.len().saturating_sub(3);
        texts.truncate(3);
        finding.summary = texts.join("; ");
        if more > 0 {
            let _ = write!(finding.summary, "; and {more} more");
        }
        if total > 1 {
            let _ = write!(finding.summary, " ({count} of {total} cases)");
        }
        finding
    }

    /// The same, never worse than info: for legs on which the answer is not judged.
    pub(crate) fn not_judged(mut self) -> Self {
        if self.verdict > Verdict::Pass {
            self.verdict = Verdict::Info;
            self.severity = None;
        }
        self
    }
}

/// What one case of a check came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) verdict: Verdict,
    pub(crate) severity: Option<Severity>,
    pub(crate) text: String,
    pub(crate) evidence: Vec<Evidence>,
    pub(crate) advice: Vec<String>,
}

impl Outcome {
    pub(crate) fn new(verdict: Verdict, text: impl Into<String>) -> Self {
        Self {
            verdict,
            severity: None,
            text: text.into(),
            evidence: Vec::new(),
            advice: Vec::new(),
        }
    }

    pub(crate) fn fail(severity: Severity, text: impl Into<String>) -> Self {
        Self {
            severity: Some(severity),
            ..Self::new(Verdict::Fail, text)
        }
    }

    pub(crate) fn warn(text: impl Into<String>) -> Self {
        Self::new(Verdict::Warn, text)
    }

    pub(crate) fn pass(text: impl Into<String>) -> Self {
        Self::new(Verdict::Pass, text)
    }

    pub(crate) fn info(text: impl Into<String>) -> Self {
        Self::new(Verdict::Info, text)
    }

    pub(crate) fn inconclusive(text: impl Into<String>, next: impl Into<String>) -> Self {
        Self::new(Verdict::Inconclusive, text).advise(next)
    }

    pub(crate) fn seen(mut self, evidence: Evidence) -> Self {
        self.evidence.push(evidence);
        self
    }

    pub(crate) fn advise(mut self, next: impl Into<String>) -> Self {
        self.advice.push(next.into());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_outcome_decides() {
        let mut ranked = Verdict::ALL;
        ranked.sort();
        ranked.reverse();
        assert_eq!(ranked, Verdict::ALL);
        let finding = Finding::worst(
            vec![
                Outcome::pass("fine"),
                Outcome::warn("odd"),
                Outcome::warn("odd"),
            ],
            "",
        );
        assert_eq!(
            (finding.verdict, finding.summary.as_str()),
            (Verdict::Warn, "odd (2 of 3 cases)")
        );
        assert_eq!(Finding::worst(Vec::new(), "nothing").verdict, Verdict::Skip);
    }

    #[test]
    fn excerpts_are_escaped_and_cut() {
        assert_eq!(escape(b"a\x1b[1m\xff"), "a\\x1b[1m\\xff");
        assert_eq!(escape(&[b'a'; 400]).chars().count(), EXCERPT + 1);
    }

    #[test]
    fn evidence_never_shows_a_secret() {
        let auth = Said::Command {
            verb: crate::command::Verb::Auth,
            line: b"AUTH PLAIN AGFubmEAc2VjcmV0\r\n".to_vec(),
            redacted: false,
        };
        assert_eq!(said(&auth), "AUTH PLAIN ********");
        let sasl = Said::Sasl {
            line: b"c2VjcmV0\r\n".to_vec(),
            redacted: false,
        };
        assert_eq!(said(&sasl), "********");
    }
}
