//! 8BITMIME is honest (RFC 6152).

use super::super::observe::{Class, argument};
use super::super::turn::{Turn, finding, turns};
use super::super::{Check, Context, Facts, Finding, Leg, Mta, On, Outcome, Script, Setting, Stop};
use super::{ROW, content, offered_and_refused};
use crate::command::Verb;

const ID: &str = "proto-8bitmime";
const PARAMETER: &str = " BODY=8BITMIME";

pub(in super::super) const CHECK: Check = Check {
    id: ID,
    question: "Does 8-bit text arrive, if 8BITMIME is offered?",
    stop: Stop::SelfMessage,
    needs: "a local mailbox",
    references: &["RFC 6152 §2", "RFC 6152 §3"],
    localhost: On::Judged("every octet kept; BODY=8BITMIME refused where it is not offered"),
    remote: On::Judged("every octet kept; BODY=8BITMIME refused where it is not offered"),
    scripts,
    judge,
    cures: &[
        (Mta::Postfix, "look at disable_mime_output_conversion"),
        (
            Mta::Exim,
            "accept_8bitmime = false, if something behind it is not 8-bit clean",
        ),
    ],
    ..ROW
};

fn scripts(setting: &Setting<'_>) -> Vec<Script> {
    let script = if setting.offers("8BITMIME") {
        let body = "Eight bits: \u{e9}, \u{fc}, \u{2014}, \u{43f}\u{43e}\u{447}\u{442}\u{430}.\r\n";
        content::script(setting, ID, (PARAMETER, false, body.to_owned()))
    } else {
        setting
            .mail(ID, "parameter", PARAMETER)
            .map(|script| script.say("RSET").quit())
    };
    script.into_iter().collect()
}

fn judge(leg: &Leg<'_>, _: &Facts, _: &Context<'_>) -> Finding {
    let turns = turns(leg, ID);
    let changed = || {
        Outcome::warn("8-bit text arrives, but not as it was sent").advise(
            "look at the message: another encoding of the same text is right, other letters are not",
        )
    };
    let outcomes = turns.iter().filter_map(|turn| {
        let is_ours = turn.dialogue.facts.contains_key("check");
        parameter(turn).or_else(|| {
            is_ours
                .then(|| content::judge(leg, (ID, turn), changed))
                .flatten()
        })
    });
    finding(leg, ID, outcomes.collect())
}

fn parameter(turn: &Turn<'_>) -> Option<Outcome> {
    let argument = argument(&turn.exchange.said).to_uppercase();
    if !turn.is(&Verb::Mail) || !argument.ends_with("BODY=8BITMIME") {
        return None;
    }
    let outcome = match (turn.class, turn.offers("8BITMIME")) {
        // What becomes of the message says more.
        (Class::Accepted, true) => return None,
        (Class::Accepted, false) => Outcome::info("8BITMIME is not offered, and accepted"),
        (Class::Permanent, true) => offered_and_refused(turn, "8BITMIME"),
        (Class::Permanent, false) => Outcome::pass("8BITMIME is not offered, and refused"),
        _ => return turn.open(),
    };
    Some(outcome.seen(turn.evidence()))
}
