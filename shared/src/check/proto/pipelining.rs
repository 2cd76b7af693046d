//! Several commands in one write are answered each, in order (RFC 2920 §3.1).

use super::super::observe::Class;
use super::super::turn::{Turn, finding, turns};
use super::super::{
    Check, Context, Facts, Finding, Leg, Mta, On, Outcome, Script, Setting, Severity,
};
use super::ROW;
use crate::command::Verb;

const ID: &str = "proto-pipelining";

pub(in super::super) const CHECK: Check = Check {
    id: ID,
    question: "Are commands sent together answered each, and in order?",
    severity: Severity::Medium,
    needs: "a local mailbox",
    references: &["RFC 2920 §3.1", "RFC 2920 §3.2"],
    localhost: On::Judged("a reply to each, in order; or refused where PIPELINING is not offered"),
    remote: On::Judged("a reply to each, in order; or refused where PIPELINING is not offered"),
    scripts,
    judge,
    cures: &[
        (Mta::Exim, "pipelining_advertise_hosts"),
        (Mta::Sendmail, "P in srv_features"),
    ],
    ..ROW
};

fn scripts(setting: &Setting<'_>) -> Vec<Script> {
    let facts = setting.facts;
    let (Some(sender), Some(local)) = (facts.sender(setting.kind), facts.local_mailbox()) else {
        return Vec::new();
    };
    let group = |case, lines: [&str; 2]| {
        let [second, third] = lines;
        let lines = [
            format!("MAIL FROM:<{sender}>"),
            second.to_owned(),
            third.to_owned(),
        ];
        Script::new(ID, case).ehlo(facts.helo()).together(&lines)
    };
    let rcpt = format!("RCPT TO:<{local}>");
    vec![
        group("a", [&rcpt, "RSET"]).quit().once(),
        // The path is valid nowhere: there is nobody to receive anything.
        group("b", ["RCPT TO:<>", "DATA"])
            .if_go_on(".")
            .quit()
            .once(),
    ]
}

fn judge(leg: &Leg<'_>, _: &Facts, _: &Context<'_>) -> Finding {
    let turns = turns(leg, ID);
    let groups = turns.windows(3).filter(|group| is_group(group));
    let outcomes = groups.filter_map(group).collect();
    finding(leg, ID, outcomes)
}

/// Three commands of one session that nothing was answered between.
fn is_group(group: &[Turn<'_>]) -> bool {
    let [first, second, third] = group else {
        return false;
    };
    let expected = first.is(&Verb::Mail)
        && second.is(&Verb::Rcpt)
        && matches!(third.verb(), Some(Verb::Rset | Verb::Data));
    let answered = first.exchange.answers.first();
    expected
        && first.order.0 == third.order.0
        && answered.is_none_or(|answer| answer.at >= third.exchange.at)
}

fn group(group: &[Turn<'_>]) -> Option<Outcome> {
    let [mail, rcpt, third] = group else {
        return None;
    };
    let offered = mail.offers("PIPELINING");
    let unasked = mail.dialogue.unsolicited.iter().any(|answer| {
        let number = answer.reply.as_ref().map(|reply| reply.code().number());
        number != Some(421)
    });
    let once = group.iter().all(|turn| turn.exchange.answers.len() == 1);
    let answered = once && !unasked;
    let refused = group.iter().any(|turn| {
        matches!(turn.code(), Some(500 | 503 | 550 | 554)) && !turn.is(&Verb::Rcpt)
            || turn.class.is_end()
    });
    let is_data = third.is(&Verb::Data);
    let outcome = match (offered, answered) {
        (true, false) => Outcome::fail(
            Severity::Medium,
            "commands sent together do not get a reply each",
        ),
        (false, false) if refused => Outcome::pass("not offered, and refused"),
        (false, false) => Outcome::info("not offered, and not answered in order"),
        (_, true) => {
            if let Some(open) = mail.open() {
                return Some(open);
            }
            let swapped = if is_data {
                rcpt.class == Class::Accepted
            } else {
                third.class == Class::Permanent && mail.class == Class::Accepted
            };
            match (offered, swapped) {
                (false, _) if refused => Outcome::pass("not offered, and refused"),
                (false, _) => Outcome::info("not offered, but it works"),
                (true, true) => Outcome::fail(
                    Severity::Medium,
                    "the replies to commands sent together are not in their order",
                ),
                (true, false) if is_data && third.class == Class::GoOn => {
                    Outcome::warn("DATA without a recipient is answered 354")
                }
                (true, false) => Outcome::pass("a reply to each, in order"),
            }
        }
    };
    Some(outcome.seen(third.evidence()))
}
