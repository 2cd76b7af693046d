//! What a client may call itself: malformed names are refused, a literal is not
//! (RFC 5321 §4.1.1.1, §4.1.3).

use super::identity::{ROW, Welcome, introduced, judge as judge_each};
use super::observe::argument;
use super::turn::Turn;
use super::{Check, Context, Facts, Finding, Leg, Mta, OWN_LITERAL, On, Outcome, Script, Setting};

const ID: &str = "helo-name";

pub(super) const CHECK: Check = Check {
    id: ID,
    question: "Are malformed names in EHLO refused, and address literals not?",
    references: &["RFC 5321 §4.1.1.1", "RFC 5321 §4.1.3", "RFC 5321 §4.1.4"],
    remote: On::Judged("malformed names refused, the client's address literal accepted"),
    scripts,
    judge,
    cures: &[
        (
            Mta::Postfix,
            "reject_invalid_helo_hostname in smtpd_helo_restrictions, after permit_mynetworks and permit_sasl_authenticated",
        ),
        (Mta::Exim, "helo_verify_hosts, or verify = helo in an ACL"),
        (
            Mta::OpenSmtpd,
            "filter … phase ehlo match helo <table> reject",
        ),
        (
            Mta::Sendmail,
            "FEATURE(block_bad_helo) with FEATURE(delay_checks)",
        ),
    ],
    ..ROW
};

fn scripts(setting: &Setting<'_>) -> Vec<Script> {
    let facts = setting.facts;
    let foreign = facts.foreign_domain.as_deref().unwrap_or("example.org");
    let unresolvable = format!("helo-nx-{}.invalid", facts.token8());
    let underscore = format!("bad_name.{foreign}");
    let long = format!("{}.{foreign}", "a".repeat(300));
    let names = [
        ("unqualified", "client"),
        ("syntax", "-x-"),
        ("blank", "a b"),
        ("underscore", &underscore),
        ("unresolvable", &unresolvable),
        ("literal", OWN_LITERAL),
        ("long", &long),
    ];
    let scripts = names.into_iter();
    scripts
        .filter_map(|name| introduced(setting, ID, name))
        .collect()
}

/// What is known of a name that a client gives itself.
enum Name {
    Literal,
    Malformed(&'static str),
    Policy(&'static str),
}

fn judge(leg: &Leg<'_>, _: &Facts, context: &Context<'_>) -> Finding {
    let verdict = |name, welcome| match (name, welcome) {
        (_, Welcome::Deferred) => None,
        (Name::Literal, Welcome::Accepted) => {
            Some(Outcome::pass("the client's address literal is accepted"))
        }
        (Name::Literal, Welcome::Refused) => Some(
            Outcome::warn("the client's address literal is refused")
                .advise("RFC 5321 §4.1.4 lets clients without a name use it"),
        ),
        (Name::Malformed(what), Welcome::Accepted) => {
            Some(Outcome::warn(format!("{what} is accepted as a name")))
        }
        (Name::Malformed(what), Welcome::Refused) => {
            Some(Outcome::pass(format!("{what} is refused as a name")))
        }
        (Name::Policy(what), Welcome::Accepted) => {
            Some(Outcome::info(format!("{what} is accepted as a name")))
        }
        (Name::Policy(what), Welcome::Refused) => {
            Some(Outcome::info(format!("{what} is refused as a name")))
        }
    };
    judge_each(leg, ID, context, (which, verdict))
}

fn which(session: &[Turn<'_>]) -> Option<Name> {
    let name = argument(&session.first()?.exchange.said);
    Some(match name.as_str() {
        name if name.contains(' ') => Name::Malformed("two words"),
        name if name.len() > 255 => Name::Malformed("a name of more than 255 octets"),
        name if name.starts_with('-') => Name::Malformed("a name that begins with a hyphen"),
        name if name.starts_with('[') => Name::Literal,
        name if name.contains('_') => Name::Policy("a name with an underscore"),
        name if name.ends_with(".invalid") => Name::Policy("a name that does not resolve"),
        name if !name.contains('.') => Name::Policy("a name without a dot"),
        _ => return None,
    })
}
