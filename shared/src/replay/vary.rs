//! Where values stand that differ from run to run.
//!
//! They are found by structure: what stands at a place that RFC 5321 or the habits of
//! servers give to a name, an address or an id. [`Pattern`]s of the user say where
//! there are others. Dates are found too, and are all the same.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use crate::command::{Command, Verb};
use crate::recording::{Said, queue_id};
use crate::reply::Reply;

/// What a value is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Name {
    /// The argument of EHLO, HELO or LHLO.
    Helo,
    /// What the server calls itself in its greeting and in the reply to EHLO.
    Host,
    /// The Message-ID of content that was rewritten.
    MessageId,
    /// The client's address in the reply to EHLO.
    Peer,
    /// The queue id in the reply to the end of data.
    QueueId,
    /// A forward-path that was rewritten.
    Recipient,
    /// The size that EHLO announces (RFC 1870 §4).
    Size,
    /// Found by a pattern of that name.
    User(String),
}

impl Name {
    /// Where the recorded reply has it again, so must the live one, whatever its
    /// words: no server names an id by the way.
    pub(super) const fn must_recur(&self) -> bool {
        matches!(self, Self::MessageId | Self::QueueId | Self::User(_))
    }

    /// Two recorded values may be one now: that is what rewriting is for.
    pub(super) const fn may_merge(&self) -> bool {
        matches!(self, Self::Recipient)
    }

    /// A number that may also stand for something else.
    pub(super) const fn may_stay(&self) -> bool {
        matches!(self, Self::Size)
    }

    /// The value as it is compared: domains have no case.
    pub(super) fn fold(&self, value: &str) -> String {
        match self {
            Self::Helo | Self::Host | Self::Peer => value.to_ascii_lowercase(),
            _ => value.to_owned(),
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Helo => "helo",
            Self::Host => "host",
            Self::MessageId => "msgid",
            Self::Peer => "peer",
            Self::QueueId => "qid",
            Self::Recipient => "rcpt",
            Self::Size => "size",
            Self::User(name) => name,
        })
    }
}

/// Where a value stands, said by a user: `NAME=BEFORE*AFTER`. The star is a run of
/// letters, digits and `. _ - @ : + / %` between the two texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    name: String,
    before: String,
    after: String,
}

/// Why a text is no pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a varying value is written NAME=BEFORE*AFTER, with one * and some text beside it")]
pub struct NotAPattern;

impl FromStr for Pattern {
    type Err = NotAPattern;

    fn from_str(text: &str) -> Result<Self, NotAPattern> {
        let (name, pattern) = text.split_once('=').ok_or(NotAPattern)?;
        let (before, after) = pattern.split_once('*').ok_or(NotAPattern)?;
        let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        if name.is_empty() || !name.chars().all(word) || after.contains('*') {
            return Err(NotAPattern);
        }
        if before.is_empty() && after.is_empty() {
            return Err(NotAPattern);
        }
        Ok(Self {
            name: name.to_owned(),
            before: before.to_owned(),
            after: after.to_owned(),
        })
    }
}

impl Pattern {
    /// What the star stands for, everywhere in a text.
    fn values<'a>(&self, text: &'a str) -> Vec<&'a str> {
        let mut values = Vec::new();
        let mut rest = text;
        while let Some((value, after)) = self.next(rest) {
            values.push(value);
            rest = after;
        }
        values
    }

    fn next<'a>(&self, mut text: &'a str) -> Option<(&'a str, &'a str)> {
        loop {
            // Without a text before it, it begins where a word does.
            let begun = match self.before.as_str() {
                "" => text.find(in_token)?,
                before => text.find(before)? + before.len(),
            };
            let (_, from) = text.split_at_checked(begun)?;
            let run = from.find(|c| !in_token(c)).unwrap_or(from.len());
            // What follows may be made of the same characters.
            let end = match self.after.as_str() {
                // A full stop after it is none of its own.
                "" => from
                    .get(..run)
                    .map(|run| run.trim_end_matches(|c: char| !c.is_alphanumeric()).len()),
                after => from
                    .find(after)
                    .filter(|&end| end <= run)
                    .or_else(|| from.get(run..)?.starts_with(after).then_some(run)),
            };
            match end.filter(|&end| end > 0) {
                Some(end) => return from.split_at_checked(end),
                None if run == 0 => text = from,
                None => text = from.get(run..)?,
            }
        }
    }
}

/// Part of a token: of a name, an address, an id.
fn in_token(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '@' | ':' | '+' | '/' | '%')
}

/// The values in a reply, by the place where it stands; no `said` is the greeting.
pub(super) fn values(
    said: Option<&Said>,
    reply: &Reply,
    patterns: &[Pattern],
) -> Vec<(Name, String)> {
    let mut found = Vec::new();
    if reply.code().is_positive() {
        by_structure(said, reply, &mut found);
    }
    for pattern in patterns {
        let name = || Name::User(pattern.name.clone());
        let values = reply.lines().flat_map(|line| pattern.values(line));
        found.extend(values.map(|value| (name(), value.to_owned())));
    }
    found
}

