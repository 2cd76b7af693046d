//! Local-parts that could be taken for commands, files or two addresses.
//!
//! Nothing executable is sent, and nothing after RCPT.

use super::observe::{Asked, Parts};
use super::recipients::{Answer, judge as judge_each};
use super::{
    Check, Context, Facts, Finding, Group, Leg, LegKind, Mta, On, Outcome, Safety, Script, Setting,
    Severity, Stop,
};

const ID: &str = "rcpt-dangerous";

pub(super) const CHECK: Check = Check {
    id: ID,
    group: Group::Rcpt,
    question: "Are local-parts that look like commands, files or two addresses refused?",
    severity: Severity::High,
    safety: Safety::Harmless,
    stop: Stop::PreData,
    needs: "a local domain",
    references: &["CVE-2020-7247", "CVE-2019-10149", "RFC 5321 §4.1.2"],
    localhost: On::Judged("refused"),
    remote: On::Judged("refused"),
    authenticated: On::Skip,
    scripts,
    judge,
    cures: &[
        (
            Mta::Postfix,
            "allow_min_user = no; restrict allow_mail_to_commands and allow_mail_to_files",
        ),
        (
            Mta::Exim,
            "keep the stock ACL rules about restricted characters",
        ),
        (Mta::OpenSmtpd, "update"),
        (Mta::Sendmail, "as by default"),
    ],
};

fn scripts(setting: &Setting<'_>) -> Vec<Script> {
    let facts = setting.facts;
    let Some(domain) = facts.local_domain() else {
        return Vec::new();
    };
    let token = facts.token8();
    let both = facts.local_mailbox().zip(facts.foreign_mailbox());
    let cases = [
        ("a", Some(format!("|{token}@{domain}"))),
        ("b", Some(format!("/{token}@{domain}"))),
        ("c", Some(format!("\":include:{token}\"@{domain}"))),
        ("d", Some(format!("../{token}@{domain}"))),
        (
            "f",
            both.clone()
                .map(|(own, foreign)| format!("{own},{foreign}")),
        ),
        ("g", both.map(|(own, foreign)| format!("{own}><{foreign}"))),
        ("h", Some(format!("-{token}@{domain}"))),
    ];
    setting.ask_each(ID, cases)
}

fn judge(leg: &Leg<'_>, facts: &Facts, context: &Context<'_>) -> Finding {
    let takes_anyone = context.refuses_unknown() == Some(false);
    let outcomes = judge_each(
        ID,
        leg,
        context,
        |asked| form(asked, facts),
        |(form, grave), answer| match answer {
            Answer::Deferred(_) => None,
            Answer::Refused(_) => Some(Outcome::pass("refused")),
            // A list or a pair names two mailboxes: no catch-all explains that.
            Answer::Accepted
                if takes_anyone && !form.starts_with("a list") && !form.starts_with("a pair") =>
            {
                let text = format!("{form} is accepted, as any local-part is here");
                // Servers that take trusted clients' mail unseen are common (Exim).
                Some(if leg.kind == LegKind::Localhost {
                    Outcome::info(text)
                } else {
                    Outcome::inconclusive(
                        text,
                        "look where mail for unknown local-parts goes on the server",
                    )
                })
            }
            Answer::Accepted if grave => {
                Some(Outcome::fail(Severity::High, format!("{form} is accepted")))
            }
            Answer::Accepted => Some(Outcome::warn(format!("{form} is accepted"))),
        },
    );
    Finding::worst(outcomes, "not asked on this leg")
}

/// What the form is called, and whether accepting it is a fault for sure.
fn form(asked: &Asked<'_>, facts: &Facts) -> Option<(&'static str, bool)> {
    let path = asked.recipient();
    if path.contains("><") {
        return Some(("a pair of addresses in brackets", true));
    }
    if path.contains(',') && path.matches('@').count() > 1 && !path.starts_with('@') {
        return Some(("a list of addresses", true));
    }
    let parts = Parts::of(&path);
    if parts.routed || !parts.domain.is_some_and(|domain| facts.is_own(domain)) {
        return None;
    }
    let local = parts.local.trim_start_matches('"');
    [
        ("|", ("a local-part that looks like a command", true)),
        ("/", ("a local-part that looks like a file", true)),
        (
            ":include:",
            ("a local-part that looks like an inclusion", true),
        ),
        ("../", ("a local-part that climbs directories", false)),
        ("-", ("a local-part that looks like an option", false)),
    ]
    .into_iter()
    .find_map(|(mark, form)| local.starts_with(mark).then_some(form))
}
