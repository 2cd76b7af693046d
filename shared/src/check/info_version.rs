//! The exact version is nobody's business (RFC 5321 §7.5).

use super::turn::turns;
use super::{
    Check, Context, Evidence, Facts, Finding, Group, Leg, Mta, On, Outcome, Safety, Script,
    Setting, Severity, Stop,
};
use crate::command::Verb;
use crate::reply::Reply;

const ID: &str = "info-version";

pub(super) const CHECK: Check = Check {
    id: ID,
    group: Group::Enum,
    question: "Does the server keep its exact version to itself?",
    severity: Severity::Low,
    safety: Safety::Passive,
    stop: Stop::PreData,
    needs: "",
    references: &["RFC 5321 §7.5"],
    localhost: On::NotJudged,
    remote: On::Judged("no version in greeting, HELP or QUIT"),
    authenticated: On::Skip,
    scripts,
    judge,
    cures: &[
        (
            Mta::Postfix,
            "smtpd_banner without $mail_version, as by default",
        ),
        (Mta::Exim, "smtp_banner (Debian: MAIN_SMTP_BANNER)"),
        (Mta::Sendmail, "confSMTP_LOGIN_MSG, and an empty help file"),
    ],
};

fn scripts(setting: &Setting<'_>) -> Vec<Script> {
    let script = Script::new(ID, "a").ehlo(setting.facts.helo());
    vec![script.say("HELP").quit().once()]
}

fn judge(leg: &Leg<'_>, _: &Facts, _: &Context<'_>) -> Finding {
    let mut outcomes = Vec::new();
    let greeted = leg.dialogues_for(ID).into_iter().find_map(|(_, dialogue)| {
        let reply = dialogue.greeting.as_ref()?.reply.as_ref()?;
        Some((reply, Evidence::greeting(dialogue)))
    });
    outcomes.extend(greeted.map(|(reply, seen)| version("the greeting", reply).seen(seen)));
    for turn in turns(leg, ID) {
        let (Some(verb @ (Verb::Help | Verb::Quit)), Some(reply)) = (turn.verb(), turn.reply())
        else {
            continue;
        };
        let what = format!("the answer to {}", verb.name());
        outcomes.push(version(&what, reply).seen(turn.evidence()));
    }
    Finding::worst(outcomes, "not asked on this leg")
}

fn version(what: &str, reply: &Reply) -> Outcome {
    let text = reply.text();
    let words: Vec<&str> = text.split_whitespace().collect();
    let found = words.windows(2).find(|pair| {
        let [before, word] = pair else {
            return false;
        };
        before.starts_with(|c: char| c.is_ascii_alphabetic()) && is_version(word)
    });
    match found {
        Some(found) => Outcome::warn(format!("{what} tells the version: {}", found.join(" "))).advise(
            "look for advisories about it; a distribution may have mended what the number does not show",
        ),
        None => Outcome::pass(format!("{what} tells no version")),
    }
}

/// `4.96`, `8.17.1/8.17.1`, `3.7.11-RC1`; not an address, a time or a status code.
fn is_version(word: &str) -> bool {
    let word = word.trim_matches(['(', ')', ',', ';', '.']);
    let word = word.strip_prefix('v').unwrap_or(word);
    let head = word.split(['/', '-', '_', '+']).next().unwrap_or(word);
    let parts: Vec<&str> = head.split('.').collect();
    let numbers = parts
        .iter()
        .filter(|part| part.parse::<u16>().is_ok())
        .count();
    (2..=3).contains(&parts.len())
        && numbers >= 2
        && parts
            .first()
            .is_some_and(|part| part.parse::<u16>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_told_from_other_numbers() {
        for word in ["4.96", "(8.17.1/8.17.1)", "3.7.11-RC1", "v2.4"] {
            assert!(is_version(word), "{word}");
        }
        for word in [
            "192.0.2.1",
            "10:30:00",
            "5321",
            "a.b.c",
            "mx1.example.net",
            "",
        ] {
            assert!(!is_version(word), "{word}");
        }
    }
}
