//! Another protocol is not gone along with: a browser can be made to send SMTP
//! inside HTTP.

use super::super::observe::Class;
use super::super::turn::{Turn, finding, turns};
use super::super::{Check, Context, Facts, Finding, Leg, Mta, On, Outcome, Script, Setting};
use super::ROW;
use crate::command::Verb;

const ID: &str = "proto-http";

pub(in super::super) const CHECK: Check = Check {
    id: ID,
    question: "Is a web browser sent away?",
    references: &["ALPACA (2021)", "RFC 5321 §7.8"],
    localhost: On::Judged("the connection closed at once"),
    remote: On::Judged("the connection closed at once"),
    scripts,
    judge,
    cures: &[
        (Mta::Postfix, "smtpd_forbidden_commands = CONNECT GET POST"),
        (Mta::Exim, "a low smtp_max_unknown_commands"),
        (Mta::Sendmail, "as by default"),
    ],
    ..ROW
};

fn scripts(setting: &Setting<'_>) -> Vec<Script> {
    let facts = setting.facts;
    let host = facts.server_name.as_deref().unwrap_or("localhost");
    let request = format!(
        "POST / HTTP/1.1\r\nHost: {host}\r\n\r\nEHLO {}\r\n",
        facts.helo()
    );
    vec![Script::new(ID, "a").octets(request, 4).quit().once()]
}

fn judge(leg: &Leg<'_>, _: &Facts, _: &Context<'_>) -> Finding {
    let turns = turns(leg, ID);
    let outcomes = turns.iter().filter(|turn| is_request(turn)).map(|request| {
        let hello = turns.iter().find(|turn| {
            turn.order.0 == request.order.0 && turn.order > request.order && turn.is(&Verb::Ehlo)
        });
        match hello.filter(|hello| hello.class == Class::Accepted) {
            Some(hello) => Outcome::warn("a web request is gone along with, up to EHLO")
                .seen(request.evidence())
                .seen(hello.evidence()),
            None => Outcome::pass("a web request is not gone along with").seen(request.evidence()),
        }
    });
    finding(leg, ID, outcomes.collect())
}

fn is_request(turn: &Turn<'_>) -> bool {
    matches!(turn.verb(), Some(Verb::Other(word)) if matches!(word.as_str(), "GET" | "POST" | "CONNECT"))
}
