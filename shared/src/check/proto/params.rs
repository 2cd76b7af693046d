//! Parameters that are not offered are refused, those that are offered work
//! (RFC 5321 §4.1.1.11).

use super::super::observe::{Class, argument};
use super::super::turn::{Turn, finding, turns};
use super::super::{Check, Context, Facts, Finding, Leg, On, Outcome, Script, Setting, Severity};
use super::{ROW, offered_and_refused};
use crate::command::Verb;

const ID: &str = "proto-params";

pub(in super::super) const CHECK: Check = Check {
    id: ID,
    question: "Are unknown parameters refused, and offered ones accepted?",
    needs: "a local mailbox",
    references: &["RFC 5321 §4.1.1.11", "RFC 3461 §4", "RFC 4954 §5"],
    localhost: On::Judged("unknown ones refused with 555, offered ones accepted"),
    remote: On::Judged("unknown ones refused with 555, offered ones accepted"),
    scripts,
    judge,
    ..ROW
};

fn scripts(setting: &Setting<'_>) -> Vec<Script> {
    let facts = setting.facts;
    let Some(local) = facts.local_mailbox() else {
        return Vec::new();
    };
    let token = facts.token8();
    let mail = |case, parameters: &str| setting.mail(ID, case, parameters);
    let unknown = format!(" HELO-X={token}");
    let dsn = || {
        let mail = mail("dsn", &format!(" RET=HDRS ENVID={token}"))?;
        let rcpt = format!("RCPT TO:<{local}> NOTIFY=NEVER ORCPT=rfc822;{local}");
        Some(mail.if_accepted(rcpt))
    };
    let auth = || mail("auth", " AUTH=<>");
    let scripts = [
        mail("mail", &unknown),
        mail("body", " BODY=HELO-X"),
        mail("rcpt", "").map(|script| script.if_accepted(format!("RCPT TO:<{local}> HELO-X=1"))),
        setting.offers("DSN").then(dsn).flatten(),
        setting.offers("AUTH").then(auth).flatten(),
    ];
    let scripts = scripts.into_iter().flatten();
    scripts.map(|script| script.say("RSET").quit()).collect()
}

fn judge(leg: &Leg<'_>, _: &Facts, _: &Context<'_>) -> Finding {
    let turns = turns(leg, ID);
    let outcomes = turns.iter().filter_map(outcome).collect();
    finding(leg, ID, outcomes)
}

fn outcome(turn: &Turn<'_>) -> Option<Outcome> {
    if !matches!(turn.verb()?, Verb::Mail | Verb::Rcpt) {
        return None;
    }
    let argument = argument(&turn.exchange.said).to_uppercase();
    let has = |words: &[&str]| {
        let mut given = argument.split(' ').skip(1);
        given.any(|word| words.iter().any(|start| word.starts_with(start)))
    };
    if has(&["HELO-X", "BODY=HELO-X"]) {
        return Some(match (turn.open(), turn.class) {
            (Some(open), _) => open,
            (None, Class::Accepted) => {
                Outcome::fail(Severity::Low, "an unknown parameter is accepted")
                    .seen(turn.evidence())
            }
            (None, _) => Outcome::pass("an unknown parameter is refused").seen(turn.evidence()),
        });
    }
    let offered = |name: &str, keyword: &str| {
        let outcome = match (turn.open(), turn.class, turn.offers(keyword)) {
            (Some(open), ..) => return open,
            (None, Class::Accepted, true) => Outcome::pass(format!("{name} is accepted")),
            (None, Class::Accepted, false) => {
                Outcome::info(format!("{name} is accepted, though it is not offered"))
            }
            (None, _, true) => offered_and_refused(turn, name),
            (None, _, false) => Outcome::pass(format!("{name} is not offered, and refused")),
        };
        outcome.seen(turn.evidence())
    };
    if has(&["RET=", "ENVID=", "NOTIFY=", "ORCPT="]) {
        return Some(offered("DSN", "DSN"));
    }
    has(&["AUTH="]).then(|| offered("AUTH=<>", "AUTH"))
}
