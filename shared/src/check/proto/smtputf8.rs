//! Addresses beyond ASCII: accepted if SMTPUTF8 is offered and said, refused
//! otherwise (RFC 6531 §3).

use super::super::observe::{Class, argument, is_syntax_refusal};
use super::super::turn::{Turn, finding, turns};
use super::super::{
    Check, Context, Facts, Finding, Leg, Mta, On, Outcome, Script, Setting, Severity,
};
use super::{ROW, content, offered_and_refused};
use crate::command::Verb;
use crate::recording::Said;

const ID: &str = "proto-smtputf8";

pub(in super::super) const CHECK: Check = Check {
    id: ID,
    question: "Are addresses beyond ASCII understood if SMTPUTF8 is offered, and refused otherwise?",
    needs: "a local domain",
    references: &["RFC 6531 §3.1", "RFC 6531 §3.4", "RFC 6531 §3.5"],
    localhost: On::Judged("understood after SMTPUTF8, refused without it"),
    remote: On::Judged("understood after SMTPUTF8, refused without it"),
    scripts,
    judge,
    cures: &[
        (Mta::Postfix, "smtputf8_enable, strict_smtputf8 = yes"),
        (Mta::Exim, "smtputf8_advertise_hosts"),
    ],
    ..ROW
};

fn scripts(setting: &Setting<'_>) -> Vec<Script> {
    let facts = setting.facts;
    let Some(domain) = facts.local_domain() else {
        return Vec::new();
    };
    let rcpt = format!(
        "RCPT TO:<\u{442}\u{435}\u{441}\u{442}-{}@{domain}>",
        facts.token8()
    );
    let mail = |case, parameters| setting.mail(ID, case, parameters);
    let invalid = Script::new(ID, "invalid").ehlo(facts.helo()).octets(
        [&b"MAIL FROM:<a\xe9@"[..], domain.as_bytes(), b">\r\n"].concat(),
        1,
    );
    let scripts = [
        mail("said", " SMTPUTF8").map(|script| script.if_accepted(&rcpt)),
        mail("not-said", "").map(|script| script.if_accepted(&rcpt)),
        Some(invalid),
    ];
    let scripts = scripts.into_iter().flatten();
    scripts.map(|script| script.quit().once()).collect()
}

fn judge(leg: &Leg<'_>, _: &Facts, context: &Context<'_>) -> Finding {
    let mut outcomes = Vec::new();
    let mut said: Option<bool> = None;
    // A server that takes any local-part on this leg takes this one too.
    let anyone = context.refuses_unknown() == Some(false) || content::is_own(leg);
    for turn in turns(leg, ID) {
        let Said::Command { line, .. } = &turn.exchange.said else {
            continue;
        };
        match turn.verb() {
            Some(Verb::Mail) if std::str::from_utf8(line).is_err() => {
                outcomes.extend(invalid(&turn));
            }
            Some(Verb::Mail) => {
                let argument = argument(&turn.exchange.said).to_uppercase();
                let asks = argument.split(' ').any(|word| word == "SMTPUTF8");
                said = Some(asks);
                outcomes.extend(asks.then(|| parameter(&turn)).flatten());
            }
            Some(Verb::Rcpt) if !line.is_ascii() => {
                outcomes.extend(said.and_then(|said| address(&turn, (said, anyone))));
            }
            _ => {}
        }
    }
    finding(leg, ID, outcomes)
}

fn parameter(turn: &Turn<'_>) -> Option<Outcome> {
    let outcome = match (turn.class, turn.offers("SMTPUTF8")) {
        (Class::Accepted, true) => return None,
        (Class::Accepted, false) => Outcome::info("SMTPUTF8 is not offered, and accepted"),
        (Class::Permanent, true) => offered_and_refused(turn, "SMTPUTF8"),
        (Class::Permanent, false) => Outcome::pass("SMTPUTF8 is not offered, and refused"),
        _ => return turn.open(),
    };
    Some(outcome.seen(turn.evidence()))
}

fn address(turn: &Turn<'_>, (said, anyone): (bool, bool)) -> Option<Outcome> {
    let offered = turn.offers("SMTPUTF8");
    let outcome = match (turn.class, said) {
        (Class::Permanent, true) if offered && turn.reply().is_some_and(is_syntax_refusal) => {
            Outcome::fail(
                Severity::Low,
                "SMTPUTF8 is offered, but its addresses are not understood",
            )
        }
        (Class::Accepted | Class::Permanent, true) => {
            Outcome::pass("an address beyond ASCII is understood")
        }
        (Class::Permanent, false) => {
            Outcome::pass("an address beyond ASCII is refused without SMTPUTF8")
        }
        (Class::Accepted, false) if anyone => {
            Outcome::info("an address beyond ASCII is accepted without SMTPUTF8, as any is here")
        }
        (Class::Accepted, false) => {
            Outcome::warn("an address beyond ASCII is accepted without SMTPUTF8")
        }
        _ => return turn.open(),
    };
    Some(outcome.seen(turn.evidence()))
}

fn invalid(turn: &Turn<'_>) -> Option<Outcome> {
    let outcome = match turn.class {
        Class::Accepted => Outcome::warn("an address that is no UTF-8 is accepted"),
        class if class.is_refusal() || class.is_end() => {
            Outcome::pass("an address that is no UTF-8 is refused")
        }
        _ => return turn.open(),
    };
    Some(outcome.seen(turn.evidence()))
}
