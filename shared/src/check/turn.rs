//! What was said, with the state of the session in which it was said.

use super::greylist::{ASK_AGAIN, is_greylisting};
use super::observe::{Class, Stopped, wants_tls};
use super::recipients::{deferred, undecided};
use super::{Evidence, Finding, Leg, Outcome};
use crate::command::Verb;
use crate::recording::{Dialogue, Exchange, Said};
use crate::reply::Reply;
use crate::session::DataForm;

/// One thing that the client said.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turn<'a> {
    pub(super) dialogue: &'a Dialogue,
    pub(super) exchange: &'a Exchange,
    /// The dialogue within the leg, the exchange within the dialogue.
    pub(super) order: (usize, usize),
    pub(super) class: Class,
    /// What was so before it was said.
    pub(super) before: State<'a>,
}

/// Where a session stands, as far as its replies say.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct State<'a> {
    /// EHLO, HELO or LHLO was accepted.
    pub(super) greeted: bool,
    /// A MAIL was accepted, and the transaction is not over.
    pub(super) mail: bool,
    /// How many RCPTs of it were accepted.
    pub(super) recipients: u32,
    /// What ended the transaction before, while it had recipients.
    pub(super) ended_by: Option<&'a Exchange>,
}

impl<'a> Turn<'a> {
    pub(super) fn verb(&self) -> Option<&'a Verb> {
        self.exchange.said.verb()
    }

    pub(super) fn is(&self, verb: &Verb) -> bool {
        self.verb() == Some(verb)
    }

    pub(super) fn reply(&self) -> Option<&'a Reply> {
        self.exchange.reply()
    }

    pub(super) fn code(&self) -> Option<u16> {
        self.reply().map(|reply| reply.code().number())
    }

    pub(super) fn evidence(&self) -> Evidence {
        Evidence::of(self.dialogue, self.exchange)
    }

    /// The line, lossily decoded and without its end; empty for what is no command.
    pub(super) fn line(&self) -> String {
        match &self.exchange.said {
            Said::Command { line, .. } => String::from_utf8_lossy(line).trim_end().to_owned(),
            _ => String::new(),
        }
    }

    /// The keyword is in the EHLO reply that counts here.
    pub(super) fn offers(&self, keyword: &str) -> bool {
        let lines = self.dialogue.extensions_before(self.order.1);
        lines.iter().any(|line| {
            let word = line.split([' ', '=']).next();
            word.is_some_and(|word| word.eq_ignore_ascii_case(keyword))
        })
    }

    /// The answer decides nothing, and why.
    pub(super) fn open(&self) -> Option<Outcome> {
        let outcome = match (self.class, self.reply()) {
            (_, Some(reply)) if wants_tls(reply) => {
                Outcome::inconclusive("the server asks for STARTTLS first", "ask again inside TLS")
            }
            (Class::Transient, Some(reply)) => deferred(reply),
            (class, _) if class.is_open() => undecided(class),
            _ => return None,
        };
        Some(outcome.seen(self.evidence()))
    }

    fn after(&self) -> State<'a> {
        let State { greeted, .. } = self.before;
        let accepted = self.class == Class::Accepted;
        let over = State {
            greeted,
            ended_by: Some(self.exchange).filter(|_| self.before.recipients > 0),
            ..State::default()
        };
        match &self.exchange.said {
            Said::Content { form, .. } => match form {
                DataForm::Bdat if !self.exchange_is_last_chunk() => self.before,
                _ => State {
                    ended_by: None,
                    ..over
                },
            },
            Said::Command { verb, .. } => match verb {
                Verb::Ehlo | Verb::Helo | Verb::Lhlo if accepted => State {
                    greeted: true,
                    ..over
                },
                // Refused or not, it is what should have ended it.
                Verb::Ehlo | Verb::Helo | Verb::Lhlo => State {
                    ended_by: over.ended_by,
                    ..self.before
                },
                Verb::Rset => over,
                Verb::StartTls if accepted => State::default(),
                Verb::Mail if accepted && !self.before.mail => State {
                    mail: true,
                    ended_by: None,
                    ..self.before
                },
                Verb::Rcpt if accepted && self.before.mail => State {
                    recipients: self.before.recipients.saturating_add(1),
                    ..self.before
                },
                _ => self.before,
            },
            _ => self.before,
        }
    }

    fn exchange_is_last_chunk(&self) -> bool {
        let before = self.order.1.checked_sub(1);
        let bdat = before.and_then(|at| self.dialogue.exchanges.get(at));
        match bdat.map(|exchange| &exchange.said) {
            Some(Said::Command { line, .. }) => line
                .to_ascii_uppercase()
                .trim_ascii_end()
                .ends_with(b" LAST"),
            _ => true,
        }
    }
}

