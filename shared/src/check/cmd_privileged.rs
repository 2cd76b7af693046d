//! Commands that are for a few are refused to all others.

use super::observe::{Class, argument};
use super::turn::{Turn, finding, turns};
use super::{
    Check, Context, Facts, Finding, Group, Leg, Mta, On, Outcome, Safety, Script, Setting,
    Severity, Stop,
};
use crate::command::Verb;

const ID: &str = "cmd-privileged";

pub(super) const CHECK: Check = Check {
    id: ID,
    group: Group::Enum,
    question: "Are XCLIENT, XFORWARD and ETRN refused to strangers?",
    severity: Severity::Critical,
    safety: Safety::Harmless,
    stop: Stop::PreData,
    needs: "",
    references: &[
        "RFC 1985 §5",
        "Postfix XCLIENT_README",
        "Postfix XFORWARD_README",
    ],
    localhost: On::NotJudged,
    remote: On::Judged("refused"),
    authenticated: On::Skip,
    scripts,
    judge,
    cures: &[
        (
            Mta::Postfix,
            "smtpd_authorized_xclient_hosts and smtpd_authorized_xforward_hosts empty or loopback; smtpd_etrn_restrictions = reject",
        ),
        (Mta::Exim, "leave acl_smtp_etrn unset"),
        (Mta::Sendmail, "confPRIVACY_FLAGS with noetrn and noverb"),
    ],
};

fn scripts(setting: &Setting<'_>) -> Vec<Script> {
    let facts = setting.facts;
    let begin = |case| Script::new(ID, case).ehlo(facts.helo());
    let mut scripts = vec![
        begin("xclient").say("XCLIENT ADDR=127.0.0.1"),
        begin("xforward").say("XFORWARD ADDR=127.0.0.1"),
    ];
    let domains = [
        ("etrn-foreign", facts.foreign_domain.as_deref()),
        ("etrn-own", facts.local_domain()),
    ];
    for (case, domain) in domains {
        scripts.extend(domain.map(|domain| begin(case).say(format!("ETRN {domain}"))));
    }
    scripts
        .into_iter()
        .map(|script| script.quit().once())
        .collect()
}

fn judge(leg: &Leg<'_>, facts: &Facts, _: &Context<'_>) -> Finding {
    let turns = turns(leg, ID);
    let outcomes = turns
        .iter()
        .filter_map(|turn| outcome(turn, facts))
        .collect();
    finding(leg, ID, outcomes)
}

fn outcome(turn: &Turn<'_>, facts: &Facts) -> Option<Outcome> {
    let verb = turn.verb()?;
    let own = facts.is_own(&argument(&turn.exchange.said));
    let accepted = match verb {
        Verb::Xclient | Verb::Xforward => Outcome::fail(
            Severity::Critical,
            format!(
                "{} is accepted: anyone can pass for any client",
                verb.name()
            ),
        ),
        Verb::Etrn if own => Outcome::info("ETRN is accepted for its own domain"),
        Verb::Etrn => Outcome::warn("ETRN is accepted for a domain that is not its own"),
        _ => return None,
    };
    let outcome = match turn.class {
        Class::Accepted => accepted,
        // RFC 1985 §5.3: 458 and 459 are its refusals.
        Class::Transient if *verb == Verb::Etrn && matches!(turn.code(), Some(458 | 459)) => {
            Outcome::pass("ETRN is refused")
        }
        class if class.is_refusal() || class.is_end() => {
            Outcome::pass(format!("{} is refused", verb.name()))
        }
        _ => return turn.open(),
    };
    Some(outcome.seen(turn.evidence()))
}
