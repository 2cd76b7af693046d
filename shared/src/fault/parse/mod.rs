//! Reads rules. An error says where it is and what was expected there.

mod action;

use std::fmt;
use std::str::FromStr;

use super::condition::{Condition, Field, Pattern, Test};
use super::cursor::{Cursor, octets, pattern};
use super::rule::{Chance, Count, Key, Rule, Stage, When, Which};
use crate::quantity::{Octets, Period};

/// The longest rule, in octets.
pub const LONGEST: usize = 8192;

/// The most stages, conditions or actions of a rule.
pub const MOST: usize = 32;

/// The largest number of `first`, `nth` and `after` that are counted `within` a time.
pub const MOST_WITHIN: u64 = 1000;

/// The most octets that `garbage` says and a `drip` says at a time.
pub const MOST_OCTETS: u64 = 1 << 20;

/// Why a text is no rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("column {column}: {reason}")]
pub struct ParseError {
    /// Where, in characters from 1.
    pub column: usize,
    /// What is wrong there.
    pub reason: Reason,
}

/// What is wrong at a place of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// Something else was expected.
    Expected {
        /// What.
        what: &'static str,
        /// What stands there; nothing at the end.
        found: String,
    },
    /// A regular expression cannot be understood.
    Pattern(String),
    /// The action has no place at that stage.
    Misplaced {
        /// The action.
        action: &'static str,
        /// The stage.
        stage: &'static str,
    },
    /// Two actions that cannot both be done.
    Contrary {
        /// The one.
        one: &'static str,
        /// The other.
        other: &'static str,
    },
    /// More than is taken.
    TooMuch(&'static str),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expected { what, found } if found.is_empty() => {
                write!(f, "the rule ends where {what} is expected")
            }
            Self::Expected { what, found } => {
                write!(
                    f,
                    "'{}' stands where {what} is expected",
                    found.escape_debug()
                )
            }
            Self::Pattern(why) => write!(f, "the regular expression: {why}"),
            Self::Misplaced { action, stage } => write!(f, "{action} has no place at {stage}"),
            Self::Contrary { one, other } if one == other => write!(f, "{one} stands there twice"),
            Self::Contrary { one, other } => {
                write!(f, "{one} and {other} cannot be in one rule")
            }
            Self::TooMuch(what) => write!(f, "{what}"),
        }
    }
}

impl FromStr for Rule {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let mut parser = Parser::new(text)?;
        if !parser.cursor.keyword("on") {
            return Err(parser.expected("'on STAGE'"));
        }
        let when = parser.when()?;
        let conditions = if parser.cursor.keyword("if") {
            parser.conditions()?
        } else {
            Vec::new()
        };
        let count = parser.count()?;
        if !parser.cursor.symbol(':') {
            let what = match (conditions.is_empty(), count) {
                (true, None) => "'if', a count such as 'nth 1', or ':'",
                (false, None) => "'and', a count such as 'nth 1', or ':'",
                _ => "'per', 'within', 'for' or ':'",
            };
            return Err(parser.expected(what));
        }
        let actions = parser.actions(&when.stages)?;
        parser.end("';' and another action")?;
        Ok(Self {
            when,
            conditions,
            count,
            actions,
        })
    }
}

impl Rule {
    /// Reads a rule in its four parts, as a TOML table has them; an error says in
    /// which part it is.
    pub fn from_parts(
        when: &str,
        conditions: &str,
        count: &str,
        actions: &str,
    ) -> Result<Self, (&'static str, ParseError)> {
        let when = whole(when, "'@LISTENER' or the end", |parser| {
            parser.cursor.keyword("on");
            parser.when()
        });
        let when = when.map_err(|error| ("when", error))?;
        let conditions = if conditions.trim().is_empty() {
            Vec::new()
        } else {
            let read = whole(conditions, "'and' or the end", Parser::conditions);
            read.map_err(|error| ("if", error))?
        };
        let count = whole(count, "a count such as 'nth 1'", Parser::count);
        let count = count.map_err(|error| ("count", error))?;
        let actions = whole(actions, "';' and another action", |parser| {
            parser.actions(&when.stages)
        });
        Ok(Self {
            conditions,
            count,
            actions: actions.map_err(|error| ("do", error))?,
            when,
        })
    }
}

