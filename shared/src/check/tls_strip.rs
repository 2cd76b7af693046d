//! STARTTLS is not removed on the way (RFC 3207 §6).

use super::conn_ehlo::is_masked;
use super::observe::Class;
use super::tls_offered::plain_hello;
use super::{
    Check, Context, Evidence, Facts, Finding, Group, Leg, LegKind, Mta, On, Outcome, Safety,
    Setting, Severity, Stop,
};
use crate::command::Verb;
use crate::recording::Dialogue;

const ID: &str = "tls-strip";

pub(super) const CHECK: Check = Check {
    id: ID,
    group: Group::Tls,
    question: "Does the outside hear of STARTTLS as localhost does?",
    severity: Severity::Medium,
    safety: Safety::Passive,
    stop: Stop::PreData,
    needs: "a localhost and a remote leg",
    references: &["RFC 3207 §6", "RFC 7435"],
    localhost: On::Skip,
    remote: On::Judged("the same offer as on localhost"),
    authenticated: On::Skip,
    scripts: |_: &Setting<'_>| Vec::new(),
    judge,
    cures: &[
        (
            Mta::Postfix,
            "switch off SMTP inspection in the firewall; look at smtpd_discard_ehlo_keyword_address_maps",
        ),
        (
            Mta::Exim,
            "switch off SMTP inspection in the firewall; look at tls_advertise_hosts",
        ),
        (
            Mta::OpenSmtpd,
            "switch off SMTP inspection in the firewall; compare the listen lines",
        ),
        (
            Mta::Sendmail,
            "switch off SMTP inspection in the firewall; look at Srv_Features in the access map",
        ),
    ],
};

fn judge(leg: &Leg<'_>, _: &Facts, context: &Context<'_>) -> Finding {
    let local = context
        .legs
        .iter()
        .filter(|leg| leg.kind == LegKind::Localhost);
    let local = local.flat_map(|leg| &leg.dialogues);
    let Some((near, inside, offered)) = local.copied().find_map(heard) else {
        return Finding::skip("needs a localhost leg to compare with");
    };
    let Some((dialogue, outside, still)) = leg.dialogues.iter().copied().find_map(heard) else {
        return Finding::skip("no EHLO outside TLS on this leg");
    };
    let masked = outside.reply().is_some_and(is_masked);
    let refused = dialogue.exchanges.iter().find(|exchange| {
        exchange.said.verb() == Some(&Verb::StartTls)
            && Class::of(dialogue, exchange) == Class::Permanent
    });
    let outcome = match (offered, still) {
        (true, false) => Outcome::fail(
            Severity::Medium,
            "STARTTLS is offered to localhost but not here: a device strips it, or the server offers it by address",
        ),
        (_, true) if masked => Outcome::fail(Severity::Medium, "keywords are masked on the way"),
        (true, true) if refused.is_some() => Outcome::fail(
            Severity::Medium,
            "STARTTLS is offered but refused on the way",
        ),
        (true, true) => Outcome::pass("the same offer as on localhost"),
        (false, true) => Outcome::info("STARTTLS is offered here but not to localhost"),
        (false, false) => Outcome::pass("STARTTLS is offered on neither leg"),
    };
    let outcome = outcome
        .seen(Evidence::of(near, inside))
        .seen(Evidence::of(dialogue, outside));
    Finding::worst(vec![outcome], "")
}

/// The first dialogue that heard an EHLO reply, with that reply.
fn heard(dialogue: &Dialogue) -> Option<(&Dialogue, &crate::recording::Exchange, bool)> {
    plain_hello(dialogue).map(|(hello, offered)| (dialogue, hello, offered))
}
