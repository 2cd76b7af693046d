//! The order in which a leg is asked.
//!
//! One connection per case, since servers count errors per connection and drop
//! it when there are too many. The ordinary local recipient is asked for first,
//! after each group and at the end: without it no refusal means anything.

use super::{ALL, BASELINE, Facts, Group, LegKind, Script, Setting};

/// The scripts of a leg in the order to play them.
///
/// `offered` are the lines of the EHLO reply after the first, as far as known.
/// Facts that are missing leave out the scripts that need them. On an
/// authenticated leg play [`Script::authenticated`] of each.
pub fn plan(kind: LegKind, facts: &Facts, offered: &[String]) -> Vec<Script> {
    let setting = Setting {
        facts,
        kind,
        offered,
    };
    let mut scripts: Vec<Script> = Vec::new();
    let mut group: Option<Group> = None;
    for check in ALL {
        if check.on(kind) == super::On::Skip {
            continue;
        }
        let cases = (check.scripts)(&setting);
        if cases.is_empty() {
            continue;
        }
        if group.is_some_and(|group| group != check.group && group != Group::Conn) {
            scripts.extend(baseline(&setting));
        }
        group = Some(check.group);
        scripts.extend(cases);
    }
    scripts.extend(baseline(&setting));
    scripts
}

/// EHLO, MAIL and RCPT for the ordinary local recipient.
fn baseline(setting: &Setting<'_>) -> Option<Script> {
    let facts = setting.facts;
    let script = Script::new(BASELINE, "a")
        .ehlo(facts.helo())
        .say(format!("MAIL FROM:<{}>", facts.sender(setting.kind)?))
        .if_accepted(format!("RCPT TO:<{}>", facts.local_mailbox()?));
    Some(script.say("RSET").quit())
}
