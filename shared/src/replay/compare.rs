//! What differs between a recorded reply and a live one.

use super::{Difference, Level, Slowdown, difference};
use crate::command::Verb;
use crate::extension::Offered;
use crate::recording::{Answer, Ending, Handshake, Said};
use crate::reply::Reply;

/// What must be the same.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rules {
    /// Of the codes and the words.
    pub matching: Matching,
    /// Of the enhanced status codes.
    pub status: StatusRule,
    /// Of the number of lines.
    pub shape: Shape,
    /// How much slower a reply may come; `None` for however much.
    pub slowdown: Option<Slowdown>,
}

/// What of codes and words must be the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Matching {
    /// The first digit of the code.
    Class,
    /// All three.
    #[default]
    Exact,
    /// All three, and the words after binding.
    Text,
}

/// What of the enhanced status codes must be the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StatusRule {
    /// Nothing.
    Ignore,
    /// Both have the same one, or both have none.
    Strict,
    /// Where both have one it is the same; one that is missing is doubtful.
    #[default]
    Usual,
}

/// Where the numbers of lines must be the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shape {
    /// Everywhere.
    Strict,
    /// In the replies to EHLO, and in 214.
    #[default]
    Usual,
}

/// Compares the recorded answer with the live reply.
pub fn compare(
    said: &Said,
    want: Option<&Answer>,
    got: Option<&Reply>,
    rules: &Rules,
) -> Vec<Difference> {
    let wanted = want.and_then(|answer| answer.reply.as_ref());
    let (want, got) = match (wanted, got) {
        (Some(want), Some(got)) => (want, got),
        (None, None) => return Vec::new(),
        (want, got) => {
            let shown =
                |reply: Option<&Reply>| reply.map_or_else(|| "(none)".into(), Reply::to_string);
            return vec![difference("reply", &shown(want), &shown(got), Level::Fail)];
        }
    };
    let mut found = Vec::new();
    let same = match rules.matching {
        Matching::Exact | Matching::Text => want.code() == got.code(),
        Matching::Class => want.code().severity() == got.code().severity(),
    };
    if !same {
        found.push(difference("code", &want.code(), &got.code(), Level::Fail));
    }
    found.extend(compare_status(want, got, rules.status));
    let hello = matches!(said.verb(), Some(Verb::Ehlo | Verb::Lhlo));
    let hello = hello && want.code().is_positive() && got.code().is_positive();
    if hello {
        compare_offers(want, got, &mut found);
    }
    found.extend(compare_shape(want, got, rules.shape, hello, &found));
    found
}

fn compare_status(want: &Reply, got: &Reply, rule: StatusRule) -> Option<Difference> {
    let missing = match rule {
        StatusRule::Ignore => return None,
        StatusRule::Strict => Level::Fail,
        StatusRule::Usual => Level::Warn,
    };
    match (want.status(), got.status()) {
        (Some(want), Some(got)) if want != got => Some(difference("ec", &want, &got, Level::Fail)),
        (Some(want), None) => Some(difference("ec", &want, "(none)", missing)),
        (None, Some(got)) => Some(difference("ec", "(none)", &got, missing)),
        _ => None,
    }
}

/// The lines of a reply are how it is told; those of EHLO are keywords, and those of
/// HELP are what was asked for.
fn compare_shape(
    want: &Reply,
    got: &Reply,
    shape: Shape,
    hello: bool,
    found: &[Difference],
) -> Option<Difference> {
    let (before, now) = (want.lines().count(), got.lines().count());
    let help = [want, got].iter().all(|reply| reply.code().number() == 214);
    // A keyword more or less was told already.
    let told = found
        .iter()
        .any(|one| one.field == "ehlo" && one.level != Level::Warn);
    let counts = shape == Shape::Strict || help || hello;
    if before == now || !counts || told {
        return None;
    }
    let level = if hello && shape == Shape::Usual {
        Level::Warn
    } else {
        Level::Fail
    };
    Some(difference("lines", &before, &now, level))
}

