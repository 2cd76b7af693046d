//! A stranger does not pass for the server itself.

use super::context::is_forged_hello;
use super::identity::{ROW, Welcome, introduced, judge as judge_each};
use super::observe::argument;
use super::turn::Turn;
use super::{Check, Context, Facts, Finding, Leg, Mta, On, Outcome, Script, Setting};

const ID: &str = "helo-own-name";

pub(super) const CHECK: Check = Check {
    id: ID,
    question: "Is a stranger refused that introduces itself as this server?",
    references: &["RFC 5321 §4.1.1.1", "RFC 5321 §7.1"],
    remote: On::Judged("refused, at EHLO, MAIL or RCPT"),
    scripts,
    judge,
    cures: &[
        (
            Mta::Postfix,
            "check_helo_access with the server's own names, after permit_mynetworks and permit_sasl_authenticated",
        ),
        (
            Mta::Exim,
            "deny condition = ${if match_domain{$sender_helo_name}{+local_domains}} for hosts that are not trusted",
        ),
        (
            Mta::OpenSmtpd,
            "filter … phase ehlo match helo { … } reject \"550 …\"",
        ),
        (Mta::Sendmail, "FEATURE(block_bad_helo)"),
    ],
    ..ROW
};

fn scripts(setting: &Setting<'_>) -> Vec<Script> {
    let facts = setting.facts;
    let literal = facts.server_literal();
    let names = [
        ("server", facts.server_name.as_deref()),
        ("domain", facts.local_domain()),
        ("address", literal.as_deref()),
        ("localhost", Some("localhost")),
    ];
    let named = names.into_iter();
    named
        .filter_map(|(case, name)| introduced(setting, ID, (case, name?)))
        .collect()
}

fn judge(leg: &Leg<'_>, facts: &Facts, context: &Context<'_>) -> Finding {
    let which = |session: &[Turn<'_>]| {
        let name = argument(&session.first()?.exchange.said);
        is_forged_hello(&name, facts).then_some(())
    };
    let verdict = |(), welcome| match welcome {
        Welcome::Refused => Some(Outcome::pass("the server's own name is refused")),
        Welcome::Accepted => Some(Outcome::warn(
            "the server's own name is accepted from a stranger",
        )),
        Welcome::Deferred => None,
    };
    judge_each(leg, ID, context, (which, verdict))
}
