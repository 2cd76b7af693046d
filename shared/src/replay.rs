//! Comparing a recorded dialogue with a live one.
//!
//! What is said again is the client's side; what is compared are the replies,
//! by their codes, their enhanced status codes, and what EHLO offers. Text is
//! not compared: it has queue ids, names and times in it.
//!
//! One difference is dangerous: a refusal was recorded, and the live server says
//! yes. [`Safety`] says what must be done about it, so that nothing is queued
//! and no command becomes the text of a message.

use std::time::Duration;

use crate::command::Verb;
use crate::extension::Offered;
use crate::recording::{Answer, Dialogue, Exchange, Said};
use crate::reply::{Reply, Severity};

/// What of the codes must be the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Matching {
    /// The first digit.
    Class,
    /// All three.
    Exact,
}

/// How much a difference matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Worth showing.
    Info,
    /// Doubtful.
    Warn,
    /// Not the same.
    Fail,
}

/// One difference between the recorded reply and the live one.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Difference {
    /// What differs: `code`, `ec`, `ehlo`, `reply`, `tls`.
    pub field: &'static str,
    /// What was recorded.
    pub want: String,
    /// What came.
    pub got: String,
    /// How much it matters.
    pub level: Level,
}

/// What must be done before anything else is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Safety {
    /// Nothing.
    GoOn,
    /// RSET, and on to the next transaction.
    Reset,
    /// Close the connection, without a final dot.
    Close,
}

/// Commands that the recorded client sent before it had the first one's reply.
#[derive(Clone, Copy, Debug)]
pub struct Group<'a> {
    /// They, in order.
    pub exchanges: &'a [Exchange],
}

/// Cuts a dialogue into groups that were sent without waiting.
pub fn groups(dialogue: &Dialogue) -> Vec<Group<'_>> {
    let exchanges = &dialogue.exchanges[..];
    let (mut groups, mut start) = (Vec::new(), 0);
    for (index, pair) in exchanges.windows(2).enumerate() {
        let [first, second] = pair else {
            continue;
        };
        let waited = match first.answers.last() {
            Some(answer) => answer.n < second.n,
            // No answer ever came: there was nothing to wait for.
            None => true,
        };
        let content = matches!(first.said, Said::Content { .. })
            || matches!(second.said, Said::Content { .. });
        if waited || content {
            groups.extend(
                exchanges
                    .get(start..=index)
                    .map(|exchanges| Group { exchanges }),
            );
            start = index + 1;
        }
    }
    groups.extend(
        exchanges
            .get(start..)
            .filter(|rest| !rest.is_empty())
            .map(|exchanges| Group { exchanges }),
    );
    groups
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

/// What a live reply demands, given what was recorded.
pub fn safety(said: &Said, want: Option<&Answer>, got: &Reply) -> Safety {
    let recorded = want.and_then(|answer| answer.reply.as_ref());
    let recorded_yes = recorded.is_some_and(|reply| !reply.code().is_refusal());
    let live_yes = !got.code().is_refusal();
    let in_transaction = matches!(
        said.verb(),
        Some(Verb::Mail | Verb::Rcpt | Verb::Data | Verb::Bdat)
    );
    match (recorded_yes, live_yes) {
        (true, true) | (false, false) => Safety::GoOn,
        // Recorded no, live yes.
        (false, true) if got.code().severity() == Severity::Intermediate => Safety::Close,
        (false, true) if said.verb() == Some(&Verb::Bdat) => Safety::Close,
        (false, true) if in_transaction => Safety::Reset,
        // Recorded yes, live no.
        (true, false) if in_transaction => Safety::Reset,
        _ => Safety::GoOn,
    }
}

/// The transaction that a step belongs to is over with it.
pub fn begins_anew(said: &Said) -> bool {
    matches!(
        said.verb(),
        Some(
            Verb::Mail
                | Verb::Ehlo
                | Verb::Helo
                | Verb::Lhlo
                | Verb::Quit
                | Verb::Rset
                | Verb::StartTls
        )
    )
}

/// How long a reply took, for a person.
pub fn shown(took: Option<u64>) -> String {
    took.map_or_else(String::new, |nanos| {
        format!("{:.2} ms", Duration::from_nanos(nanos).as_secs_f64() * 1e3)
    })
}

fn difference(
    field: &'static str,
    want: &(impl ToString + ?Sized),
    got: &(impl ToString + ?Sized),
    level: Level,
) -> Difference {
    Difference {
        field,
        want: want.to_string(),
        got: got.to_string(),
        level,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::Transcript;

    const RECORDED: &str = "\
S: 220 mx
C: EHLO a
S: 250-mx
S: 250-PIPELINING
S: 250-AUTH PLAIN LOGIN
S: 250 SIZE 10
C: MAIL FROM:<a@b>
C: RCPT TO:<c@d>
C: DATA
S: 250 2.1.0 ok
S: 550 5.1.1 no
S: 554 5.5.1 no
C: QUIT
S: 221 2.0.0 bye
";

    fn dialogue() -> Dialogue {
        let transcript: Transcript = RECORDED.parse().unwrap();
        let recording = transcript.record("127.0.0.1:1", "127.0.0.1:25").unwrap();
        recording.dialogues().remove(0)
    }

    fn reply(wire: &str) -> Reply {
        Reply::parse(wire.as_bytes()).unwrap()
    }

    #[test]
    fn groups_are_what_was_sent_without_waiting() {
        let dialogue = dialogue();
        let sizes: Vec<usize> = groups(&dialogue)
            .iter()
            .map(|group| group.exchanges.len())
            .collect();
        assert_eq!(sizes, [1, 3, 1]);
    }

    #[test]
    fn replies_are_compared_by_rule() {
        let dialogue = dialogue();
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
    fn a_live_yes_where_a_no_was_recorded_is_taken_back() {
        let dialogue = dialogue();
        let act = |index: usize, wire: &str| {
            let exchange = &dialogue.exchanges[index];
            safety(&exchange.said, exchange.answers.first(), &reply(wire))
        };
        assert_eq!(act(2, "250 yes\r\n"), Safety::Reset);
        assert_eq!(act(3, "354 go on\r\n"), Safety::Close);
        assert_eq!(act(1, "550 no\r\n"), Safety::Reset);
        assert_eq!(act(1, "250 yes\r\n"), Safety::GoOn);
        assert_eq!(act(2, "451 later\r\n"), Safety::GoOn);
    }
}
