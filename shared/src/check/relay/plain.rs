//! A foreign recipient, asked for plainly (RFC 2505 §2.1).

use super::{CURES, rule};
use crate::check::{Check, Context, Facts, Finding, Leg, LegKind, On, Script, Setting};

const ID: &str = "relay-plain";

pub(in crate::check) const CHECK: Check = Check {
    localhost: On::NotJudged,
    authenticated: On::Judged("accepted"),
    ..super::check(
        ID,
        "Is mail from strangers to strangers refused?",
        scripts,
        judge,
        (
            &["RFC 2505 §2.1", "RFC 5321 §3.6.2", "RFC 5321 §7.9"],
            CURES,
        ),
    )
};

fn scripts(setting: &Setting<'_>) -> Vec<Script> {
    let Some(foreign) = setting.facts.foreign_mailbox() else {
        return Vec::new();
    };
    let plain = setting.ask(ID, "a", &format!("<{foreign}>"));
    if setting.kind == LegKind::Localhost || setting.kind == LegKind::Authenticated {
        return plain.into_iter().collect();
    }
    let same = Script::new(ID, "b")
        .ehlo(setting.facts.helo())
        .say(format!("MAIL FROM:<{foreign}>"))
        .if_accepted(format!("RCPT TO:<{foreign}>"))
        .say("RSET")
        .quit();
    let silent = setting
        .offers("DSN")
        .then(|| setting.ask(ID, "c", &format!("<{foreign}> NOTIFY=NEVER")))
        .flatten();
    let bare = setting.ask(ID, "d", &foreign);
    plain
        .into_iter()
        .chain([same])
        .chain(silent)
        .chain(bare)
        .collect()
}

fn judge(leg: &Leg<'_>, facts: &Facts, context: &Context<'_>) -> Finding {
    rule::judge(ID, leg, facts, context)
}
