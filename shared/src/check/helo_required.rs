//! Nothing without EHLO or HELO (RFC 5321 §4.1.1.1).

use super::identity::{ROW, Welcome, judge as judge_each, up_to_rcpt};
use super::{Check, Context, Facts, Finding, Leg, Mta, On, Outcome, Script, Setting};
use crate::command::Verb;

const ID: &str = "helo-required";

pub(super) const CHECK: Check = Check {
    id: ID,
    question: "Is mail refused from a client that does not say EHLO or HELO?",
    references: &["RFC 5321 §4.1.1.1", "RFC 5321 §4.1.4"],
    remote: On::Judged("refused, with 503"),
    scripts,
    judge,
    cures: &[
        (Mta::Postfix, "smtpd_helo_required = yes"),
        (Mta::Exim, "hosts_require_helo = *, the default since 4.95"),
        (Mta::Sendmail, "needmailhelo in confPRIVACY_FLAGS"),
    ],
    ..ROW
};

fn scripts(setting: &Setting<'_>) -> Vec<Script> {
    let script = setting.facts.sender(setting.kind).and_then(|sender| {
        let script = Script::new(ID, "a").say(format!("MAIL FROM:<{sender}>"));
        Some(up_to_rcpt(script, setting.facts)?.say("RSET").quit())
    });
    script.into_iter().collect()
}

fn judge(leg: &Leg<'_>, _: &Facts, context: &Context<'_>) -> Finding {
    let which = |session: &[super::turn::Turn<'_>]| {
        let first = session.first()?;
        first.is(&Verb::Mail).then_some(())
    };
    let verdict = |(), welcome| match welcome {
        Welcome::Refused => Some(Outcome::pass(
            "a client that says nothing of itself is refused",
        )),
        Welcome::Accepted => Some(Outcome::warn(
            "a client that says nothing of itself is accepted",
        )),
        Welcome::Deferred => None,
    };
    judge_each(leg, ID, context, (which, verdict))
}
