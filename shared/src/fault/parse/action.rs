//! The actions of a rule.

use super::super::action::{Action, Alert, Group, Hello, Profile, Version};
use super::super::cursor::{Cursor, octets};
use super::super::rule::Stage;
use super::{MOST_OCTETS, ParseError, Parser, Reason, rate, text};
use crate::quantity::{Octets, Period};
use crate::reply::ReplyCode;

impl Parser<'_> {
    pub(super) fn actions(&mut self, stages: &[Stage]) -> Result<Vec<Action>, ParseError> {
        let mut actions: Vec<Action> = Vec::new();
        loop {
            self.room(actions.len())?;
            let before = self.cursor.clone();
            let action = self.action()?;
            if let Some(objection) = objection(&action, stages, &actions) {
                self.cursor = before;
                return Err(self.wrong(objection));
            }
            actions.push(action);
            if !self.cursor.symbol(';') {
                return Ok(actions);
            }
        }
    }

    fn action(&mut self) -> Result<Action, ParseError> {
        let before = self.cursor.clone();
        let name = self.one("an action", Cursor::word)?;
        let plain = Action::PLAIN.iter().find(|one| one.name() == name);
        if let Some(action) = plain {
            return Ok(action.clone());
        }
        match name {
            "reply" => self.reply(),
            "reply-lines" => self
                .text("the name of a file in double quotes")
                .map(Action::ReplyLines),
            "reply-raw" => self.octets().map(Action::ReplyRaw),
            "reply-split" => self.split(),
            "reply-truncate" => self.number().map(Action::ReplyTruncate),
            "delay" => self.delay(),
            "drip" => self.drip(),
            "throttle-in" => self.rate().map(Action::ThrottleIn),
            "throttle-out" => self.rate().map(Action::ThrottleOut),
            "stall-read" => self.period().map(Action::StallRead),
            "shutdown" => self.period().map(Action::Shutdown),
            "hide" => self.name("an EHLO keyword").map(Action::Hide),
            "advertise" => self
                .text("an EHLO line in double quotes")
                .map(Action::Advertise),
            "garbage" => self.few_octets().map(Action::Garbage),
            "tls-cert" => {
                let what = "a profile: expired, not-yet-valid, wrong-name, name-in-cn, \
                    unknown-ca, self-signed, missing-intermediate";
                self.one(what, |cursor| Profile::named(cursor.word()?))
                    .map(Action::TlsCert)
            }
            "tls-alert" => {
                let what = "an alert such as handshake-failure";
                self.one(what, |cursor| Alert::named(cursor.word()?))
                    .map(Action::TlsAlert)
            }
            "tls-close-after" => self.one("client-hello or server-hello", hello),
            "tls-version" => self.one("1.2 or 1.3", version),
            "inject-before-tls" => self.octets().map(Action::InjectBeforeTls),
            "tag" => self.name("a name").map(Action::Tag),
            "label" => self.text("a text in double quotes").map(Action::Label),
            _ => {
                self.cursor = before;
                Err(self.expected("an action such as reply 451, delay 5s, close"))
            }
        }
    }

    fn reply(&mut self) -> Result<Action, ParseError> {
        let what = "a reply code, 200 to 599";
        let code = self.one(what, |cursor| ReplyCode::new(cursor.word()?.parse().ok()?))?;
        let before = self.cursor.clone();
        let status = self.cursor.word().and_then(|word| word.parse().ok());
        if status.is_none() {
            self.cursor = before;
        }
        let text = text(&mut self.cursor);
        Ok(Action::Reply { code, status, text })
    }

    fn text(&mut self, what: &'static str) -> Result<String, ParseError> {
        self.one(what, text)
    }

    fn name(&mut self, what: &'static str) -> Result<String, ParseError> {
        let fits = |word: &&str| {
            let mut octets = word.bytes();
            octets.all(|octet| octet.is_ascii_alphanumeric() || b"-._".contains(&octet))
        };
        self.one(what, |cursor| cursor.word().filter(fits).map(str::to_owned))
    }

    fn octets(&mut self) -> Result<Vec<u8>, ParseError> {
        let what = "octets in double quotes, with \\r \\n \\t \\\" \\\\ \\xNN";
        self.one(what, |cursor| octets(cursor.quoted()?))
    }

    fn split(&mut self) -> Result<Action, ParseError> {
        let at = self.positive()?;
        let before = self.cursor.clone();
        let pause = self.cursor.word().and_then(|word| word.parse().ok());
        if pause.is_none() {
            self.cursor = before;
        }
        let pause = pause.unwrap_or_default();
        Ok(Action::ReplySplit { at, pause })
    }

    fn delay(&mut self) -> Result<Action, ParseError> {
        let what = "a time such as 5s, or two such as 1s..5s";
        self.one(what, |cursor| {
            let word = cursor.word()?;
            let (least, most) = word.split_once("..").unwrap_or((word, word));
            let (least, most): (Period, Period) = (least.parse().ok()?, most.parse().ok()?);
            (least <= most).then_some(Action::Delay { least, most })
        })
    }

    fn few_octets(&mut self) -> Result<u64, ParseError> {
        let before = self.cursor.clone();
        let octets = self.positive()?;
        if octets > MOST_OCTETS {
            self.cursor = before;
            return Err(self.wrong(Reason::TooMuch("at most 1048576 octets")));
        }
        Ok(octets)
    }

    fn drip(&mut self) -> Result<Action, ParseError> {
        self.one("octets and a time such as 1/500ms", |cursor| {
            let (octets, every) = cursor.word()?.split_once('/')?;
            let octets = octets.parse().ok().filter(|&count| count > 0)?;
            let every = every.parse().ok()?;
            Some(Action::Drip { octets, every })
        })
    }

    fn rate(&mut self) -> Result<Octets, ParseError> {
        self.one("a rate such as 1024B/s or 10K/s", |cursor| {
            rate(cursor.word()?)
        })
    }
}

impl Action {
    /// Those without arguments.
    const PLAIN: &[Self] = &[
        Self::ReplyTwice,
        Self::Accept,
        Self::Defer,
        Self::Reject,
        Self::Discard,
        Self::Keep,
        Self::Hang,
        Self::Close,
        Self::Reset,
        Self::HalfClose,
        Self::NoReply,
        Self::EarlyReply,
        Self::TlsHang,
        Self::Capture,
    ];
}

/// What there is against an action at these stages, behind those actions.
fn objection(action: &Action, stages: &[Stage], before: &[Action]) -> Option<Reason> {
    let nowhere = stages.iter().find(|stage| !action.fits(**stage));
    if let Some(stage) = nowhere {
        return Some(Reason::Misplaced {
            action: action.name(),
            stage: stage.name(),
        });
    }
    let group = action.group();
    let same = |other: &&Action| match group {
        Group::Many => false,
        Group::Alone => other.name() == action.name(),
        group => other.group() == group,
    };
    before.iter().find(same).map(|other| Reason::Contrary {
        one: other.name(),
        other: action.name(),
    })
}

fn hello(cursor: &mut Cursor<'_>) -> Option<Action> {
    let hello = match cursor.word()? {
        "client-hello" => Hello::Client,
        "server-hello" => Hello::Server,
        _ => return None,
    };
    Some(Action::TlsCloseAfter(hello))
}

fn version(cursor: &mut Cursor<'_>) -> Option<Action> {
    let version = match cursor.word()? {
        "1.2" => Version::V12,
        "1.3" => Version::V13,
        _ => return None,
    };
    Some(Action::TlsVersion(version))
}
