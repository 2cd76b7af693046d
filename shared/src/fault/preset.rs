//! What may be said in place of a rule: a preset or a named failure, with arguments.
//!
//! `greylist(delay=5m,window=4h)` is a preset, `lost-ack` and `lost-ack(nth 1)` name a
//! failure. Both stand for rules, and nothing else: what a name does can be read there.

use std::str::FromStr;

use super::action::Action;
use super::catalogue::{self, Failure};
use super::condition::Pattern;
use super::parse::{self, ParseError};
use super::rule::{Count, Key, Rule, Stage};
use crate::quantity::{Octets, Period};

/// A preset.
#[derive(Debug)]
pub struct Preset {
    /// Its name.
    pub name: &'static str,
    /// How it is written, with the arguments it has by default.
    pub usage: &'static str,
    /// What it does.
    pub says: &'static str,
    expand: fn(&Arguments<'_>) -> Option<Vec<String>>,
}

/// What was said: a rule, a preset or a named failure; and the rules that it stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The name of the preset or the failure; empty for a rule.
    pub name: String,
    /// The rules.
    pub rules: Vec<Rule>,
}

/// Why a text is no fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FaultError {
    /// It is no rule.
    #[error(transparent)]
    Rule(#[from] ParseError),
    /// There is no such name.
    #[error("'{0}' is neither a rule ('on STAGE …') nor the name of a preset or a failure")]
    Unknown(String),
    /// The arguments are not the preset's.
    #[error("column {column}: '{given}' are no arguments of {usage}")]
    Arguments {
        /// Where they begin, in characters from 1.
        column: usize,
        /// What was given.
        given: String,
        /// How it is written.
        usage: String,
    },
}

/// All presets.
pub const ALL: &[Preset] = &[
    Preset {
        name: "greylist",
        usage: "greylist(delay=5m, window=4h)",
        says: "refuses each new triplet of client, sender and recipient for a time",
        expand: greylist,
    },
    Preset {
        name: "ratelimit",
        usage: "ratelimit(10/1m per from, 421 4.7.0)",
        says: "refuses what is more than so many in a time, for each sender, client or other key",
        expand: ratelimit,
    },
    Preset {
        name: "quota",
        usage: "quota(bytes=10M, 552 5.2.2)",
        says: "refuses messages larger than that",
        expand: quota,
    },
    Preset {
        name: "tarpit",
        usage: "tarpit(1s..5s)",
        says: "delays every reply",
        expand: tarpit,
    },
    Preset {
        name: "flaky",
        usage: "flaky(p=0.05)",
        says: "refuses for now, by chance",
        expand: flaky,
    },
    Preset {
        name: "slow-link",
        usage: "slow-link(1024B/s)",
        says: "is slow in both directions",
        expand: slow_link,
    },
    Preset {
        name: "full-mailbox",
        usage: "full-mailbox(^full@)",
        says: "has no room for recipients that match",
        expand: full_mailbox,
    },
    Preset {
        name: "unknown-user",
        usage: "unknown-user(^unknown@)",
        says: "does not know recipients that match",
        expand: unknown_user,
    },
    Preset {
        name: "blocklist",
        usage: "blocklist(127.0.0.0/8)",
        says: "refuses these clients",
        expand: blocklist,
    },
    Preset {
        name: "busy",
        usage: "busy(max-conns=2)",
        says: "refuses more sessions than that for now",
        expand: busy,
    },
    Preset {
        name: "no-esmtp",
        usage: "no-esmtp",
        says: "knows no EHLO",
        expand: |arguments| {
            arguments.rules(&["on ehlo : reply 500 5.5.1 \"command not recognized\""])
        },
    },
    Preset {
        name: "pix",
        usage: "pix",
        says: "is behind a firewall that masks the greeting and the extensions",
        expand: |arguments| {
            arguments.rules(&[
                "on greeting : reply-raw \"220 *************************************\\r\\n\"",
                "on ehlo : hide PIPELINING; hide STARTTLS; hide CHUNKING; hide BINARYMIME; hide DSN; hide DELIVERBY; hide MT-PRIORITY; hide LIMITS; advertise \"XXXXXXXA\"; advertise \"XXXXXXXB\"",
            ])
        },
    },
    Preset {
        name: "jim",
        usage: "jim",
        says: "has the odds of MailHog's Jim",
        expand: |arguments| {
            arguments.rules(&[
                "on connect prob 0.01 : close",
                "on any prob 0.005 : close",
                "on connect prob 0.1 : throttle-in 5K/s; throttle-out 5K/s",
                "on mail prob 0.05 : reject",
                "on rcpt prob 0.05 : reject",
                "on auth prob 0.05 : reject",
            ])
        },
    },
    Preset {
        name: "exchange-like",
        usage: "exchange-like",
        says: "offers what Microsoft Exchange does, and takes 200 recipients",
        expand: |arguments| {
            arguments.rules(&[
                "on greeting : reply 220 \"mx.example.test Microsoft ESMTP MAIL Service ready\"",
                "on ehlo : hide DELIVERBY; hide MT-PRIORITY; hide LIMITS; advertise \"SIZE 37748736\"; advertise \"X-ANONYMOUSTLS\"; advertise \"XRDST\"",
                "on rcpt if rcpts > 199 : reply 452 4.5.3 \"Too many recipients\"",
            ])
        },
    },
    Preset {
        name: "gmail-like",
        usage: "gmail-like",
        says: "offers what Gmail does, and takes 100 recipients",
        expand: |arguments| {
            arguments.rules(&[
                "on greeting : reply 220 \"mx.example.test ESMTP - gsmtp\"",
                "on ehlo : hide DSN; hide BINARYMIME; hide DELIVERBY; hide MT-PRIORITY; hide LIMITS; advertise \"SIZE 157286400\"",
                "on rcpt if rcpts > 99 : reply 452 4.5.3 \"Your message has too many recipients.\"",
            ])
        },
    },
];

