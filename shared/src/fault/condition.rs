//! What must hold for a rule to fire, and what is known when it is asked.

use std::net::IpAddr;

use ipnet::IpNet;
use regex::bytes::{Regex, RegexBuilder};

use super::draw::Hash;
use super::rule::Key;

/// One condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// It holds if the test fails.
    pub negated: bool,
    /// The test.
    pub test: Test,
}

/// What a condition tests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Test {
    /// The client's address is in this network.
    Client(IpNet),
    /// That text matches.
    Matches(Field, Pattern),
    /// A header field of that name matches, of the content that has come.
    Header(String, Pattern),
    /// The content matches, as far as it has come and is looked at.
    Body(Pattern),
    /// The message is larger: as declared at MAIL, as it came later.
    Size(u64),
    /// More recipients were taken.
    Recipients(u64),
    /// More sessions are open.
    Open(u64),
    /// TLS is in force, or not.
    Tls(bool),
    /// The client has authenticated, or not.
    Auth(bool),
    /// It is the session of that number.
    Session(u64),
    /// It is the session's transaction of that number.
    Transaction(u64),
}

/// A text that a pattern is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// What the client calls itself.
    Helo,
    /// The mailbox of the reverse-path; empty for the null one.
    From,
    /// The mailbox of a forward-path; at the end of content, of any.
    To,
    /// Who the client has authenticated as.
    User,
    /// What follows the verb.
    Arg,
}

/// A regular expression, of limited size.
#[derive(Clone, Debug)]
pub struct Pattern {
    text: String,
    regex: Regex,
}

/// What is known when rules are looked at.
#[derive(Clone, Copy, Debug, Default)]
pub struct Facts<'a> {
    /// The listener's name.
    pub listener: &'a str,
    /// The client's address.
    pub client: Option<IpAddr>,
    /// What it calls itself.
    pub helo: Option<&'a str>,
    /// The mailbox of the reverse-path.
    pub from: Option<&'a str>,
    /// The mailboxes of the forward-paths that this is about.
    pub to: &'a [String],
    /// Who it has authenticated as.
    pub user: Option<&'a str>,
    /// What followed the verb.
    pub arg: &'a [u8],
    /// The beginning of the content.
    pub content: &'a [u8],
    /// The size of the message.
    pub size: u64,
    /// How many recipients were taken.
    pub recipients: u64,
    /// TLS is in force.
    pub tls: bool,
    /// The session's number.
    pub session: u64,
    /// The transaction's number within it.
    pub transaction: u64,
    /// How many sessions are open.
    pub open: u64,
}

impl Pattern {
    /// The most octets of a regular expression.
    pub const LONGEST: usize = 1000;

    /// The most memory that one may take.
    pub const SIZE: usize = 1 << 18;

