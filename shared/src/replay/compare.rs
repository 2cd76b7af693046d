//! What differs between a recorded reply and a live one.

use super::{Difference, Level, difference};
use crate::command::Verb;
use crate::extension::Offered;
use crate::recording::{Answer, Handshake, Said};
use crate::reply::Reply;

/// What of the codes must be the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Matching {
    /// The first digit.
    Class,
    /// All three.
    Exact,
}

/// Compares the recorded answer with the live reply.
pub fn compare(
    said: &Said,
    want: Option<&Answer>,
    got: Option<&Reply>,
    matching: Matching,
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
    let same = match matching {
        Matching::Exact => want.code() == got.code(),
        Matching::Class => want.code().severity() == got.code().severity(),
    };
    if !same {
        found.push(difference("code", &want.code(), &got.code(), Level::Fail));
    }
    match (want.status(), got.status()) {
        (Some(want), Some(got)) if want != got => {
            found.push(difference("ec", &want, &got, Level::Fail));
        }
        (Some(want), None) => found.push(difference("ec", &want, "(none)", Level::Warn)),
        (None, Some(got)) => found.push(difference("ec", "(none)", &got, Level::Warn)),
        _ => {}
    }
    if matches!(said.verb(), Some(Verb::Ehlo | Verb::Lhlo)) {
        let positive = want.code().is_positive() && got.code().is_positive();
        if positive {
            compare_offers(want, got, &mut found);
        }
    }
    found
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

#[cfg(test)]
mod tests {
    use super::super::sample::{RECORDED, dialogue, reply};
    use super::*;
    use crate::recording::Exchange;

    #[test]
    fn replies_are_compared_by_rule() {
        let dialogue = dialogue(RECORDED);
        let hello = &dialogue.exchanges[0];
        let differences = |exchange: &Exchange, wire: &str, matching| {
            let found = compare(
                &exchange.said,
                exchange.answers.first(),
                Some(&reply(wire)),
                matching,
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
}