impl FromStr for Count {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let mut parser = Parser::new(text)?;
        let count = parser.count()?;
        let count = count.ok_or_else(|| parser.expected("a count such as 'nth 1'"))?;
        parser.end("'per', 'within' or 'for'")?;
        Ok(count)
    }
}

/// Reads all of a text.
fn whole<'a, T>(
    text: &'a str,
    more: &'static str,
    read: impl FnOnce(&mut Parser<'a>) -> Result<T, ParseError>,
) -> Result<T, ParseError> {
    let mut parser = Parser::new(text)?;
    let value = read(&mut parser)?;
    parser.end(more)?;
    Ok(value)
}

struct Parser<'a> {
    cursor: Cursor<'a>,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str) -> Result<Self, ParseError> {
        if text.len() > LONGEST {
            return Err(ParseError {
                column: 1,
                reason: Reason::TooMuch("a rule has at most 8192 octets"),
            });
        }
        Ok(Self {
            cursor: Cursor::new(text),
        })
    }

    fn expected(&self, what: &'static str) -> ParseError {
        self.wrong(Reason::Expected {
            what,
            found: self.cursor.shown(),
        })
    }

    fn wrong(&self, reason: Reason) -> ParseError {
        ParseError {
            column: self.cursor.column(),
            reason,
        }
    }

    fn end(&self, more: &'static str) -> Result<(), ParseError> {
        if self.cursor.is_at_end() {
            return Ok(());
        }
        Err(self.expected(more))
    }

    /// Reads something, or stays where it is and says what was expected.
    fn one<T>(
        &mut self,
        what: &'static str,
        read: impl FnOnce(&mut Cursor<'a>) -> Option<T>,
    ) -> Result<T, ParseError> {
        let before = self.cursor.clone();
        read(&mut self.cursor).ok_or_else(|| {
            self.cursor = before;
            self.expected(what)
        })
    }

    fn symbol(&mut self, symbol: char, what: &'static str) -> Result<(), ParseError> {
        self.one(what, |cursor| cursor.symbol(symbol).then_some(()))
    }

    fn parsed<T: FromStr>(&mut self, what: &'static str) -> Result<T, ParseError> {
        self.one(what, |cursor| cursor.word()?.parse().ok())
    }

    fn number(&mut self) -> Result<u64, ParseError> {
        self.parsed("a number")
    }

    fn positive(&mut self) -> Result<u64, ParseError> {
        let what = "a number from 1";
        self.one(what, |cursor| {
            cursor.word()?.parse().ok().filter(|&number| number > 0)
        })
    }

    fn period(&mut self) -> Result<Period, ParseError> {
        self.parsed("a time such as 250ms, 30s, 5m")
    }

    fn when(&mut self) -> Result<When, ParseError> {
        let mut stages = vec![self.stage()?];
        while self.cursor.symbol('|') {
            self.room(stages.len())?;
            stages.push(self.stage()?);
        }
        let listener = if self.cursor.symbol('@') {
            let what = "the name of a listener";
            Some(self.one(what, |cursor| {
                text(cursor).or_else(|| printable(cursor.word()?))
            })?)
        } else {
            None
        };
        Ok(When { stages, listener })
    }

    fn room(&self, count: usize) -> Result<(), ParseError> {
        if count < MOST {
            return Ok(());
        }
        Err(self.wrong(Reason::TooMuch("a rule has at most 32 of these")))
    }

    fn stage(&mut self) -> Result<Stage, ParseError> {
        let before = self.cursor.clone();
        let name = self.one("a stage", Cursor::word)?;
        let make: fn(&mut Self) -> Result<Stage, ParseError> = match name {
            "body-byte" => |parser| parser.positive().map(Stage::BodyByte),
            "body-line" => |parser| parser.positive().map(Stage::BodyLine),
            "idle" => |parser| parser.period().map(Stage::Idle),
            name => {
                return Stage::named(name).ok_or_else(|| {
                    self.cursor = before;
                    self.expected("a stage such as connect, ehlo, rcpt, dot")
                });
            }
        };
        self.symbol('(', "'('")?;
        let stage = make(self)?;
        self.symbol(')', "')'")?;
        Ok(stage)
    }

    fn conditions(&mut self) -> Result<Vec<Condition>, ParseError> {
        let mut conditions = vec![self.condition()?];
        while self.cursor.keyword("and") {
            self.room(conditions.len())?;
            conditions.push(self.condition()?);
        }
        Ok(conditions)
    }

    fn condition(&mut self) -> Result<Condition, ParseError> {
        let negated = self.cursor.keyword("not");
        let before = self.cursor.clone();
        let name = self.one("a condition", Cursor::word)?;
        let test = match name {
            "client" => {
                self.one("'in'", |cursor| cursor.keyword("in").then_some(()))?;
                let what = "an address or a network such as 192.0.2.0/24";
                self.one(what, |cursor| network(cursor.run(&['"'])?))
                    .map(Test::Client)
            }
            "header" => {
                let what = "the name of a header field";
                let name = self.one(what, |cursor| printable(cursor.word()?))?;
                self.pattern().map(|pattern| Test::Header(name, pattern))
            }
            "body" => self.pattern().map(Test::Body),
            "size" => self.more_than().map(Test::Size),
            "rcpts" => self.more_than().map(Test::Recipients),
            "open" => self.more_than().map(Test::Open),
            "tls" => self.yes_or_no().map(Test::Tls),
            "auth" => self.yes_or_no().map(Test::Auth),
            "session" => self.equals().map(Test::Session),
            "transaction" => self.equals().map(Test::Transaction),
            name => {
                let Some(field) = Field::named(name) else {
                    self.cursor = before;
                    return Err(self.expected("a condition such as to ~ \"RE\", size > N, tls yes"));
                };
                self.pattern().map(|pattern| Test::Matches(field, pattern))
            }
        }?;
        Ok(Condition { negated, test })
    }

    fn pattern(&mut self) -> Result<Pattern, ParseError> {
        self.symbol('~', "'~'")?;
        let before = self.cursor.clone();
        let what = "a regular expression in double quotes";
        let quoted = self.one(what, Cursor::quoted)?;
        Pattern::new(&pattern(quoted)).map_err(|why| {
            self.cursor = before;
            self.wrong(Reason::Pattern(why))
        })
    }

    fn more_than(&mut self) -> Result<u64, ParseError> {
        self.symbol('>', "'>'")?;
        let what = "a number, or a size such as 64K";
        self.one(what, |cursor| {
            cursor.word()?.parse().ok().map(|Octets(octets)| octets)
        })
    }

    fn equals(&mut self) -> Result<u64, ParseError> {
        self.symbol('=', "'='")?;
        self.number()
    }

    fn yes_or_no(&mut self) -> Result<bool, ParseError> {
        self.one("'yes' or 'no'", |cursor| match cursor.word()? {
            "yes" => Some(true),
            "no" => Some(false),
            _ => None,
        })
    }

    fn count(&mut self) -> Result<Option<Count>, ParseError> {
        let before = self.cursor.clone();
        let which = match self.cursor.word() {
            Some("first") => Which::First(self.positive()?),
            Some("nth") => Which::Nth(self.positive()?),
            Some("after") => Which::After(self.number()?),
            Some("every") => Which::Every(self.positive()?),
            Some("prob") => {
                let what = "a probability such as 0.05";
                Which::Chance(self.one(what, |cursor| chance(cursor.word()?))?)
            }
            _ => {
                self.cursor = before;
                return Ok(None);
            }
        };
        let per = if self.cursor.keyword("per") {
            let what = "client, helo, from, to, user, triplet, listener, session or transaction";
            Some(self.one(what, |cursor| Key::named(cursor.word()?))?)
        } else {
            None
        };
        let at_within = self.cursor.clone();
        let within = self.period_after("within")?;
        if within.is_some() {
            self.cursor_checked(at_within, which)?;
        }
        let lasts = self.period_after("for")?;
        Ok(Some(Count {
            which,
            per,
            within,
            lasts,
        }))
    }

    /// What is counted within a time is remembered one by one.
    fn cursor_checked(&mut self, at: Cursor<'a>, which: Which) -> Result<(), ParseError> {
        let what = match which {
            Which::First(most) | Which::Nth(most) | Which::After(most) if most > MOST_WITHIN => {
                "within a time, at most 1000 are counted"
            }
            Which::First(_) | Which::Nth(_) | Which::After(_) => return Ok(()),
            Which::Every(_) | Which::Chance(_) => "'within' goes with first, nth and after",
        };
        self.cursor = at;
        Err(self.wrong(Reason::TooMuch(what)))
    }

    fn period_after(&mut self, word: &str) -> Result<Option<Period>, ParseError> {
        if !self.cursor.keyword(word) {
            return Ok(None);
        }
        self.period().map(Some)
    }
}

