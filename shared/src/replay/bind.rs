//! Binding: values that differ from run to run are compared like renamed variables.
//!
//! The first time a recorded value is seen where the live side has another, the two
//! are bound. From then on the one must stand where the other stood, and for no other:
//!
//! ```text
//! S- 250 2.0.0 Ok: queued as 4F1bC2      S+ 250 2.0.0 Ok: queued as 7AA01c    bound
//! S- 250 2.0.0 4F1bC2 is on its way      S+ 250 2.0.0 7AA01c is on its way    the same
//! S- 250 2.0.0 Ok: queued as 4F1bC3      S+ 250 2.0.0 Ok: queued as 7AA01c    different
//! ```
//!
//! A mask over all ids would take the last two for the same.

use std::collections::{BTreeMap, HashMap};

use super::vary::{self, Name, Pattern, date, is_token, pieces, tokens};
use super::{Difference, Level, difference};
use crate::recording::Said;
use crate::reply::Reply;

/// A recorded value and what stands for it now.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Bound {
    /// What it is: `qid`, `host` and so on.
    pub name: String,
    /// As recorded.
    pub want: String,
    /// Now.
    pub got: String,
}

/// Everything bound in one session.
#[derive(Clone, Debug, Default)]
pub struct Bindings {
    patterns: Vec<Pattern>,
    tables: BTreeMap<Name, Table>,
}

/// The values of one name, one to one.
#[derive(Clone, Debug, Default)]
struct Table {
    live: HashMap<String, String>,
    recorded: HashMap<String, String>,
}

/// A shorter value is looked for only where it stands by structure: `1` is an id
/// there, and a number everywhere else.
const TELLING: usize = 4;

impl Bindings {
    /// Nothing is bound yet; values are found by structure and by these patterns.
    pub fn new(patterns: Vec<Pattern>) -> Self {
        Self {
            patterns,
            tables: BTreeMap::new(),
        }
    }

    /// Binds two values; says what is wrong if one of them is bound to another.
    pub fn bind(&mut self, name: &Name, want: &str, got: &str) -> Result<Bound, Difference> {
        let (want, got) = (name.fold(want), name.fold(got));
        let shown = |value: &str| format!("{name}={value}");
        let table = self.tables.entry(name.clone()).or_default();
        if let Some(bound) = table.live.get(&want).filter(|&bound| *bound != got) {
            return Err(difference("bind", &shown(bound), &shown(&got), Level::Fail));
        }
        let taken = table.recorded.get(&got).filter(|&other| *other != want);
        if let Some(other) = taken.filter(|_| !name.may_merge()) {
            let want = format!("{} (not that for {other})", shown(&want));
            return Err(difference("bind", &want, &shown(&got), Level::Fail));
        }
        table.live.insert(want.clone(), got.clone());
        table.recorded.insert(got.clone(), want.clone());
        Ok(Bound {
            name: name.to_string(),
            want,
            got,
        })
    }

    /// Binds what a command line has in common with the recorded one.
    pub fn said(&mut self, want: &[u8], got: &[u8]) {
        if let Some((name, want)) = vary::values_said(want)
            && let Some((now, got)) = vary::values_said(got)
            && name == now
        {
            // Both were said by us: whatever they are, they are meant.
            let _ = self.bind(&name, &want, &got);
        }
    }

    /// Looks at what two replies bind and at what is bound in them. Only what was
    /// recorded is looked for, so that other words are no difference.
    pub fn reply(
        &mut self,
        said: Option<&Said>,
        want: &Reply,
        got: &Reply,
    ) -> (Vec<Bound>, Vec<Difference>) {
        let (mut bound, mut found) = (Vec::new(), Vec::new());
        let mut live = vary::values(said, got, &self.patterns);
        for (name, value) in vary::values(said, want, &self.patterns) {
            let Some(at) = live.iter().position(|(other, _)| *other == name) else {
                continue;
            };
            let (_, now) = live.remove(at);
            match self.bind(&name, &value, &now) {
                Ok(one) => bound.push(one),
                Err(wrong) => found.push(wrong),
            }
        }
        if found.is_empty() {
            let again = self.recurring(&want.text(), &got.text());
            match again {
                Ok(again) => bound.extend(again),
                Err(wrong) => found.push(wrong),
            }
        }
        bound.retain(|one| one.want != one.got);
        bound.dedup();
        (bound, found)
    }