fn by_structure(said: Option<&Said>, reply: &Reply, found: &mut Vec<(Name, String)>) {
    let greeting = said.is_none();
    let verb = said.and_then(Said::verb);
    let hello = matches!(verb, Some(Verb::Ehlo | Verb::Helo | Verb::Lhlo));
    if greeting || hello {
        let mut words = tokens(reply.first_line());
        // RFC 5321 §4.2, §4.1.1.1: the domain comes first.
        let host = words.next().filter(|host| !is_protocol(host));
        found.extend(host.map(|host| (Name::Host, host.to_owned())));
        let peers = words.filter(|word| is_address(word));
        found.extend(peers.map(|peer| (Name::Peer, peer.to_owned())));
    }
    if hello {
        let sizes = reply.lines().skip(1).filter_map(|line| {
            let (keyword, size) = line.split_once(' ')?;
            (keyword.eq_ignore_ascii_case("SIZE") && size != "0").then_some(size)
        });
        found.extend(sizes.map(|size| (Name::Size, size.trim().to_owned())));
    }
    if matches!(said, Some(Said::Content { .. })) {
        let text = reply.text();
        found.extend(queue_id(&text).map(|id| (Name::QueueId, id.to_owned())));
    }
}

/// What a command line has that may be said otherwise now.
pub(super) fn values_said(line: &[u8]) -> Option<(Name, String)> {
    match Command::parse(line).command.ok()? {
        Command::Ehlo(name) | Command::Helo(name) | Command::Lhlo(name) => Some((Name::Helo, name)),
        Command::Rcpt { forward_path, .. } => {
            let mailbox = forward_path.mailbox()?.to_string();
            Some((Name::Recipient, mailbox))
        }
        _ => None,
    }
}

fn is_protocol(word: &str) -> bool {
    ["SMTP", "ESMTP", "LMTP"]
        .iter()
        .any(|name| word.eq_ignore_ascii_case(name))
}

fn is_address(word: &str) -> bool {
    let word = word.strip_prefix("IPv6:").unwrap_or(word);
    word.parse::<IpAddr>().is_ok()
}

/// The tokens of a text, in order.
pub(super) fn tokens(text: &str) -> impl Iterator<Item = &str> {
    pieces(text).into_iter().filter(|piece| is_token(piece))
}

/// Whether a piece is a token, and not what stands between two.
pub(super) fn is_token(piece: &str) -> bool {
    piece.contains(char::is_alphanumeric)
}

/// A text cut into tokens and what stands between them.
pub(super) fn pieces(text: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let begun = rest.find(char::is_alphanumeric).unwrap_or(rest.len());
        // An address may begin with colons.
        let begun = if rest.get(..begun).is_some_and(|gap| gap.ends_with("::")) {
            begun.saturating_sub(2)
        } else {
            begun
        };
        let (gap, from) = rest.split_at_checked(begun).unwrap_or((rest, ""));
        let run = from.find(|c| !in_token(c)).unwrap_or(from.len());
        let (token, after) = from.split_at_checked(run).unwrap_or((from, ""));
        let whole = if is_address(token) {
            token.len()
        } else {
            token.trim_end_matches(|c: char| !c.is_alphanumeric()).len()
        };
        let (token, _) = token.split_at_checked(whole).unwrap_or((token, ""));
        pieces.extend([gap, token].into_iter().filter(|piece| !piece.is_empty()));
        let done = gap.len() + token.len();
        rest = if done == 0 {
            after
        } else {
            rest.get(done..).unwrap_or("")
        };
    }
    pieces
}

/// How many of these words are a date: RFC 5322 §3.3, as `ctime` prints it, or
/// RFC 3339.
pub(super) fn date(words: &[&str]) -> usize {
    let bare = |at: usize| {
        words
            .get(at)
            .map_or("", |word| word.trim_matches(PUNCTUATION))
    };
    let number = |at: usize, lengths: std::ops::RangeInclusive<usize>| {
        lengths.contains(&bare(at).len()) && bare(at).bytes().all(|octet| octet.is_ascii_digit())
    };
    let one_of = |at: usize, names: &[&str]| names.contains(&bare(at));
    let weekday = usize::from(one_of(0, &DAYS));
    if number(weekday, 1..=2)
        && one_of(weekday + 1, &MONTHS)
        && number(weekday + 2, 4..=4)
        && is_time(bare(weekday + 3))
    {
        return weekday + 4 + usize::from(is_zone(bare(weekday + 4)));
    }
    if weekday == 1 && one_of(1, &MONTHS) && number(2, 1..=2) && is_time(bare(3)) {
        let zone = usize::from(is_zone(bare(4)));
        return if number(4 + zone, 4..=4) { 5 + zone } else { 0 };
    }
    usize::from(chrono::DateTime::parse_from_rfc3339(bare(0)).is_ok())
}

fn is_time(word: &str) -> bool {
    let parts: Vec<&str> = word.split(':').collect();
    let two = |part: &&str| part.len() == 2 && part.bytes().all(|octet| octet.is_ascii_digit());
    (2..=3).contains(&parts.len()) && parts.iter().all(two)
}

