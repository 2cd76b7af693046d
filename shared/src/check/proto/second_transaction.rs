//! After a message the transaction is over, and another one can begin
//! (RFC 5321 §3.3, §4.1.1.4).

use super::super::observe::{Class, words};
use super::super::turn::{Turn, finding, turns};
use super::super::{
    Check, Context, Facts, Finding, Leg, Mta, On, Outcome, Script, Setting, Severity, Step, Stop,
};
use super::{ROW, must_refuse};
use crate::command::Verb;
use crate::recording::Said;

const ID: &str = "proto-second-transaction";

pub(in super::super) const CHECK: Check = Check {
    id: ID,
    question: "Does one session take a second message, and not without a new MAIL?",
    stop: Stop::SelfMessage,
    needs: "a local mailbox",
    references: &["RFC 5321 §3.3", "RFC 5321 §4.1.1.4"],
    localhost: On::Judged("the second message accepted, DATA and RCPT without MAIL refused"),
    remote: On::Judged("the second message accepted, DATA and RCPT without MAIL refused"),
    scripts,
    judge,
    cures: &[
        (Mta::Exim, "smtp_accept_max_per_connection"),
        (Mta::OpenSmtpd, "smtp limit max-mails"),
    ],
    ..ROW
};

fn scripts(setting: &Setting<'_>) -> Vec<Script> {
    let facts = setting.facts;
    let (Some(to), Some(from)) = (facts.local_mailbox(), facts.sender(setting.kind)) else {
        return Vec::new();
    };
    let rcpt = format!("RCPT TO:<{to}>");
    let message = Step::Message { from, to };
    let script = Script::new(ID, "a")
        .ehlo(facts.helo())
        .step(message.clone())
        .say("DATA")
        .if_go_on(".")
        .say(rcpt)
        .step(message);
    vec![script.quit()]
}

fn judge(leg: &Leg<'_>, _: &Facts, _: &Context<'_>) -> Finding {
    let mut outcomes = Vec::new();
    let mut taken: Option<Turn<'_>> = None;
    for turn in turns(leg, ID) {
        let same = |first: &Turn<'_>| first.order.0 == turn.order.0;
        let first = taken.filter(same);
        let is_message = matches!(turn.exchange.said, Said::Content { .. });
        let outcome = match (turn.verb(), &first) {
            (Some(Verb::Data), Some(_)) if !turn.before.mail => {
                Some(must_refuse(&turn, "DATA without a new MAIL", Severity::Low))
            }
            (Some(Verb::Rcpt), Some(_)) if !turn.before.mail => {
                Some(must_refuse(&turn, "RCPT without a new MAIL", Severity::Low))
            }
            (None, Some(first)) if is_message && turn.before.mail => Some(second(first, &turn)),
            _ => None,
        };
        outcomes.extend(outcome);
        if is_message && turn.class == Class::Accepted && first.is_none() {
            taken = Some(turn);
        }
    }
    finding(leg, ID, outcomes)
}

fn second(first: &Turn<'_>, second: &Turn<'_>) -> Outcome {
    let text = |turn: &Turn<'_>| turn.reply().map(words).unwrap_or_default();
    let outcome = match second.class {
        Class::Accepted if text(first) == text(second) => {
            Outcome::info("the second message is accepted; no queue id tells it from the first")
        }
        Class::Accepted => Outcome::pass("the second message is accepted"),
        Class::Transient | Class::Closing => {
            Outcome::info("there is a limit to the messages of one session")
        }
        Class::Permanent => Outcome::fail(Severity::Low, "the second message is refused"),
        _ => match second.open() {
            Some(open) => return open,
            None => Outcome::warn("an odd answer to the second message"),
        },
    };
    outcome.seen(second.evidence())
}
