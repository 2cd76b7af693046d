//! What there must have been when the server ends: `--expect`.

use std::fmt;
use std::str::FromStr;

use crate::monitor::Tally;

/// Expectations, all of which must be met; written `messages=3,duplicates<=1`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expectations(Vec<Expectation>);

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Expectation {
    key: &'static Key,
    relation: Relation,
    wanted: u64,
}

/// A count that something can be expected of.
struct Key {
    name: &'static str,
    count: fn(&Tally) -> u64,
}

const KEYS: &[Key] = &[
    Key::new("messages", |tally| tally.messages),
    Key::new("duplicates", |tally| tally.duplicates),
    Key::new("refused", |tally| tally.refused),
    Key::new("recipients", |tally| tally.recipients),
    Key::new("octets", |tally| tally.octets),
    Key::new("sessions", |tally| tally.sessions),
    Key::new("timeouts", |tally| tally.timeouts),
    Key::new("broken", |tally| tally.broken),
    Key::new("refusals", |tally| tally.refusals),
];

impl Key {
    const fn new(name: &'static str, count: fn(&Tally) -> u64) -> Self {
        Self { name, count }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Key {}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Relation {
    AtLeast,
    AtMost,
    Exactly,
}

const RELATIONS: &[(&str, Relation)] = &[
    // The longer ones first: `=` is a part of them.
    (">=", Relation::AtLeast),
    ("<=", Relation::AtMost),
    ("=", Relation::Exactly),
];

/// Why a text is no expectation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoExpectation {
    /// There is no relation, or no number after it.
    #[error("'{0}' is no expectation such as messages=3 or refused<=1")]
    Form(String),
    /// There is no such count.
    #[error("there is no count '{given}' (there are {known})")]
    Key {
        /// What was given.
        given: String,
        /// The names of the counts.
        known: String,
    },
}

/// An expectation that was not met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unmet {
    expected: String,
    was: u64,
}

impl fmt::Display for Unmet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected {}, but it was {}", self.expected, self.was)
    }
}

impl Expectations {
    /// Those that are not met.
    pub fn unmet(&self, tally: &Tally) -> Vec<Unmet> {
        let all = self.0.iter().map(|one| (one, (one.key.count)(tally)));
        all.filter(|(one, count)| !one.relation.holds(*count, one.wanted))
            .map(|(one, count)| Unmet {
                expected: one.to_string(),
                was: count,
            })
            .collect()
    }
}

impl Relation {
    const fn holds(self, count: u64, wanted: u64) -> bool {
        match self {
            Self::AtLeast => count >= wanted,
            Self::AtMost => count <= wanted,
            Self::Exactly => count == wanted,
        }
    }
}

impl FromStr for Expectations {
    type Err = NoExpectation;

    fn from_str(text: &str) -> Result<Self, NoExpectation> {
        let parts = text.split(',').map(str::trim);
        let parts = parts.filter(|part| !part.is_empty());
        parts.map(str::parse).collect::<Result<_, _>>().map(Self)
    }
}

impl FromStr for Expectation {
    type Err = NoExpectation;

    fn from_str(text: &str) -> Result<Self, NoExpectation> {
        let form = || NoExpectation::Form(text.to_owned());
        let (name, relation, number) = RELATIONS
            .iter()
            .find_map(|(sign, relation)| {
                let (name, number) = text.split_once(sign)?;
                Some((name.trim(), *relation, number.trim()))
            })
            .ok_or_else(form)?;
        let key = KEYS.iter().find(|key| key.name == name);
        let key = key.ok_or_else(|| NoExpectation::Key {
            given: name.to_owned(),
            known: KEYS
                .iter()
                .map(|key| key.name)
                .collect::<Vec<_>>()
                .join(", "),
        })?;
        let wanted = number.parse().map_err(|_| form())?;
        Ok(Self {
            key,
            relation,
            wanted,
        })
    }
}

impl fmt::Display for Expectations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, one) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            write!(f, "{one}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Expectation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = RELATIONS
            .iter()
            .find(|(_, relation)| *relation == self.relation);
        let sign = sign.map_or("", |(sign, _)| sign);
        write!(f, "{}{sign}{}", self.key.name, self.wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expectations_are_read_and_printed() {
        for text in ["", "messages=3", "messages>=3,duplicates=0,refused<=1"] {
            assert_eq!(text.parse::<Expectations>().unwrap().to_string(), text);
        }
        for text in [
            "messages",
            "messages=",
            "messages=-1",
            "letters=3",
            "messages>3",
            "=3",
        ] {
            assert!(text.parse::<Expectations>().is_err(), "{text}");
        }
    }

    #[test]
    fn each_that_is_not_met_is_told() {
        let tally = Tally {
            messages: 3,
            refused: 2,
            ..Tally::default()
        };
        let unmet = |text: &str| -> Vec<String> {
            let expected: Expectations = text.parse().unwrap();
            expected
                .unmet(&tally)
                .iter()
                .map(ToString::to_string)
                .collect()
        };
        assert!(unmet("messages=3,messages>=3,messages<=3,duplicates=0").is_empty());
        assert_eq!(
            unmet("messages>=4,refused<=1,sessions=0"),
            [
                "expected messages>=4, but it was 3",
                "expected refused<=1, but it was 2"
            ]
        );
    }
}
