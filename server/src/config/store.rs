//! Where received mail goes.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// A place for mail, as it is written: `null` or `maildir:DIR`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum StoreSpec {
    /// Nothing is kept.
    #[default]
    Null,
    /// A Maildir for each user in that directory; for a witness, one Maildir.
    Maildir(PathBuf),
}

/// Why a text names no place for mail.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no place for mail: null or maildir:DIR")]
pub struct NoStore(String);

impl FromStr for StoreSpec {
    type Err = NoStore;

    fn from_str(text: &str) -> Result<Self, NoStore> {
        let (kind, place) = text.split_once(':').unwrap_or((text, ""));
        match (kind, place) {
            ("null", "") => Ok(Self::Null),
            ("maildir", path) if !path.is_empty() => Ok(Self::Maildir(path.into())),
            _ => Err(NoStore(text.to_owned())),
        }
    }
}

impl fmt::Display for StoreSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Maildir(path) => write!(f, "maildir:{}", path.display()),
        }
    }
}
