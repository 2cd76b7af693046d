//! No password crosses the wire in the clear (RFC 4954 §4, RFC 8314 §3).

use super::super::observe::{Class, argument};
use super::super::turn::{Turn, finding, turns};
use super::super::{
    Check, Context, Evidence, Facts, Finding, Leg, Mta, On, Outcome, Safety, Script, Setting,
    Severity,
};
use super::{Offer, ROW, offers};
use crate::command::Verb;

const ID: &str = "auth-plaintext-offer";

pub(in super::super) const CHECK: Check = Check {
    id: ID,
    question: "Are passwords asked for inside TLS only?",
    safety: Safety::Harmless,
    references: &["RFC 4954 §4", "RFC 8314 §3", "RFC 3207 §6"],
    remote: On::Judged("no mechanism that shows the password before TLS"),
    scripts,
    judge,
    cures: &[
        (
            Mta::Postfix,
            "smtpd_tls_auth_only = yes, or smtpd_sasl_security_options = noanonymous, noplaintext",
        ),
        (
            Mta::Exim,
            "auth_advertise_hosts = ${if eq{$tls_in_cipher}{}{}{*}}",
        ),
        (Mta::OpenSmtpd, "auth with tls-require"),
        (Mta::Sendmail, "confAUTH_OPTIONS with p"),
    ],
    ..ROW
};

fn scripts(setting: &Setting<'_>) -> Vec<Script> {
    // Without an initial response: there is no password in it.
    let script = Script::new(ID, "a").ehlo(setting.facts.helo());
    let script = script.say("AUTH PLAIN").if_go_on("*");
    vec![script.quit().once()]
}

fn judge(leg: &Leg<'_>, _: &Facts, _: &Context<'_>) -> Finding {
    let turns = turns(leg, ID);
    let mut outcomes = Vec::new();
    for (_, dialogue) in leg.dialogues_for(ID) {
        if dialogue.implicit_tls {
            outcomes.push(Outcome::pass("this port speaks TLS from the first byte"));
            continue;
        }
        let tried = turns.iter().find(|turn| {
            turn.dialogue.session == dialogue.session
                && turn.is(&Verb::Auth)
                && !turn.exchange.in_tls
        });
        outcomes.extend(offers(dialogue, false).map(|offer| offered(&offer, tried)));
    }
    finding(leg, ID, outcomes)
}

fn offered(offer: &Offer<'_>, tried: Option<&Turn<'_>>) -> Outcome {
    let seen = Evidence::of(offer.dialogue, offer.hello);
    let Some(mechanisms) = &offer.mechanisms else {
        return hidden(tried).seen(seen);
    };
    let has = |names: &[&str]| mechanisms.iter().any(|one| names.contains(&one.as_str()));
    let refused = tried.is_some_and(|turn| matches!(turn.code(), Some(530 | 538)));
    let outcome = if has(&["PLAIN", "LOGIN", "XOAUTH2", "OAUTHBEARER"]) {
        if refused {
            Outcome::warn("a password mechanism is offered before TLS, and refused when it is used")
                .advise("clients send the password in the same line: it is shown all the same")
        } else {
            Outcome::fail(Severity::High, "a password mechanism is offered before TLS")
        }
    } else if has(&["CRAM-MD5", "DIGEST-MD5", "NTLM"]) {
        Outcome::warn("a mechanism that can be guessed from is offered before TLS")
    } else {
        Outcome::pass("no mechanism before TLS shows the password")
    };
    outcome.seen(seen)
}

/// AUTH is not offered: is PLAIN taken nevertheless?
fn hidden(tried: Option<&Turn<'_>>) -> Outcome {
    let Some(turn) = tried.filter(|turn| argument(&turn.exchange.said).to_uppercase() == "PLAIN")
    else {
        return Outcome::pass("AUTH is not offered before TLS");
    };
    let outcome = match turn.class {
        Class::GoOn => Outcome::fail(
            Severity::High,
            "AUTH is not offered before TLS, but PLAIN is taken",
        ),
        _ => Outcome::pass("AUTH is neither offered nor taken before TLS"),
    };
    outcome.seen(turn.evidence())
}