/// A word without control characters.
fn printable(word: &str) -> Option<String> {
    let odd = word.chars().any(char::is_control);
    (!odd).then(|| word.to_owned())
}

/// A text of printable characters in double quotes.
fn text(cursor: &mut Cursor<'_>) -> Option<String> {
    let before = cursor.clone();
    let text = cursor.quoted().and_then(octets);
    let text = text.and_then(|octets| String::from_utf8(octets).ok());
    let text = text.filter(|text| !text.chars().any(char::is_control));
    if text.is_none() {
        *cursor = before;
    }
    text
}

fn network(text: &str) -> Option<ipnet::IpNet> {
    let address = || {
        text.parse::<std::net::IpAddr>()
            .ok()
            .map(ipnet::IpNet::from)
    };
    text.parse().ok().or_else(address)
}

/// Octets a second: `1024B/s`, `10K/s`, `10K`.
pub(super) fn rate(text: &str) -> Option<Octets> {
    let text = text.strip_suffix("/s").unwrap_or(text);
    let text = text.strip_suffix('B').unwrap_or(text);
    text.parse().ok().filter(|octets: &Octets| octets.0 > 0)
}

/// A probability from 0 to 1, with up to six decimals.
pub(super) fn chance(text: &str) -> Option<Chance> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|octet| octet.is_ascii_digit());
    if whole.is_empty() || decimals.len() > 6 || !digits(whole) || !digits(decimals) {
        return None;
    }
    let whole: u32 = whole.parse().ok().filter(|&whole| whole <= 1)?;
    let decimals: u32 = format!("{decimals:0<6}").parse().ok()?;
    Chance::millionths(whole * Chance::CERTAIN + decimals)
}

