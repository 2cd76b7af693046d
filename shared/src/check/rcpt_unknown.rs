//! Unknown local users are refused at RCPT, not accepted and bounced later.

use super::observe::{Asked, Parts, words};
use super::recipients::{Answer, judge as judge_each};
use super::{
    Check, Context, Facts, Finding, Group, Leg, LegKind, Mta, On, Outcome, Safety, Script, Setting,
    Severity, Stop,
};

const ID: &str = "rcpt-unknown";

pub(super) const CHECK: Check = Check {
    id: ID,
    group: Group::Rcpt,
    question: "Are unknown local users refused at RCPT?",
    severity: Severity::High,
    safety: Safety::Harmless,
    stop: Stop::PreData,
    needs: "a local domain and a local-part that cannot exist",
    references: &[
        "RFC 5321 §3.3",
        "RFC 5321 §4.2.2",
        "RFC 5321 §6.1",
        "RFC 5321 §6.2",
    ],
    localhost: On::Judged("refused; accepted from a trusted client is noted"),
    remote: On::Judged("refused for good"),
    authenticated: On::Skip,
    scripts,
    judge,
    cures: &[
        (
            Mta::Postfix,
            "local_recipient_maps not empty; relay_recipient_maps and virtual_mailbox_maps; smtpd_reject_unlisted_recipient = yes; reject_unverified_recipient for relayed domains; no luser_relay, no @domain catch-all",
        ),
        (
            Mta::Exim,
            "require verify = recipient in the RCPT ACL; callout for relayed domains",
        ),
        (
            Mta::OpenSmtpd,
            "it checks at RCPT already; avoid catch-all `@` keys in the virtual table",
        ),
        (
            Mta::Sendmail,
            "remove LUSER_RELAY and @domain lines of the virtusertable",
        ),
    ],
};

fn scripts(setting: &Setting<'_>) -> Vec<Script> {
    let facts = setting.facts;
    let (Some(user), Some(domain)) = (&facts.unknown_user, facts.local_domain()) else {
        return Vec::new();
    };
    let name = facts.server_name.as_deref().filter(|name| *name != domain);
    let cases = [
        ("a", Some(format!("{user}@{domain}"))),
        ("b", Some(format!("{user}+x@{domain}"))),
        ("c", name.map(|name| format!("{user}@{name}"))),
    ];
    setting.ask_each(ID, cases)
}

fn judge(leg: &Leg<'_>, facts: &Facts, context: &Context<'_>) -> Finding {
    let trusted = leg.kind == LegKind::Localhost;
    let outcomes = judge_each(
        ID,
        leg,
        context,
        |asked| is_unknown(asked, facts).then_some(()),
        |(), answer| {
            match answer {
            Answer::Refused(_) => Some(Outcome::pass("refused at RCPT")),
            Answer::Accepted if trusted => {
                Some(Outcome::info("unknown users are accepted from this trusted address"))
            }
            Answer::Accepted if facts.catch_all => {
                Some(Outcome::info("any local-part is accepted, as stated"))
            }
            Answer::Accepted => Some(
                Outcome::fail(Severity::High, "an unknown local user is accepted")
                    .advise("whoever accepts must bounce, and bounces for invented senders hit bystanders; state that a catch-all is meant if it is"),
            ),
            Answer::Deferred(reply) => {
                let words = words(reply);
                let unknown = ["unverified", "user unknown", "unknown user"]
                    .iter()
                    .any(|text| words.contains(text));
                unknown.then(|| {
                    Outcome::warn("unknown users are refused, but only as temporary").advise(
                        "refuse for good (Postfix: unknown_local_recipient_reject_code, unverified_recipient_reject_code = 550)",
                    )
                })
            }
        }
        },
    );
    Finding::worst(outcomes, "not asked on this leg")
}

fn is_unknown(asked: &Asked<'_>, facts: &Facts) -> bool {
    let path = asked.recipient();
    let parts = Parts::of(&path);
    let own = parts.domain.is_some_and(|domain| facts.is_own(domain));
    let user = facts.unknown_user.as_deref();
    own && !parts.routed
        && user
            .and_then(|user| parts.local.strip_prefix(user))
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('+'))
}