/// The preset of that name.
pub fn named(name: &str) -> Option<&'static Preset> {
    ALL.iter().find(|preset| preset.name == name)
}

impl FromStr for Fault {
    type Err = FaultError;

    fn from_str(text: &str) -> Result<Self, FaultError> {
        let text = text.trim();
        let name = text.split([' ', '\t', '(']).next().unwrap_or_default();
        if name == "on" {
            return Ok(Self {
                name: String::new(),
                rules: vec![text.parse()?],
            });
        }
        let inner = text.get(name.len()..).unwrap_or_default().trim();
        let given = match inner
            .strip_prefix('(')
            .and_then(|one| one.strip_suffix(')'))
        {
            Some(given) => given.trim(),
            None if inner.is_empty() => "",
            None => return Err(wrong(text, inner, name)),
        };
        let (usage, rules) = match (named(name), catalogue::named(name)) {
            (Some(preset), _) => (preset.usage, preset.rules(given)),
            (None, Some(failure)) => ("NAME, NAME(nth 1) or NAME(5s)", failure.with(given)),
            (None, None) => return Err(FaultError::Unknown(excerpt(name))),
        };
        Ok(Self {
            name: name.to_owned(),
            rules: rules.ok_or_else(|| wrong(text, given, usage))?,
        })
    }
}

fn wrong(text: &str, given: &str, usage: &str) -> FaultError {
    let at = text.rfind(given).unwrap_or(0);
    let before = text.get(..at).unwrap_or_default();
    FaultError::Arguments {
        column: before.chars().count() + 1,
        given: excerpt(given),
        usage: usage.to_owned(),
    }
}

fn excerpt(text: &str) -> String {
    let shown: String = text.chars().take(60).collect();
    shown.escape_debug().to_string()
}

impl Preset {
    /// The rules with these arguments; none if they are not its arguments.
    pub fn rules(&self, given: &str) -> Option<Vec<Rule>> {
        let rules = (self.expand)(&Arguments::split(given))?;
        let rules = rules.iter().map(|rule| rule.parse().ok());
        rules.collect()
    }
}

impl Failure {
    /// Its rules, with what was given in place of their own: a time for their delay, a
    /// number for the octet of the content, or a count.
    pub fn with(&self, given: &str) -> Option<Vec<Rule>> {
        let rules = self.rules.iter().map(|rule| rule.parse().ok());
        let mut rules: Vec<Rule> = rules.collect::<Option<_>>()?;
        if given.is_empty() {
            return Some(rules);
        }
        let [rule] = rules.as_mut_slice() else {
            return None;
        };
        if let Ok(count) = given.parse::<Count>() {
            rule.count = Some(count);
        } else if let (Some(Action::Delay { least, most }), Ok(period)) =
            (rule.actions.first_mut(), given.parse::<Period>())
        {
            (*least, *most) = (period, period);
        } else if let (Some(Stage::BodyByte(octet)), Ok(at @ 1..)) =
            (rule.when.stages.first_mut(), given.parse::<u64>())
        {
            *octet = at;
        } else {
            return None;
        }
        Some(rules)
    }
}