/// Everything said in the dialogues of a check; a case that was asked again counts
/// as it was answered last.
pub(super) fn turns<'a>(leg: &Leg<'a>, check: &str) -> Vec<Turn<'a>> {
    let dialogues = latest(&leg.dialogues_for(check));
    dialogues
        .into_iter()
        .flat_map(|(index, dialogue)| of_dialogue(index, dialogue))
        .collect()
}

fn latest<'a>(dialogues: &[(usize, &'a Dialogue)]) -> Vec<(usize, &'a Dialogue)> {
    let case = |dialogue: &Dialogue| dialogue.facts.get("case").cloned();
    let kept = dialogues.iter().enumerate().filter(|(at, (_, dialogue))| {
        let mut later = dialogues.iter().skip(at + 1);
        case(dialogue).is_none() || !later.any(|(_, later)| case(later) == case(dialogue))
    });
    kept.map(|(_, dialogue)| *dialogue).collect()
}

fn of_dialogue(index: usize, dialogue: &Dialogue) -> Vec<Turn<'_>> {
    let mut state = State::default();
    let mut turns = Vec::new();
    for (at, exchange) in dialogue.exchanges.iter().enumerate() {
        let turn = Turn {
            dialogue,
            exchange,
            order: (index, at),
            class: Class::of(dialogue, exchange),
            before: state,
        };
        state = turn.after();
        turns.push(turn);
    }
    turns
}

/// The finding of a check: where nothing was decided, because the server refused
/// on the way, it says so.
pub(super) fn finding(leg: &Leg<'_>, check: &str, mut outcomes: Vec<Outcome>) -> Finding {
    if outcomes.is_empty() {
        outcomes.extend(
            latest(&leg.dialogues_for(check))
                .into_iter()
                .filter(|(_, dialogue)| dialogue.facts.contains_key("check"))
                .filter_map(|(_, dialogue)| stopped(dialogue)),
        );
    }
    Finding::worst(outcomes, "not asked on this leg")
}

/// What a dialogue that did not come to its question comes to.
pub(super) fn stopped(dialogue: &Dialogue) -> Option<Outcome> {
    let Some(stopped) = Stopped::of(dialogue) else {
        return refused(dialogue);
    };
    let greylisted = stopped.reply(dialogue).is_some_and(is_greylisting);
    let next = if greylisted {
        ASK_AGAIN
    } else {
        "find out why, and repeat"
    };
    let text = format!("refused at {}, the question was not reached", stopped.at());
    Some(Outcome::inconclusive(text, next).seen(stopped.evidence(dialogue)))
}

/// The ordinary recipient is not accepted: what comes after it cannot be asked.
fn refused(dialogue: &Dialogue) -> Option<Outcome> {
    let turns = of_dialogue(0, dialogue);
    let rcpt = turns
        .iter()
        .find(|turn| turn.is(&Verb::Rcpt) && turn.class != Class::Accepted)?;
    rcpt.open().or_else(|| {
        let text = "the recipient is refused, the question was not reached";
        Some(Outcome::inconclusive(text, "find out why, and repeat").seen(rcpt.evidence()))
    })
}