/// `+0100` or `GMT`.
fn is_zone(word: &str) -> bool {
    let offset = word
        .strip_prefix(['+', '-'])
        .is_some_and(|digits| digits.len() == 4 && digits.bytes().all(|o| o.is_ascii_digit()));
    let named = (2..=5).contains(&word.len()) && word.bytes().all(|o| o.is_ascii_uppercase());
    offset || (named && !is_protocol(word))
}

const PUNCTUATION: [char; 7] = [',', ';', '(', ')', '[', ']', '.'];
const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

#[cfg(test)]
mod tests {
    use super::super::sample::reply;
    use super::*;
    use crate::session::DataForm;

    fn command(line: &str) -> Said {
        Said::Command {
            verb: Verb::of(line.as_bytes()),
            line: line.into(),
            redacted: false,
        }
    }

    fn found(said: Option<&Said>, wire: &str) -> Vec<String> {
        values(said, &reply(wire), &[])
            .into_iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect()
    }

    #[test]
    fn values_are_found_by_structure() {
        assert_eq!(found(None, "220 mx.test ESMTP\r\n"), ["host=mx.test"]);
        assert_eq!(found(None, "220 ESMTP\r\n"), [""; 0]);
        let hello = command("EHLO c.test\r\n");
        let wire = "250-mx.test Hello c.test [192.0.2.1]\r\n250-size 1000\r\n250 DSN\r\n";
        assert_eq!(
            found(Some(&hello), wire),
            ["host=mx.test", "peer=192.0.2.1", "size=1000"]
        );
        let wire = "250-mx.test hi [IPv6:2001:db8::1], at your service\r\n250 SIZE 0\r\n";
        assert_eq!(
            found(Some(&hello), wire),
            ["host=mx.test", "peer=IPv6:2001:db8::1"]
        );
        let content = Said::Content {
            form: DataForm::Dot,
            wire: Vec::new(),
            complete: true,
            missing: 0,
        };
        assert_eq!(
            found(Some(&content), "250 2.0.0 Ok: queued as 4F1bC2\r\n"),
            ["qid=4F1bC2"]
        );
        assert_eq!(
            found(Some(&content), "554 5.7.1 queued as 4F1bC2\r\n"),
            [""; 0]
        );
        let noop = command("NOOP\r\n");
        assert_eq!(
            found(Some(&noop), "250 2.0.0 queued as 4F1bC2\r\n"),
            [""; 0]
        );
    }

    #[test]
    fn a_text_is_cut_and_nothing_is_lost() {
        for (text, words) in [
            (
                "Ok: queued as 4F1bC2.",
                &["Ok", "queued", "as", "4F1bC2"][..],
            ),
            ("id=1tABCd-01-AbCd", &["id", "1tABCd-01-AbCd"]),
            ("<a@b.test>... (::1)", &["a@b.test", "::1"]),
            ("bye, mx.test.", &["bye", "mx.test"]),
            ("--- ", &[]),
            ("\u{fc}ber-gr\u{f6}\u{df}e!", &["\u{fc}ber-gr\u{f6}\u{df}e"]),
        ] {
            assert_eq!(pieces(text).concat(), text);
            assert_eq!(tokens(text).collect::<Vec<_>>(), words);
        }
    }

    #[test]
    fn patterns_say_where_else() {
        let values = |pattern: &str, text: &'static str| {
            let pattern: Pattern = pattern.parse().unwrap();
            pattern.values(text)
        };
        assert_eq!(values("t=ticket *", "ticket a-1, ticket  b"), ["a-1"]);
        assert_eq!(values("t=ticket *", "ticket a-1, ticket b2"), ["a-1", "b2"]);
        assert_eq!(
            values("t=<*@x>", "<one@x> <two@y> <three@x>"),
            ["one", "three"]
        );
        assert_eq!(values("t=* - gsmtp", "OK 17 ab.cd - gsmtp"), ["ab.cd"]);
        assert_eq!(values("t=ticket *", "ticket a-1."), ["a-1"]);
        assert_eq!(values("t=(*)", "() (\u{fc}) ("), ["\u{fc}"]);
        for wrong in ["t", "t=x", "=x*", "t=*", "t=a*b*", "a b=x*"] {
            assert_eq!(wrong.parse::<Pattern>(), Err(NotAPattern), "{wrong}");
        }
    }

    #[test]
    fn dates_are_seen() {
        for (text, length) in [
            ("Wed, 25 Nov 2026 01:47:02 +0000 x", 6),
            ("25 Nov 2026 01:47 GMT", 5),
            ("5 Nov 2026 01:47:02 ESMTP", 4),
            ("Wed Nov 25 01:47:02 2026", 5),
            ("Wed Nov 25 01:47:02 UTC 2026;", 6),
            ("2026-11-25T01:47:02Z.", 1),
            ("25 Nov", 0),
            ("Wed, 25", 0),
            ("ok", 0),
            ("", 0),
        ] {
            let words: Vec<&str> = text.split_whitespace().collect();
            assert_eq!(date(&words), length, "{text}");
        }
    }
}