    /// What is bound must stand in the live text in the order it was recorded in.
    fn recurring(&self, want: &str, got: &str) -> Result<Vec<Bound>, Difference> {
        let mut bound: Vec<Bound> = Vec::new();
        for (name, table) in &self.tables {
            if !name.must_recur() {
                continue;
            }
            let telling = |token: &&str| token.len() >= TELLING;
            let live: Vec<&str> = tokens(got)
                .filter(telling)
                .filter(|token| table.recorded.contains_key(*token))
                .collect();
            let again = tokens(want).filter(telling).filter_map(|token| {
                let bound = table.live.get(token)?;
                Some((token, bound.as_str()))
            });
            let (recorded, expected): (Vec<&str>, Vec<&str>) = again.unzip();
            let mut rest = live.iter();
            let same = expected.iter().all(|one| rest.any(|now| now == one));
            if !same {
                let shown = |values: &[&str]| match values {
                    [] => "(none)".to_owned(),
                    values => format!("{name}={}", values.join(", ")),
                };
                return Err(difference(
                    "bind",
                    &shown(&expected),
                    &shown(&live),
                    Level::Fail,
                ));
            }
            let pairs = recorded.iter().zip(expected);
            bound.extend(pairs.map(|(want, got)| Bound {
                name: name.to_string(),
                want: (*want).to_owned(),
                got: got.to_owned(),
            }));
        }
        Ok(bound)
    }

    /// Compares the words of two replies after binding. White space and dates are all
    /// the same.
    pub fn text(&self, want: &Reply, got: &Reply) -> Option<Difference> {
        let (wanted, live) = (want.text(), got.text());
        let same = {
            let want: Vec<&str> = wanted.split_whitespace().collect();
            let got: Vec<&str> = live.split_whitespace().collect();
            self.same_words(&want, &got)
        };
        (!same).then(|| difference("text", &self.renamed(&wanted), &live, Level::Fail))
    }

    fn same_words(&self, mut want: &[&str], mut got: &[&str]) -> bool {
        while let (Some((first, rest)), Some((now, after))) =
            (want.split_first(), got.split_first())
        {
            let dates = (date(want), date(got));
            if dates.0 > 0 && dates.1 > 0 {
                want = want.get(dates.0..).unwrap_or_default();
                got = got.get(dates.1..).unwrap_or_default();
                continue;
            }
            let (one, other) = (pieces(first), pieces(now));
            let same = |(want, got): (&&str, &&str)| self.same_piece(want, got);
            if one.len() != other.len() || !one.iter().zip(&other).all(same) {
                return false;
            }
            (want, got) = (rest, after);
        }
        want.is_empty() && got.is_empty()
    }

    fn same_piece(&self, want: &str, got: &str) -> bool {
        match self.stands_for(want) {
            Some((name, bound)) => name.fold(got) == bound || (name.may_stay() && want == got),
            None => self
                .renamed_inside(want)
                .map_or(want == got, |now| now == got),
        }
    }

    /// A user's value may be a part of a token only.
    fn renamed_inside(&self, want: &str) -> Option<String> {
        let users = self
            .tables
            .iter()
            .filter(|(name, _)| matches!(name, Name::User(_)));
        let mut values = users.flat_map(|(_, table)| &table.live);
        let (before, now) =
            values.find(|(before, _)| before.len() >= TELLING && want.contains(*before))?;
        Some(want.replace(before, now))
    }

    /// What a recorded token is bound to.
    fn stands_for(&self, token: &str) -> Option<(&Name, &str)> {
        if !is_token(token) {
            return None;
        }
        self.tables.iter().find_map(|(name, table)| {
            let bound = table.live.get(&name.fold(token))?;
            Some((name, bound.as_str()))
        })
    }

    /// A recorded text as it should be now.
    fn renamed(&self, text: &str) -> String {
        let renamed = |piece: &&str| match self.stands_for(piece) {
            Some((name, bound)) if name.fold(piece) != bound => bound.to_owned(),
            _ => (*piece).to_owned(),
        };
        pieces(text).iter().map(renamed).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::sample::reply;
    use super::*;
    use crate::session::DataForm;

    fn content() -> Said {
        Said::Content {
            form: DataForm::Dot,
            wire: Vec::new(),
            complete: true,
            missing: 0,
        }
    }

    fn quit() -> Said {
        Said::Command {
            verb: crate::command::Verb::Quit,
            line: b"QUIT\r\n".to_vec(),
            redacted: false,
        }
    }

    /// The fields that differ, reply by reply, with the words compared or not.
    fn fields(replies: &[(Said, String, String)], words: bool) -> Vec<&'static str> {
        let mut bindings = Bindings::default();
        let mut fields = Vec::new();
        for (said, want, got) in replies {
            let (want, got) = (reply(want), reply(got));
            let (_, found) = bindings.reply(Some(said), &want, &got);
            fields.extend(found.iter().map(|one| one.field));
            if words && found.is_empty() {
                fields.extend(bindings.text(&want, &got).map(|one| one.field));
            }
        }
        fields
    }