#[cfg(test)]
mod tests {
    use super::super::action::Action;
    use super::*;

    #[test]
    fn rules_are_read_and_printed() {
        for text in [
            r#"on rcpt if to ~ "^full@" : reply 452 4.2.2 "mailbox full""#,
            r#"on rcpt first 2 per triplet within 10m : reply 451 4.7.1 "try later""#,
            "on dot nth 1 : keep; no-reply; reset",
            "on body-byte(4096) prob 0.1 : reset",
            r#"on starttls @"mx" : inject-before-tls "250-AUTH PLAIN\r\n"; tls-cert expired"#,
            r#"on ehlo @"sub" : hide CHUNKING; advertise "SIZE 1000""#,
            "on connect if client in 2001:db8::/32 and not tls yes : close",
            "on mail|rcpt if size > 10 and rcpts > 3 and auth no every 2 : delay 1s..5s",
            r#"on dot if header Subject ~ "a\"b\\." and body ~ "x" : discard; label "it\"s""#,
            "on rcpt if session = 1 and transaction = 2 first 1 per client within 4h for 5m : defer",
            "on idle(30s) : garbage 10; half-close",
            "on any prob 1 : drip 1/500ms; throttle-in 1K/s; throttle-out 10/s; stall-read 5s",
            "on greeting : reply-split 3; reply-twice; tag slow; capture",
            "on greeting : reply-split 3 250ms; reply-truncate 0; hang",
            r#"on data : reply-raw "\x00\xff\r\n""#,
            r#"on data : reply-lines "a b.txt""#,
            "on data : early-reply",
            "on tls : tls-alert handshake-failure",
            "on tls : tls-close-after server-hello",
            "on tls : tls-version 1.2",
            "on quit : shutdown 5s",
            "on rcpt if open > 2 : reply 421",
        ] {
            let rule: Rule = text
                .parse()
                .unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(rule.to_string(), text);
        }
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "a table")]
    fn errors_say_where_and_what() {
        for (text, column, says) in [
            ("", 1, "the rule ends where 'on STAGE' is expected"),
            ("on", 3, "the rule ends where a stage is expected"),
            (
                "on lunch : close",
                4,
                "'lunch' stands where a stage such as",
            ),
            ("on rcpt close", 9, "'close' stands where 'if', a count"),
            (
                "on rcpt : clse",
                11,
                "'clse' stands where an action such as",
            ),
            ("on rcpt : close; ", 18, "the rule ends where an action"),
            (
                "on rcpt : close reset",
                17,
                "'reset' stands where ';' and another",
            ),
            (
                "on rcpt : close; reset",
                18,
                "close and reset cannot be in one rule",
            ),
            (
                "on rcpt : delay 5s; delay 1s",
                21,
                "delay stands there twice",
            ),
            ("on rcpt : hide DSN", 11, "hide has no place at rcpt"),
            (
                "on rcpt|dot-rcpt : no-reply",
                20,
                "no-reply has no place at dot-rcpt",
            ),
            (
                "on rcpt if to ~ full : close",
                17,
                "a regular expression in double",
            ),
            (
                "on rcpt if to ~ \"(\" : close",
                17,
                "the regular expression: unclosed",
            ),
            (
                "on rcpt if to : close",
                15,
                "':' stands where '~' is expected",
            ),
            (
                "on rcpt every 2 within 5s : close",
                17,
                "'within' goes with first",
            ),
            ("on rcpt first 2000 within 5s : close", 20, "at most 1000"),
            (
                "on rcpt first 0 : close",
                15,
                "'0' stands where a number from 1",
            ),
            ("on rcpt prob 2 : close", 14, "a probability such as 0.05"),
            ("on rcpt : reply 999", 17, "a reply code, 200 to 599"),
            ("on rcpt : delay 5s..1s", 17, "a time such as 5s, or two"),
            ("on rcpt : tls-hang", 11, "tls-hang has no place at rcpt"),
            (
                "on tls : tls-cert weak-key",
                19,
                "'weak-key' stands where a profile",
            ),
            ("on data : reply-raw \"\\q\"", 21, "octets in double quotes"),
            ("on body-byte(x) : close", 14, "a number from 1"),
            ("on idle : close", 9, "'(' is expected"),
            (
                "on rcpt @\0 : close",
                10,
                "'\\0' stands where the name of a listener",
            ),
        ] {
            let error = text.parse::<Rule>().unwrap_err();
            assert_eq!(error.column, column, "{text}: {error}");
            assert!(error.to_string().contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn what_stands_in_a_table_is_the_same_rule() {
        let rule = Rule::from_parts("rcpt @mx", "to ~ \"^a\" and tls no", "nth 2", "defer");
        let same = "on rcpt @mx if to ~ \"^a\" and tls no nth 2 : defer".parse();
        assert_eq!(rule.unwrap(), same.unwrap());
        let plain = Rule::from_parts("on rcpt", "", "", "defer").unwrap();
        assert_eq!(plain, "on rcpt:defer".parse().unwrap());
        for (parts, part, column) in [
            (["lunch", "", "", "close"], "when", 1),
            (["rcpt", "to", "", "close"], "if", 3),
            (["rcpt", "", "sometimes", "close"], "count", 1),
            (["rcpt", "", "", "close; reset"], "do", 8),
        ] {
            let [when, conditions, count, actions] = parts;
            let (where_, error) = Rule::from_parts(when, conditions, count, actions).unwrap_err();
            assert_eq!((where_, error.column), (part, column), "{error}");
        }
    }

    #[test]
    fn every_action_of_the_table_is_read() {
        for (name, ..) in Action::TABLE {
            let text = format!("on rcpt : {name}");
            let error = text.parse::<Rule>().err().map(|error| error.to_string());
            let unknown = error.is_some_and(|error| error.contains("an action such as"));
            assert!(!unknown, "{name}");
        }
    }
}