/// Keywords as a set: missing is a fail, added is worth knowing, other
/// parameters are doubtful.
fn compare_offers(want: &Reply, got: &Reply, found: &mut Vec<Difference>) {
    let want = Offered::parse(want.lines().skip(1));
    let got = Offered::parse(got.lines().skip(1));
    let keyword = |line: &str| line.split([' ', '=']).next().unwrap_or("").to_owned();
    let words = |offered: &Offered, keyword: &str| {
        let mut words: Vec<String> = if keyword.eq_ignore_ascii_case("AUTH") {
            offered.auth_mechanisms()
        } else {
            offered
                .parameters(keyword)
                .map(|rest| rest.split(' ').map(str::to_ascii_uppercase).collect())
                .unwrap_or_default()
        };
        words.sort();
        words.join(" ")
    };
    for line in want.lines() {
        let keyword = keyword(line);
        if !got.has(&keyword) {
            found.push(difference("ehlo", line, "(not offered)", Level::Fail));
        } else if words(&want, &keyword) != words(&got, &keyword) {
            let now = got.parameters(&keyword).unwrap_or("");
            found.push(difference(
                "ehlo",
                line,
                &format!("{keyword} {now}"),
                Level::Warn,
            ));
        }
    }
    for line in got.lines() {
        if !want.has(&keyword(line)) {
            found.push(difference("ehlo", "(not offered)", line, Level::Info));
        }
    }
}

/// Compares a recorded handshake with a live one: the version must not be lower,
/// nor what the certificate proves less.
pub fn compare_tls(want: &Handshake, version: Option<&str>, verify: &str) -> Vec<Difference> {
    let mut found = Vec::new();
    let version = version.unwrap_or("(none)");
    if let Some(want) = &want.version
        && version < want.as_str()
    {
        found.push(difference("tls", want, version, Level::Fail));
    }
    if want.verify.as_deref() == Some("ok") && verify != "ok" {
        found.push(difference("tls", "certificate: ok", verify, Level::Fail));
    }
    found
}

/// Compares how a session ended. What a program of ours did to it, or a crash, tells
/// nothing of the server.
pub fn compare_close(want: &Ending, by: &str, how: &str) -> Option<Difference> {
    let known = |by: &str| matches!(by, "client" | "server");
    if !known(&want.by) || !known(by) {
        return None;
    }
    let shown = |by: &str, how: &str| format!("by {by}, {how}");
    let (before, now) = (shown(&want.by, &want.how), shown(by, how));
    if want.by != by {
        return Some(difference("close", &before, &now, Level::Fail));
    }
    // Whether a server that leaves resets depends on what it had not read yet.
    (want.how != how).then(|| difference("close", &before, &now, Level::Warn))
}

#[cfg(test)]
mod tests {
    use super::super::sample::{RECORDED, dialogue, reply};
    use super::*;
    use crate::recording::Exchange;

    #[test]
    fn replies_are_compared_by_rule() {
        let dialogue = dialogue(RECORDED);
        let hello = &dialogue.exchanges[0];
        let rules = |matching| Rules {
            matching,
            ..Rules::default()
        };
        let differences = |exchange: &Exchange, wire: &str, matching| {
            let found = compare(
                &exchange.said,
                exchange.answers.first(),
                Some(&reply(wire)),
                &rules(matching),
            );
            found
                .into_iter()
                .map(|one| (one.field, one.level))
                .collect::<Vec<_>>()
        };
        let exact = Matching::Exact;
        let same = "250-other\r\n250-SIZE 10\r\n250-AUTH LOGIN PLAIN\r\n250 PIPELINING\r\n";
        assert_eq!(differences(hello, same, exact), []);
        let other = "250-mx\r\n250-PIPELINING\r\n250-AUTH PLAIN\r\n250 DSN\r\n";
        assert_eq!(
            differences(hello, other, exact),
            [
                ("ehlo", Level::Warn),
                ("ehlo", Level::Fail),
                ("ehlo", Level::Info)
            ]
        );
        let rcpt = &dialogue.exchanges[2];
        assert_eq!(differences(rcpt, "550 5.1.1 who?\r\n", exact), []);
        assert_eq!(
            differences(rcpt, "550 who?\r\n", exact),
            [("ec", Level::Warn)]
        );
        assert_eq!(
            differences(rcpt, "554 5.7.1 no\r\n", exact),
            [("code", Level::Fail), ("ec", Level::Fail)]
        );
        assert_eq!(differences(rcpt, "551 5.1.1 no\r\n", Matching::Class), []);
        assert_eq!(
            differences(rcpt, "250 2.1.5 yes\r\n", Matching::Class),
            [("code", Level::Fail), ("ec", Level::Fail)]
        );
    }

