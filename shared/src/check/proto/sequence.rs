//! Commands out of order are refused and do no harm (RFC 5321 §3.3, §4.1.4).

use super::super::observe::Class;
use super::super::turn::{Turn, finding, turns};
use super::super::{Check, Context, Facts, Finding, Leg, On, Outcome, Script, Setting, Severity};
use super::{ROW, must_refuse};
use crate::command::Verb;
use crate::recording::Said;

const ID: &str = "proto-sequence";

pub(in super::super) const CHECK: Check = Check {
    id: ID,
    question: "Are commands out of order refused?",
    needs: "a local mailbox",
    references: &["RFC 5321 §3.3", "RFC 5321 §4.1.4"],
    localhost: On::Judged("refused, with 503"),
    remote: On::Judged("refused, with 503"),
    scripts,
    judge,
    ..ROW
};

fn scripts(setting: &Setting<'_>) -> Vec<Script> {
    let facts = setting.facts;
    let Some(local) = facts.local_mailbox() else {
        return Vec::new();
    };
    let begin = |case| Script::new(ID, case).ehlo(facts.helo());
    // Nobody is to receive what is sent after a 354 that should not have come.
    let rcpt = format!("RCPT TO:<{local}>");
    let mail = |case| setting.mail(ID, case, "");
    let scripts = [
        Some(begin("rcpt").say(&rcpt)),
        Some(begin("data").say("DATA").if_go_on(".")),
        mail("no-recipient").map(|script| script.if_accepted("DATA").if_go_on(".")),
        mail("second-mail").map(|script| script.if_accepted("MAIL FROM:<>").say("RSET")),
        mail("none-valid").map(|script| {
            script
                .if_accepted("RCPT TO:<>")
                .if_refused("DATA")
                .if_go_on(".")
        }),
    ];
    let scripts = scripts.into_iter().flatten();
    scripts.map(|script| script.quit().once()).collect()
}

fn judge(leg: &Leg<'_>, _: &Facts, _: &Context<'_>) -> Finding {
    let turns = turns(leg, ID);
    let outcomes = turns.iter().filter_map(outcome).collect();
    finding(leg, ID, outcomes)
}

fn outcome(turn: &Turn<'_>) -> Option<Outcome> {
    let before = turn.before;
    match turn.verb() {
        Some(Verb::Rcpt) if before.greeted && !before.mail => {
            Some(must_refuse(turn, "RCPT before MAIL", Severity::Low))
        }
        Some(Verb::Mail) if before.mail => Some(must_refuse(turn, "a second MAIL", Severity::Low)),
        Some(Verb::Data) if before.greeted && before.recipients == 0 => Some(
            // RFC 5321 §3.3 allows 354, if the end of the data is refused.
            if turn.class == Class::GoOn {
                Outcome::warn("DATA without a recipient is answered 354").seen(turn.evidence())
            } else {
                must_refuse(turn, "DATA without a recipient", Severity::Low)
            },
        ),
        None if before.recipients == 0 && matches!(turn.exchange.said, Said::Content { .. }) => {
            (turn.class == Class::Accepted).then(|| {
                Outcome::fail(Severity::Low, "a message for nobody is accepted")
                    .seen(turn.evidence())
            })
        }
        _ => None,
    }
}