    /// Compiles one; the error says why not.
    pub fn new(text: &str) -> Result<Self, String> {
        if text.len() > Self::LONGEST {
            return Err(format!("it is longer than {} octets", Self::LONGEST));
        }
        let compiled = RegexBuilder::new(text)
            .size_limit(Self::SIZE)
            .dfa_size_limit(Self::SIZE)
            .nest_limit(50)
            .build();
        match compiled {
            Ok(regex) => Ok(Self {
                text: text.to_owned(),
                regex,
            }),
            Err(error) => {
                // The last line says what is wrong; those before draw where.
                let text = error.to_string();
                let last = text.lines().last().unwrap_or_default();
                Err(last.trim_start_matches("error: ").to_owned())
            }
        }
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    fn matches(&self, octets: &[u8]) -> bool {
        self.regex.is_match(octets)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Pattern {}

impl Field {
    /// All of them, as they are written.
    pub const ALL: &[(Self, &str)] = &[
        (Self::Helo, "helo"),
        (Self::From, "from"),
        (Self::To, "to"),
        (Self::User, "user"),
        (Self::Arg, "arg"),
    ];

    /// The field of that name.
    pub fn named(name: &str) -> Option<Self> {
        let row = Self::ALL.iter().find(|(_, known)| *known == name);
        row.map(|(field, _)| *field)
    }

    /// As it is written.
    pub fn name(self) -> &'static str {
        let row = Self::ALL.iter().find(|(field, _)| *field == self);
        row.map_or("", |(_, name)| name)
    }
}

impl Condition {
    /// All conditions, for whoever asks what there is: how they are written, and what
    /// they say.
    pub const TABLE: &[(&str, &str)] = &[
        ("client in CIDR", "the client's address is in this network"),
        ("helo ~ \"RE\"", "what the client calls itself matches"),
        (
            "from ~ \"RE\"",
            "the mailbox of the reverse-path matches; it is empty for <>",
        ),
        ("to ~ \"RE\"", "the mailbox of a forward-path matches"),
        ("user ~ \"RE\"", "who it has authenticated as matches"),
        ("arg ~ \"RE\"", "what follows the verb matches"),
        (
            "header NAME ~ \"RE\"",
            "a header field of that name matches",
        ),
        ("body ~ \"RE\"", "the content matches, in its first 64 KiB"),
        (
            "size > N",
            "the message is larger: as declared at MAIL, as it came from DATA on",
        ),
        ("rcpts > N", "more recipients were taken"),
        ("open > N", "more sessions are open"),
        ("tls yes|no", "TLS is in force, or not"),
        ("auth yes|no", "the client has authenticated, or not"),
        ("session = N", "it is the session of that number"),
        (
            "transaction = N",
            "it is the session's transaction of that number",
        ),
        ("not CONDITION", "that does not hold"),
    ];

    /// It holds.
    pub fn holds(&self, facts: &Facts<'_>) -> bool {
        self.test.passes(facts) != self.negated
    }

    /// It looks at the content of a message.
    pub const fn reads_content(&self) -> bool {
        matches!(self.test, Test::Header(..) | Test::Body(_))
    }
}

impl Test {
    fn passes(&self, facts: &Facts<'_>) -> bool {
        let matches = |pattern: &Pattern, text: Option<&str>| {
            text.is_some_and(|text| pattern.matches(text.as_bytes()))
        };
        match self {
            Self::Client(network) => facts
                .client
                .is_some_and(|client| network.contains(&client.to_canonical())),
            Self::Matches(Field::Helo, pattern) => matches(pattern, facts.helo),
            Self::Matches(Field::From, pattern) => matches(pattern, facts.from),
            Self::Matches(Field::To, pattern) => {
                facts.to.iter().any(|to| pattern.matches(to.as_bytes()))
            }
            Self::Matches(Field::User, pattern) => matches(pattern, facts.user),
            Self::Matches(Field::Arg, pattern) => pattern.matches(facts.arg),
            Self::Header(name, pattern) => Fields(facts.content).any(|(found, value)| {
                found.eq_ignore_ascii_case(name.as_bytes()) && pattern.matches(value)
            }),
            Self::Body(pattern) => pattern.matches(facts.content),
            Self::Size(most) => facts.size > *most,
            Self::Recipients(most) => facts.recipients > *most,
            Self::Open(most) => facts.open > *most,
            Self::Tls(wanted) => facts.tls == *wanted,
            Self::Auth(wanted) => facts.user.is_some() == *wanted,
            Self::Session(number) => facts.session == *number,
            Self::Transaction(number) => facts.transaction == *number,
        }
    }
}

impl Key {
    /// What is counted apart, as a number.
    pub(super) fn of(self, facts: &Facts<'_>) -> u64 {
        let hash = Hash::new().part(self.name().as_bytes());
        let text = |hash: Hash, text: Option<&str>| hash.part(text.unwrap_or_default().as_bytes());
        let client = |hash: Hash| match facts.client.map(|client| client.to_canonical()) {
            Some(IpAddr::V4(address)) => hash.part(&address.octets()),
            Some(IpAddr::V6(address)) => hash.part(&address.octets()),
            None => hash.part(b""),
        };
        let to = |hash: Hash| {
            let mailboxes = facts.to.iter();
            mailboxes.fold(hash, |hash, to| hash.part(to.as_bytes()))
        };
        let number = |hash: Hash, number: u64| hash.part(&number.to_le_bytes());
        let hash = match self {
            Self::Client => client(hash),
            Self::Helo => text(hash, facts.helo),
            Self::From => text(hash, facts.from),
            Self::To => to(hash),
            Self::User => text(hash, facts.user),
            Self::Triplet => to(text(client(hash), facts.from)),
            Self::Listener => text(hash, Some(facts.listener)),
            Self::Session => number(hash, facts.session),
            Self::Transaction => number(number(hash, facts.session), facts.transaction),
        };
        hash.finish()
    }
}

/// The header fields of a message, folded as they are.
struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let rest = self.0;
            let mut end = line_end(rest)?;
            if rest.get(..end)?.trim_ascii().is_empty() {
                return None;
            }
            // A line that begins with white space goes on with the field.
            while let Some(b' ' | b'\t') = rest.get(end) {
                end += line_end(rest.get(end..)?)?;
            }
            let (field, next) = rest.split_at_checked(end)?;
            self.0 = next;
            if let Some(colon) = memchr::memchr(b':', field) {
                let (name, value) = field.split_at_checked(colon)?;
                return Some((name.trim_ascii_end(), value.get(1..)?.trim_ascii()));
            }
        }
    }
}

/// Where the first line ends; none if there is nothing.
fn line_end(octets: &[u8]) -> Option<usize> {
    let end = memchr::memchr(b'\n', octets).map(|at| at + 1);
    end.or_else(|| (!octets.is_empty()).then_some(octets.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_fields_are_found_folded_and_not_in_the_body() {
        let content = b"Subject: a\r\n b\r\nno field\r\nX-Test : c\r\n\r\nX-Body: d\r\n";
        let fields: Vec<_> = Fields(content).collect();
        assert_eq!(
            fields,
            [
                (&b"Subject"[..], &b"a\r\n b"[..]),
                (&b"X-Test"[..], &b"c"[..])
            ]
        );
    }

    #[test]
    fn patterns_have_limits() {
        assert!(Pattern::new(&"a".repeat(1001)).is_err());
        assert!(Pattern::new("(a{1000}){1000}").is_err());
        assert!(Pattern::new(&"(".repeat(500)).is_err());
        assert!(Pattern::new("(").is_err());
        assert!(Pattern::new("^full@").is_ok());
    }

    #[test]
    fn keys_are_told_apart() {
        let facts = Facts {
            helo: Some("a"),
            from: Some("a"),
            ..Facts::default()
        };
        assert_ne!(Key::Helo.of(&facts), Key::From.of(&facts));
        let other = Facts {
            from: Some("b"),
            ..facts
        };
        assert_ne!(Key::Triplet.of(&facts), Key::Triplet.of(&other));
        assert_eq!(Key::Helo.of(&facts), Key::Helo.of(&other));
    }
}
