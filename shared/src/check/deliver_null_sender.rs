//! Bounces and notifications to local users are accepted (RFC 5321 §4.5.5).

use super::delivery::{From, judge as judge_delivery, unless_everyone};
use super::{
    Check, Context, Facts, Finding, Group, Leg, Mta, On, Safety, Script, Setting, Severity, Step,
    Stop,
};

const ID: &str = "deliver-null-sender";

pub(super) const CHECK: Check = Check {
    id: ID,
    group: Group::Deliver,
    question: "Are bounces, which have the null sender, accepted for local users?",
    severity: Severity::High,
    safety: Safety::Harmless,
    stop: Stop::SelfMessage,
    needs: "a local mailbox",
    references: &["RFC 5321 §4.5.5", "RFC 5321 §6.1", "RFC 1123 §5.2.9"],
    localhost: On::Judged("accepted"),
    remote: On::Judged("accepted"),
    authenticated: On::Skip,
    scripts,
    judge,
    cures: &[
        (
            Mta::Postfix,
            "remove `<>` entries from check_sender_access maps; see smtpd_null_access_lookup_key",
        ),
        (Mta::Exim, "remove `deny senders = :`"),
        (
            Mta::OpenSmtpd,
            "remove match rules and filters that insist on a sender domain",
        ),
        (
            Mta::Sendmail,
            "remove `From:<>` entries and home-made Local_check_mail rules",
        ),
    ],
};

fn scripts(setting: &Setting<'_>) -> Vec<Script> {
    let facts = setting.facts;
    let (Some(to), Some(domain)) = (facts.local_mailbox(), facts.local_domain()) else {
        return Vec::new();
    };
    let several = Script::new(ID, "two")
        .ehlo(facts.helo())
        .say("MAIL FROM:<>")
        .if_accepted(format!("RCPT TO:<{to}>"))
        .if_accepted(format!("RCPT TO:<postmaster@{domain}>"))
        .say("RSET")
        .quit();
    let message = Step::Message {
        from: String::new(),
        to,
    };
    vec![
        Script::new(ID, "one")
            .ehlo(facts.helo())
            .step(message)
            .quit(),
        several,
    ]
}

/// A second recipient may be refused: bounces have one.
fn judge(leg: &Leg<'_>, facts: &Facts, context: &Context<'_>) -> Finding {
    let mut finding = judge_delivery((ID, From::Null), leg, facts, &unless_everyone(context));
    finding.severity = finding.severity.map(|_| Severity::High);
    finding
}
