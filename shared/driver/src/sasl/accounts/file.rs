//! Accounts in files, one a line; a line that begins with `#` is a comment.
//!
//! ```text
//! # passwords: everything after the first colon, as it is
//! tim@example.net:tanstaaf tanstaaf
//!
//! # tokens
//! tim@example.net  vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==
//! ```

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::{AccountError, Accounts};

/// Why a file of accounts cannot be used. What stands in the line is not told.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// A line of it is wrong.
    #[error("{}:{line}: {error}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The first is 1.
        line: usize,
        /// What is wrong with it.
        error: LineError,
    },
    /// It cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It has more than [`LONGEST`] octets.
    #[error("{} has more than {LONGEST} octets", .0.display())]
    TooLong(PathBuf),
}

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LineError {
    /// It is well-formed, and cannot be an account.
    #[error("{0}")]
    Account(#[from] AccountError),
    /// There is no colon in it.
    #[error("expected 'user:password'")]
    NoPassword,
    /// It is not two words.
    #[error("expected a user and a token")]
    NoToken,
    /// It is not UTF-8.
    #[error("not UTF-8")]
    NotUtf8,
}

/// The longest file that is read.
pub const LONGEST: u64 = 16 * 1024 * 1024;

impl Accounts {
    /// Reads users and passwords.
    pub fn read_passwords(&mut self, path: &Path) -> Result<(), FileError> {
        for_each_line(path, |line| {
            let (user, password) = line.split_once(':').ok_or(LineError::NoPassword)?;
            Ok(self.add_password(user, password)?)
        })
    }

    /// Reads users and bearer tokens.
    pub fn read_tokens(&mut self, path: &Path) -> Result<(), FileError> {
        for_each_line(path, |line| {
            let mut words = line.split_whitespace();
            match (words.next(), words.next(), words.next()) {
                (Some(user), Some(token), None) => Ok(self.add_token(user, token)?),
                _ => Err(LineError::NoToken),
            }
        })
    }
}

fn for_each_line(
    path: &Path,
    mut read: impl FnMut(&str) -> Result<(), LineError>,
) -> Result<(), FileError> {
    let text = contents(path)?;
    for (at, line) in text.split(|&octet| octet == b'\n').enumerate() {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let outcome = match std::str::from_utf8(line) {
            Ok(line) if line.trim().is_empty() || line.starts_with('#') => Ok(()),
            Ok(line) => read(line),
            Err(_) => Err(LineError::NotUtf8),
        };
        outcome.map_err(|error| FileError::Line {
            path: path.into(),
            line: at + 1,
            error,
        })?;
    }
    Ok(())
}

fn contents(path: &Path) -> Result<Vec<u8>, FileError> {
    let mut text = Vec::new();
    let read = File::open(path).and_then(|file| file.take(LONGEST + 1).read_to_end(&mut text));
    match read {
        Ok(length) if length as u64 > LONGEST => Err(FileError::TooLong(path.into())),
        Ok(_) => Ok(text),
        Err(source) => Err(FileError::Read {
            path: path.into(),
            source,
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::NameCase;
    use super::*;

    /// What reading a file with this content says, after the file's name.
    fn reading(
        content: &[u8],
        read: fn(&mut Accounts, &Path) -> Result<(), FileError>,
    ) -> (Accounts, Result<(), String>) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("accounts");
        fs::write(&path, content).unwrap();
        let mut accounts = Accounts::new(NameCase::Ignored).unwrap();
        let read = read(&mut accounts, &path).map_err(|error| {
            let text = error.to_string();
            text.strip_prefix(path.to_str().unwrap())
                .unwrap_or(&text)
                .to_owned()
        });
        (accounts, read)
    }

    #[test]
    fn passwords_are_everything_after_the_first_colon() {
        let content = b"# comment:x\n\ntim:a:b #c \r\n  \ntom:#\n";
        let (accounts, read) = reading(content, Accounts::read_passwords);
        assert_eq!(read, Ok(()));
        assert!(accounts.by_password("tim", "a:b #c ").is_some());
        assert!(accounts.by_password("tom", "#").is_some());
        assert!(accounts.by_password("# comment", "x").is_none());
    }

    #[test]
    fn tokens_follow_their_user() {
        let content = b"# comment x\ntim\t abc== \ntim def\n";
        let (accounts, read) = reading(content, Accounts::read_tokens);
        assert_eq!(read, Ok(()));
        assert_eq!(accounts.by_token(None, "abc==").as_deref(), Some("tim"));
        assert_eq!(accounts.by_token(None, "def").as_deref(), Some("tim"));
    }

    #[test]
    fn errors_name_the_line_and_keep_the_secret() {
        for (content, error) in [
            (&b"a:b\nhunter2\n"[..], ":2: expected 'user:password'"),
            (b"a:b\n\nA:hunter2\n", ":3: the user 'A' is here twice"),
            (b"a:hunter2\xff", ":1: not UTF-8"),
            (
                b"#\n:hunter2",
                ":2: the user name is empty or holds what SASLprep (RFC 4013) forbids",
            ),
            (
                b"a:hunter2\x07",
                ":1: the password is empty or holds what SASLprep (RFC 4013) forbids",
            ),
        ] {
            let (_, read) = reading(content, Accounts::read_passwords);
            assert_eq!(read, Err(error.to_owned()));
        }
        for (content, error) in [
            (&b"hunter2"[..], ":1: expected a user and a token"),
            (b"\na hunter2 c", ":2: expected a user and a token"),
            (
                b"a hunter,2",
                ":1: no token can look like this (RFC 6750 §2.1)",
            ),
            (
                b"a hunter2\nb hunter2",
                ":2: the token belongs to 'a' already",
            ),
        ] {
            let (_, read) = reading(content, Accounts::read_tokens);
            assert_eq!(read, Err(error.to_owned()));
        }
    }

    #[test]
    fn a_file_that_is_not_there_or_too_long_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let mut accounts = Accounts::new(NameCase::Ignored).unwrap();
        let missing = accounts.read_tokens(&directory.path().join("none"));
        assert!(
            matches!(missing, Err(FileError::Read { .. })),
            "{missing:?}"
        );
        let path = directory.path().join("long");
        File::create(&path).unwrap().set_len(LONGEST + 1).unwrap();
        let long = accounts.read_passwords(&path);
        assert!(matches!(long, Err(FileError::TooLong(_))), "{long:?}");
    }
}
