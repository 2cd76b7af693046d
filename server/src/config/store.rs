//! Where received mail goes.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// A place for mail, as it is written: `memory:N`, `eml:DIR`, `maildir:DIR`,
/// `mbox:FILE` or `null`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreSpec {
    /// Nothing is kept.
    Null,
    /// The newest so many messages are kept in memory.
    Memory(usize),
    /// Two files for each message in that directory.
    Eml(PathBuf),
    /// A Maildir for each user in that directory; for a witness, one Maildir.
    Maildir(PathBuf),
    /// One file.
    Mbox(PathBuf),
}

/// A place for mail to foreign domains: any but memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WitnessSpec(pub StoreSpec);

/// What becomes of mail data with a CR or an LF that is not part of CRLF.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LineEndings {
    /// It is refused: 550 5.5.2
    Strict,
    /// It is kept as it came, and said to be odd. As always, only CRLF dot CRLF is the
    /// end
    Normalize,
}

/// Why a text names no place for mail.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoStore {
    /// It is none.
    #[error("'{0}' is no place for mail: memory[:N], eml:DIR, maildir:DIR, mbox:FILE or null")]
    Unknown(String),
    /// It is one for users' mail only.
    #[error(
        "mail for foreign domains is not kept in memory: eml:DIR, maildir:DIR, mbox:FILE or null"
    )]
    NotForWitness,
}

/// So many messages are kept in memory.
const IN_MEMORY: usize = 1000;

impl Default for StoreSpec {
    fn default() -> Self {
        Self::Memory(IN_MEMORY)
    }
}

impl FromStr for StoreSpec {
    type Err = NoStore;

    fn from_str(text: &str) -> Result<Self, NoStore> {
        let (kind, place) = text.split_once(':').unwrap_or((text, ""));
        match (kind, place) {
            ("null", "") if text == kind => Ok(Self::Null),
            ("memory", "") if text == kind => Ok(Self::default()),
            ("memory", count) => match count.parse() {
                Ok(count @ 1..) => Ok(Self::Memory(count)),
                _ => Err(NoStore::Unknown(text.to_owned())),
            },
            (_, "") => Err(NoStore::Unknown(text.to_owned())),
            ("eml", path) => Ok(Self::Eml(path.into())),
            ("maildir", path) => Ok(Self::Maildir(path.into())),
            ("mbox", path) => Ok(Self::Mbox(path.into())),
            _ => Err(NoStore::Unknown(text.to_owned())),
        }
    }
}

impl fmt::Display for StoreSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Memory(IN_MEMORY) => f.write_str("memory"),
            Self::Memory(count) => write!(f, "memory:{count}"),
            Self::Eml(path) => write!(f, "eml:{}", path.display()),
            Self::Maildir(path) => write!(f, "maildir:{}", path.display()),
            Self::Mbox(path) => write!(f, "mbox:{}", path.display()),
        }
    }
}

impl FromStr for WitnessSpec {
    type Err = NoStore;

    fn from_str(text: &str) -> Result<Self, NoStore> {
        match text.parse()? {
            StoreSpec::Memory(_) => Err(NoStore::NotForWitness),
            other => Ok(Self(other)),
        }
    }
}

impl fmt::Display for WitnessSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_and_printed() {
        for text in [
            "null",
            "memory",
            "memory:7",
            "eml:/a/b",
            "maildir:a:b",
            "mbox:/var/mail/a",
        ] {
            assert_eq!(text.parse::<StoreSpec>().unwrap().to_string(), text);
        }
        assert_eq!("memory:1000".parse(), Ok(StoreSpec::default()));
        for text in [
            "",
            "null:",
            "null:x",
            "memory:",
            "memory:0",
            "memory:x",
            "eml",
            "eml:",
            "maildir:",
            "mbox",
            "mbox:",
            "tape:/dev/st0",
        ] {
            assert!(text.parse::<StoreSpec>().is_err(), "{text}");
        }
        assert_eq!("memory".parse::<WitnessSpec>(), Err(NoStore::NotForWitness));
        assert_eq!("null".parse(), Ok(WitnessSpec(StoreSpec::Null)));
    }
}