/// What stands between the parentheses, cut at commas.
struct Arguments<'a>(Vec<&'a str>);

impl<'a> Arguments<'a> {
    fn split(given: &'a str) -> Self {
        let parts = given.split(',').map(str::trim);
        Self(parts.filter(|part| !part.is_empty()).collect())
    }

    /// These rules, if there are no arguments.
    fn rules(&self, rules: &[&str]) -> Option<Vec<String>> {
        let rules = rules.iter().map(|&rule| rule.to_owned());
        self.0.is_empty().then(|| rules.collect())
    }

    /// The only argument, with or without its name.
    fn only(&self, name: &str, default: &'a str) -> Option<&'a str> {
        match self.0.as_slice() {
            [] => Some(default),
            [one] => Some(unnamed(one, name)),
            _ => None,
        }
    }

    /// The first argument and the reply in the second.
    fn with_reply(&self, defaults: [&'a str; 2]) -> Option<[&'a str; 2]> {
        let [first, reply] = defaults;
        match self.0.as_slice() {
            [] => Some([first, reply]),
            [first] => Some([first, reply]),
            [first, reply] => Some([first, reply]),
            _ => None,
        }
    }
}

fn unnamed<'a>(argument: &'a str, name: &str) -> &'a str {
    let value = argument.strip_prefix(name);
    let value = value.and_then(|rest| rest.trim_start().strip_prefix('='));
    value.map_or(argument, str::trim)
}

fn greylist(arguments: &Arguments<'_>) -> Option<Vec<String>> {
    let (mut delay, mut window) = (Period::seconds(300), Period::seconds(4 * 3600));
    for (index, argument) in arguments.0.iter().enumerate() {
        let (name, value) = argument.split_once('=').unwrap_or(("", argument));
        match (name.trim(), index) {
            ("delay", _) | ("", 0) => delay = value.trim().parse().ok()?,
            ("window", _) | ("", 1) => window = value.trim().parse().ok()?,
            _ => return None,
        }
    }
    Some(vec![format!(
        "on rcpt first 1 per triplet within {window} for {delay} : reply 451 4.7.1 \"greylisted, try again later\""
    )])
}

fn ratelimit(arguments: &Arguments<'_>) -> Option<Vec<String>> {
    let [rate, reply] = arguments.with_reply(["10/1m per from", "421 4.7.0"])?;
    let (rate, key) = rate.split_once(" per ").unwrap_or((rate, "client"));
    let (most, within) = rate.split_once('/')?;
    let (most, within): (u64, Period) = (most.trim().parse().ok()?, within.trim().parse().ok()?);
    let key = Key::named(key.trim())?;
    let stage = match key {
        Key::To | Key::Triplet => "rcpt",
        _ => "mail",
    };
    Some(vec![format!(
        "on {stage} after {most} per {} within {within} : reply {reply} \"rate limit exceeded\"",
        key.name()
    )])
}

fn quota(arguments: &Arguments<'_>) -> Option<Vec<String>> {
    let [bytes, reply] = arguments.with_reply(["10M", "552 5.2.2"])?;
    let Octets(most) = unnamed(bytes, "bytes").parse().ok()?;
    Some(vec![format!(
        "on mail|dot if size > {most} : reply {reply} \"over quota\""
    )])
}

fn tarpit(arguments: &Arguments<'_>) -> Option<Vec<String>> {
    let delay = arguments.only("delay", "1s..5s")?;
    Some(vec![format!("on any : delay {delay}")])
}

fn flaky(arguments: &Arguments<'_>) -> Option<Vec<String>> {
    let chance = parse::chance(arguments.only("p", "0.05")?)?;
    Some(vec![format!("on mail|rcpt|dot prob {chance} : defer")])
}

fn slow_link(arguments: &Arguments<'_>) -> Option<Vec<String>> {
    let rate = parse::rate(arguments.only("rate", "1024B/s")?)?;
    Some(vec![format!(
        "on connect : throttle-in {rate}/s; throttle-out {rate}/s"
    )])
}

fn full_mailbox(arguments: &Arguments<'_>) -> Option<Vec<String>> {
    let to = recipient(arguments, "^full@")?;
    Some(vec![format!(
        "on rcpt if to ~ {to} : reply 452 4.2.2 \"mailbox full\""
    )])
}

