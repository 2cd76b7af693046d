//! CHUNKING: chunks are counted, not searched for dots (RFC 3030).

use super::super::observe::Class;
use super::super::turn::{Turn, finding, turns};
use super::super::{
    Check, Context, Facts, Finding, Leg, Mta, On, Outcome, Script, Setting, Severity, Stop,
};
use super::{ROW, content};
use crate::command::Verb;
use crate::recording::Said;
use crate::session::DataForm;

const ID: &str = "proto-bdat";

pub(in super::super) const CHECK: Check = Check {
    id: ID,
    question: "Do chunks arrive as they were sent, if CHUNKING is offered?",
    severity: Severity::Medium,
    stop: Stop::SelfMessage,
    needs: "a local mailbox and CHUNKING",
    references: &["RFC 3030 §2", "RFC 3030 §3"],
    localhost: On::Judged("every line kept, DATA after BDAT refused"),
    remote: On::Judged("every line kept, DATA after BDAT refused"),
    scripts,
    judge,
    cures: &[
        (
            Mta::Postfix,
            "smtpd_discard_ehlo_keywords = chunking switches it off",
        ),
        (Mta::Exim, "chunking_advertise_hosts = switches it off"),
    ],
    ..ROW
};

fn scripts(setting: &Setting<'_>) -> Vec<Script> {
    if !setting.offers("CHUNKING") {
        return Vec::new();
    }
    let body = ["one", ".", "..two", "the end", ""].join("\r\n");
    let message = content::script(setting, ID, ("", true, body));
    let mixed = || {
        let local = setting.facts.local_mailbox()?;
        let begun = setting.mail(ID, "mixed", "")?;
        let mut script = begun
            .if_accepted(format!("RCPT TO:<{local}>"))
            .octets("BDAT 4\r\nA: b", 1)
            .say("DATA")
            .if_go_on(".")
            .say("RSET")
            .say("BDAT x")
            .quit()
            .once();
        script.stop = Stop::SelfMessage;
        Some(script)
    };
    message.into_iter().chain(mixed()).collect()
}

fn judge(leg: &Leg<'_>, _: &Facts, _: &Context<'_>) -> Finding {
    let turns = turns(leg, ID);
    let mut outcomes = Vec::new();
    // The chunk before, of the same session.
    let mut begun: Option<(usize, bool)> = None;
    for turn in &turns {
        let open = begun.is_some_and(|(dialogue, open)| open && dialogue == turn.order.0);
        match &turn.exchange.said {
            Said::Content {
                form: DataForm::Bdat,
                ..
            } => {
                begun = Some((turn.order.0, turn.class == Class::Accepted));
                outcomes.extend(chunk(leg, turn));
            }
            _ => match turn.verb() {
                Some(Verb::Data) if open => outcomes.push(super::must_refuse(
                    turn,
                    "DATA after BDAT",
                    Severity::Medium,
                )),
                Some(Verb::Rset | Verb::Mail) => begun = None,
                Some(Verb::Bdat) if turn.offers("CHUNKING") => outcomes.extend(refused(turn)),
                _ => {}
            },
        }
    }
    finding(leg, ID, outcomes)
}

fn chunk(leg: &Leg<'_>, turn: &Turn<'_>) -> Option<Outcome> {
    // Its header is there only if it is the last one of a message.
    let whole = matches!(&turn.exchange.said, Said::Content { wire, .. } if wire.len() > 100);
    let offered = turn.offers("CHUNKING");
    match turn.class {
        Class::Permanent if offered && matches!(turn.code(), Some(500 | 502)) => Some(
            Outcome::fail(
                Severity::Medium,
                "CHUNKING is offered, and BDAT is not known",
            )
            .seen(turn.evidence()),
        ),
        _ if whole => content::judge(leg, (ID, turn), || {
            Outcome::fail(Severity::Medium, "lines of a chunk are changed")
        }),
        _ => None,
    }
}

/// BDAT that was answered as a command: it cannot be understood, or is not known.
fn refused(turn: &Turn<'_>) -> Option<Outcome> {
    let code = turn.code()?;
    let bad = turn.line().eq_ignore_ascii_case("BDAT x");
    let outcome = match code {
        _ if bad && turn.class == Class::Accepted => {
            Outcome::fail(Severity::Low, "BDAT without a size is accepted")
        }
        _ if bad => Outcome::pass("BDAT without a size is refused"),
        500 | 502 => Outcome::fail(
            Severity::Medium,
            "CHUNKING is offered, and BDAT is not known",
        ),
        _ => return None,
    };
    Some(outcome.seen(turn.evidence()))
}