    #[test]
    fn an_id_is_bound_on_first_sight_and_must_come_again() {
        let kept = |id: &str| format!("250 2.0.0 Ok: queued as {id}\r\n");
        let bye = |ids: &str| format!("221 2.0.0 bye, {ids}\r\n");
        let session = |first: &str, second: &str, last: &str| {
            [
                (content(), kept("AAAA1"), kept(first)),
                (content(), kept("AAAA2"), kept(second)),
                (quit(), bye("AAAA1 and AAAA2"), bye(last)),
            ]
        };
        let none: [&str; 0] = [];
        for words in [false, true] {
            let renamed = session("b001", "b002", "b001 and b002");
            assert_eq!(fields(&renamed, words), none);
            // Names may even change places, if they do so everywhere.
            let crossed = session("AAAA2", "AAAA1", "AAAA2 and AAAA1");
            assert_eq!(fields(&crossed, words), none);
            let swapped = session("b001", "b002", "b002 and b001");
            assert_eq!(fields(&swapped, words), ["bind"]);
            let twice = session("b001", "b001", "b001 and b001");
            // The second stays without one of its own.
            assert_eq!(fields(&twice, words)[0], "bind");
            let missing = session("b001", "b002", "b001");
            assert_eq!(fields(&missing, words), ["bind"]);
            let stale = session("b001", "b002", "AAAA1 and AAAA2");
            assert_eq!(fields(&stale, words), ["bind"]);
        }
        // Other words are no difference, unless they are asked for.
        let other = [
            (content(), kept("AAAA1"), kept("b001")),
            (quit(), bye("AAAA1"), "221 2.0.0 done with b001\r\n".into()),
        ];
        assert_eq!(fields(&other, false), none);
        assert_eq!(fields(&other, true), ["text"]);
    }

    #[test]
    fn hosts_and_addresses_are_bound_and_may_be_left_unsaid() {
        let mut bindings = Bindings::default();
        let hello = Said::Command {
            verb: crate::command::Verb::Ehlo,
            line: b"EHLO c.test\r\n".to_vec(),
            redacted: false,
        };
        let (want, got) = (
            reply("220 mx.test ESMTP\r\n"),
            reply("220 Other.test hi\r\n"),
        );
        let (bound, found) = bindings.reply(None, &want, &got);
        assert_eq!((bound.len(), found), (1, vec![]));
        let want = reply("250-mx.test hello c.test [192.0.2.1]\r\n250 SIZE 100\r\n");
        let got = reply("250-other.TEST hello c.test [127.0.0.1]\r\n250 SIZE 200\r\n");
        bindings.said(b"EHLO c.test\r\n", b"EHLO c.test\r\n");
        let (bound, found) = bindings.reply(Some(&hello), &want, &got);
        assert_eq!(found, []);
        let shown: Vec<String> = bound
            .iter()
            .map(|one| format!("{}={} / {}", one.name, one.want, one.got))
            .collect();
        assert_eq!(
            shown,
            [
                "host=mx.test / other.test",
                "peer=192.0.2.1 / 127.0.0.1",
                "size=100 / 200"
            ]
        );
        assert_eq!(bindings.text(&want, &got), None);
        let (want, got) = (reply("221 mx.test, 192.0.2.1\r\n"), reply("221 bye\r\n"));
        assert_eq!(bindings.reply(Some(&quit()), &want, &got), (vec![], vec![]));
        let wrong = reply("250 mx.test\r\n");
        let (_, found) = bindings.reply(Some(&hello), &want_host(), &wrong);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(
            (found[0].want.as_str(), found[0].got.as_str()),
            ("host=other.test", "host=mx.test")
        );
    }

    fn want_host() -> Reply {
        reply("250 mx.test\r\n")
    }