fn unknown_user(arguments: &Arguments<'_>) -> Option<Vec<String>> {
    let to = recipient(arguments, "^unknown@")?;
    Some(vec![format!(
        "on rcpt if to ~ {to} : reply 550 5.1.1 \"no such mailbox\""
    )])
}

/// A regular expression, as it stands in a rule.
fn recipient(arguments: &Arguments<'_>, default: &str) -> Option<String> {
    let given = match arguments.0.as_slice() {
        [] => default.to_owned(),
        parts => parts.join(","),
    };
    let given = unnamed(&given, "to").trim_matches('"');
    Pattern::new(given).ok()?;
    (!given.contains('"')).then(|| format!("\"{given}\""))
}

fn blocklist(arguments: &Arguments<'_>) -> Option<Vec<String>> {
    let client = arguments.only("client", "127.0.0.0/8")?;
    Some(vec![format!(
        "on greeting if client in {client} : reply 554 5.7.1 \"your address is on a list\""
    )])
}

fn busy(arguments: &Arguments<'_>) -> Option<Vec<String>> {
    let most: u64 = arguments.only("max-conns", "2")?.parse().ok()?;
    Some(vec![format!(
        "on connect if open > {most} : reply 421 4.3.2 \"too many connections\"; close"
    )])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(text: &str) -> Vec<String> {
        let fault: Fault = text
            .parse()
            .unwrap_or_else(|error| panic!("{text}: {error}"));
        fault.rules.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn presets_are_what_their_usage_says() {
        for preset in ALL {
            assert_eq!(expanded(preset.name), expanded(preset.usage));
            assert!(preset.usage.starts_with(preset.name));
            assert!(catalogue::named(preset.name).is_none(), "{}", preset.name);
        }
    }

    #[test]
    fn failures_are_rules_with_names_of_their_own() {
        for (index, failure) in catalogue::ALL.iter().enumerate() {
            let rules = expanded(failure.name);
            assert_eq!(rules, failure.rules, "they are printed as they are written");
            let others = catalogue::ALL.iter().skip(index + 1);
            assert!(others.clone().all(|other| other.name != failure.name));
        }
    }

    #[test]
    fn arguments_are_taken() {
        for (text, rule) in [
            (
                "greylist(delay=300s,window=4h)",
                "on rcpt first 1 per triplet within 4h for 5m : reply 451 4.7.1 \"greylisted, try again later\"",
            ),
            (
                "ratelimit(3/10s per client, 450 4.7.1)",
                "on mail after 3 per client within 10s : reply 450 4.7.1 \"rate limit exceeded\"",
            ),
            (
                "quota(bytes=1K)",
                "on mail|dot if size > 1024 : reply 552 5.2.2 \"over quota\"",
            ),
            ("tarpit(2s)", "on any : delay 2s"),
            ("flaky(p=0.5)", "on mail|rcpt|dot prob 0.5 : defer"),
            (
                "slow-link(10K/s)",
                "on connect : throttle-in 10K/s; throttle-out 10K/s",
            ),
            (
                "full-mailbox(^a{1,2}@)",
                "on rcpt if to ~ \"^a{1,2}@\" : reply 452 4.2.2 \"mailbox full\"",
            ),
            ("lost-ack(nth 1)", "on dot nth 1 : keep; no-reply; reset"),
            ("dot-slow(250ms)", "on dot : delay 250ms"),
            ("cut-at-byte(10)", "on body-byte(10) : reset"),
            ("on rcpt:close", "on rcpt : close"),
        ] {
            assert_eq!(expanded(text), [rule]);
        }
    }

    #[test]
    fn what_is_no_fault_is_told() {
        for (text, says) in [
            ("lunch", "'lunch' is neither a rule"),
            (
                "greylist(soon)",
                "column 10: 'soon' are no arguments of greylist(delay",
            ),
            ("tarpit(1s", "column 7: '(1s' are no arguments of tarpit"),
            (
                "flaky(p=2)",
                "column 7: 'p=2' are no arguments of flaky(p=0.05)",
            ),
            ("lost-ack(5s)", "'5s' are no arguments of NAME"),
            ("jim(1)", "'1' are no arguments of jim"),
            ("on rcpt", "column 8: the rule ends"),
            ("", "'' is neither"),
        ] {
            let error = text.parse::<Fault>().unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