    #[test]
    fn tls_must_not_get_worse() {
        let want = Handshake {
            version: Some("1.2".into()),
            verify: Some("ok".into()),
            ..Handshake::default()
        };
        assert_eq!(compare_tls(&want, Some("1.3"), "ok"), []);
        assert_eq!(compare_tls(&want, Some("1.1"), "expired").len(), 2);
        assert_eq!(compare_tls(&Handshake::default(), Some("1.2"), "none"), []);
    }

    fn fields(want: &str, got: &str, said: &Said, rules: &Rules) -> Vec<(&'static str, Level)> {
        let want = Answer {
            n: 1,
            at: crate::time::Timestamp::default(),
            took: None,
            wire: want.into(),
            reply: Some(reply(want)),
            deviations: Vec::new(),
        };
        let found = compare(said, Some(&want), Some(&reply(got)), rules);
        found.iter().map(|one| (one.field, one.level)).collect()
    }

    #[test]
    fn lines_are_counted_where_they_mean_something() {
        let command = |line: &str| Said::Command {
            verb: Verb::of(line.as_bytes()),
            line: line.into(),
            redacted: false,
        };
        let (usual, strict) = (
            Rules::default(),
            Rules {
                shape: Shape::Strict,
                ..Rules::default()
            },
        );
        let (one, two) = ("250 ok\r\n", "250-ok\r\n250 ok\r\n");
        let noop = command("NOOP\r\n");
        assert_eq!(fields(one, two, &noop, &usual), []);
        assert_eq!(fields(one, two, &noop, &strict), [("lines", Level::Fail)]);
        let (one, two) = ("214 no\r\n", "214-try\r\n214 man\r\n");
        let help = command("HELP\r\n");
        assert_eq!(fields(one, two, &help, &usual), [("lines", Level::Fail)]);
        let (one, two) = (
            "250-mx\r\n250 AUTH PLAIN\r\n",
            "250-mx\r\n250-AUTH PLAIN\r\n250 AUTH=PLAIN\r\n",
        );
        let hello = command("EHLO c\r\n");
        assert_eq!(fields(one, two, &hello, &usual), [("lines", Level::Warn)]);
        let more = "250-mx\r\n250-AUTH PLAIN\r\n250 DSN\r\n";
        assert_eq!(fields(one, more, &hello, &strict), [("ehlo", Level::Info)]);
    }

    #[test]
    fn enhanced_status_codes_have_rules_of_their_own() {
        let rules = |status| Rules {
            status,
            ..Rules::default()
        };
        let noop = Said::Command {
            verb: Verb::Noop,
            line: b"NOOP\r\n".to_vec(),
            redacted: false,
        };
        let (with, without, other) = ("250 2.0.0 ok\r\n", "250 ok\r\n", "250 2.1.0 ok\r\n");
        for (status, missing, different) in [
            (StatusRule::Ignore, None, None),
            (StatusRule::Usual, Some(Level::Warn), Some(Level::Fail)),
            (StatusRule::Strict, Some(Level::Fail), Some(Level::Fail)),
        ] {
            let level = |got| {
                let found = fields(with, got, &noop, &rules(status));
                found.first().map(|one| one.1)
            };
            assert_eq!((level(without), level(other)), (missing, different));
            assert_eq!(level(with), None);
        }
    }

    #[test]
    fn who_closed_is_compared_and_how() {
        let want = |by: &str, how: &str| Ending {
            n: 9,
            at: crate::time::Timestamp::default(),
            by: by.into(),
            how: how.into(),
        };
        let level = |want: &Ending, by: &str, how: &str| {
            compare_close(want, by, how).map(|one| (one.field, one.level))
        };
        let server = want("server", "fin");
        assert_eq!(level(&server, "server", "fin"), None);
        assert_eq!(
            level(&server, "server", "rst"),
            Some(("close", Level::Warn))
        );
        assert_eq!(
            level(&server, "client", "fin"),
            Some(("close", Level::Fail))
        );
        assert_eq!(level(&want("crash", "fin"), "server", "fin"), None);
        assert_eq!(level(&server, "timeout", "fin"), None);
    }
}
