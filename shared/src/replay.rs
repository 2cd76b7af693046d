//! Comparing a recorded dialogue with a live one.
//!
//! What is said again is the client's side; what is compared are the replies,
//! by their codes, their enhanced status codes, and what EHLO offers, and the TLS
//! sessions. Text is not compared: it has queue ids, names and times in it.
//!
//! One difference is dangerous: a refusal was recorded, and the live server says
//! yes. [`Safety`] says what must be done about it, so that nothing is queued
//! and no command becomes the text of a message.

use std::time::Duration;

use crate::command::Verb;
use crate::extension::Offered;
use crate::recording::{Answer, Dialogue, Exchange, Handshake, Said};
use crate::reply::Reply;
use crate::session::DataForm;

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

/// What the recorded client sent before it waited for a reply.
#[derive(Clone, Copy, Debug)]
pub struct Group<'a> {
    /// It, in order.
    pub exchanges: &'a [Exchange],
}

/// Cuts a dialogue into groups that were sent without waiting. Mail data is always
/// a group of its own, so that it is said only after the go-ahead; BDAT begins one,
/// so that its content is said only after what was answered before.
pub fn groups(dialogue: &Dialogue) -> Vec<Group<'_>> {
    let mut groups = Vec::new();
    let mut rest = &dialogue.exchanges[..];
    while !rest.is_empty() {
        let pairs = rest.windows(2);
        let together = pairs
            .take_while(|pair| matches!(pair, [first, second] if !waited(first, second)))
            .count();
        let (exchanges, after) = rest.split_at((together + 1).min(rest.len()));
        groups.push(Group { exchanges });
        rest = after;
    }
    groups
}

/// The client waited after the first before it sent the second, or must wait now.
fn waited(first: &Exchange, second: &Exchange) -> bool {
    if is_chunk(first, second) {
        return false;
    }
    let content = |exchange: &Exchange| matches!(exchange.said, Said::Content { .. });
    let answered = match first.answers.last() {
        Some(answer) => answer.n < second.n,
        // No answer ever came: there was nothing to wait for.
        None => true,
    };
    answered || content(first) || content(second) || second.said.verb() == Some(&Verb::Bdat)
}

/// The second is the content of the BDAT that the first is.
fn is_chunk(first: &Exchange, second: &Exchange) -> bool {
    let chunk = matches!(
        second.said,
        Said::Content {
            form: DataForm::Bdat,
            ..
        }
    );
    chunk && first.said.verb() == Some(&Verb::Bdat)
}

impl Group<'_> {
    /// BDAT and its content: one without the other is never said.
    pub fn is_bdat(&self) -> bool {
        let first = self.exchanges.first();
        first.is_some_and(|first| first.said.verb() == Some(&Verb::Bdat))
    }
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

/// What a live reply demands, given what was recorded.
pub fn safety(said: &Said, want: Option<&Answer>, got: &Reply) -> Safety {
    let recorded = want.and_then(|answer| answer.reply.as_ref());
    let recorded_yes = recorded.is_some_and(|reply| !reply.code().is_refusal());
    let recorded_go_on = recorded.is_some_and(|reply| reply.code().is_intermediate());
    let live_yes = !got.code().is_refusal();
    let chunk = matches!(
        said,
        Said::Content {
            form: DataForm::Bdat,
            ..
        }
    );
    let bdat = chunk || said.verb() == Some(&Verb::Bdat);
    let in_transaction = bdat || matches!(said.verb(), Some(Verb::Mail | Verb::Rcpt | Verb::Data));
    match (recorded_yes, live_yes) {
        // The server waits for more, and what was recorded next is something else.
        _ if got.code().is_intermediate() && !recorded_go_on => Safety::Close,
        // What was recorded next is mail data, and the server does not wait for it.
        _ if recorded_go_on && !got.code().is_intermediate() => Safety::Reset,
        (true, true) | (false, false) => Safety::GoOn,
        // Recorded no, live yes: with BDAT the content is there already.
        (false, true) if bdat => Safety::Close,
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
        // Whoever waits for mail data takes commands for it.
        assert_eq!(act(1, "354 go on\r\n"), Safety::Close);
    }

    const CHUNKS: &str = "\
S: 220 mx
C: EHLO a
S: 250-mx
S: 250-PIPELINING
S: 250 CHUNKING
C: MAIL FROM:<a@b>
C: RCPT TO:<c@d>
C: BDAT 5
C| abc
S: 250 ok
S: 250 ok
S: 250 ok
C: BDAT 3 LAST
C| d
S: 552 no
C: MAIL FROM:<a@b>
S: 250 ok
C: DATA
S: 354 go on
C| x
C| .
S: 250 kept
";

    #[test]
    fn mail_data_is_said_only_after_what_allows_it() {
        let transcript: Transcript = CHUNKS.parse().unwrap();
        let recording = transcript.record("127.0.0.1:1", "127.0.0.1:25").unwrap();
        let dialogue = recording.dialogues().remove(0);
        let groups = groups(&dialogue);
        let sizes: Vec<usize> = groups.iter().map(|group| group.exchanges.len()).collect();
        assert_eq!(sizes, [1, 2, 2, 2, 1, 1, 1]);
        let bdat: Vec<bool> = groups.iter().map(Group::is_bdat).collect();
        assert_eq!(bdat, [false, false, true, true, false, false, false]);
        let act = |index: usize, wire: &str| {
            let exchange = &dialogue.exchanges[index];
            safety(&exchange.said, exchange.answers.first(), &reply(wire))
        };
        // The chunks, and then DATA.
        assert_eq!(act(4, "250 ok\r\n"), Safety::GoOn);
        assert_eq!(act(4, "452 full\r\n"), Safety::Reset);
        assert_eq!(act(6, "250 ok\r\n"), Safety::Close);
        assert_eq!(act(8, "250 ok\r\n"), Safety::Reset);
        assert_eq!(act(8, "554 no\r\n"), Safety::Reset);
        assert_eq!(act(9, "554 no\r\n"), Safety::GoOn);
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