    #[test]
    fn rewritten_recipients_may_all_be_one() {
        let mut bindings = Bindings::default();
        for recorded in ["a@x.test", "b@x.test"] {
            let want = format!("RCPT TO:<{recorded}>\r\n");
            bindings.said(want.as_bytes(), b"RCPT TO:<sink@y.test>\r\n");
            let want = reply(&format!("250 2.1.5 <{recorded}>... ok\r\n"));
            let got = reply("250 2.1.5 <sink@y.test>... ok\r\n");
            assert_eq!(bindings.text(&want, &got), None);
            assert!(bindings.text(&want, &want).is_some());
        }
    }

    #[test]
    fn dates_and_white_space_are_all_the_same() {
        let bindings = Bindings::default();
        let want = reply("220 mx ESMTP Exim 4.98 Wed, 25 Nov 2026 01:47:02 +0000\r\n");
        let got = reply("220 mx  ESMTP Exim 4.98 Thu, 26 Nov 2026 09:00:00 +0100\r\n");
        assert_eq!(bindings.text(&want, &got), None);
        let got = reply("220 mx ESMTP Exim 4.97 Thu, 26 Nov 2026 09:00:00 +0100\r\n");
        let found = bindings.text(&want, &got).unwrap();
        assert_eq!((found.field, found.level), ("text", Level::Fail));
    }

    #[test]
    fn a_user_says_what_else_varies() {
        let patterns = vec!["ticket=ticket *".parse().unwrap()];
        let mut bindings = Bindings::new(patterns);
        let (want, got) = (reply("250 ticket one1\r\n"), reply("250 ticket two2\r\n"));
        let (bound, found) = bindings.reply(Some(&quit()), &want, &got);
        assert_eq!((bound.len(), found), (1, vec![]));
        assert_eq!(bindings.text(&want, &got), None);
        let (_, found) = bindings.reply(Some(&quit()), &want, &reply("250 ticket three\r\n"));
        assert_eq!(found[0].want, "ticket=two2");
        // Part of what would be a token without it.
        let mut bindings = Bindings::new(vec!["n=node-*".parse().unwrap()]);
        let (want, got) = (
            reply("250 node-alpha1 ok\r\n"),
            reply("250 node-beta2 ok\r\n"),
        );
        bindings.reply(Some(&quit()), &want, &got);
        assert_eq!(bindings.text(&want, &got), None);
        assert!(bindings.text(&want, &want).is_some());
    }

    /// Ids of one message each, and where a later reply names which.
    fn sessions() -> impl Strategy<Value = (Vec<String>, Vec<String>, Vec<usize>)> {
        (2..8usize).prop_flat_map(|count| {
            let ids = || proptest::collection::hash_set("[A-Z][A-Z0-9]{5,9}", count);
            let mentions = proptest::collection::vec(0..count, 2..12);
            (ids(), ids(), mentions).prop_map(|(recorded, live, mentions)| {
                (
                    recorded.into_iter().collect(),
                    live.into_iter().collect(),
                    mentions,
                )
            })
        })
    }

    fn played(
        recorded: &[String],
        live: &[String],
        mentions: &[usize],
        seen: &[usize],
    ) -> Vec<(Said, String, String)> {
        let kept = recorded.iter().zip(live).map(|(want, got)| {
            let line = |id: &str| format!("250 2.0.0 Ok: queued as {id}\r\n");
            (content(), line(want), line(got))
        });
        let named = mentions.iter().zip(seen).map(|(&want, &got)| {
            let line = |id: &str| format!("250 2.0.0 about {id}, as asked\r\n");
            (quit(), line(&recorded[want]), line(&live[got]))
        });
        kept.chain(named).collect()
    }

    proptest! {
        #[test]
        fn renaming_is_no_difference((recorded, live, mentions) in sessions()) {
            let replies = played(&recorded, &live, &mentions, &mentions);
            let none: [&str; 0] = [];
            prop_assert_eq!(fields(&replies, false), none);
            prop_assert_eq!(fields(&replies, true), none);
        }

        #[test]
        fn swapping_two_is_one(
            (recorded, live, mentions) in sessions(),
            at in any::<prop::sample::Index>(),
            by in any::<prop::sample::Index>(),
        ) {
            let mut seen = mentions.clone();
            let at = at.index(seen.len());
            seen[at] = (seen[at] + 1 + by.index(live.len() - 1)) % live.len();
            let replies = played(&recorded, &live, &mentions, &seen);
            prop_assert_eq!(fields(&replies, false), ["bind"]);
            prop_assert_eq!(fields(&replies, true), ["bind"]);
        }
    }
}
