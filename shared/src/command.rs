//! Commands: what a client says (RFC 5321 §4.1).

use std::fmt;

/// The first word of a command line.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Verb {
    /// RFC 4954.
    Auth,
    /// RFC 3030.
    Bdat,
    /// RFC 5321 §4.1.1.4.
    Data,
    /// RFC 5321 §4.1.1.1.
    Ehlo,
    /// RFC 1985.
    Etrn,
    /// RFC 5321 §4.1.1.7.
    Expn,
    /// RFC 5321 §4.1.1.1.
    Helo,
    /// RFC 5321 §4.1.1.8.
    Help,
    /// RFC 2033 §4.1.
    Lhlo,
    /// RFC 5321 §4.1.1.2.
    Mail,
    /// RFC 5321 §4.1.1.9.
    Noop,
    /// RFC 5321 §4.1.1.10.
    Quit,
    /// RFC 5321 §4.1.1.3.
    Rcpt,
    /// RFC 5321 §4.1.1.5.
    Rset,
    /// RFC 3207.
    StartTls,
    /// RFC 5321 §4.1.1.6.
    Vrfy,
    /// Postfix's XCLIENT.
    Xclient,
    /// Any other first word, in upper case, lossily decoded and cut to 32
    /// characters; empty for a line that does not begin with a word.
    Other(String),
}

impl Verb {
    /// The verb of a command line: its first word, in any case, which ends at
    /// white space, at the line end or (some clients) at a colon.
    pub fn of(line: &[u8]) -> Self {
        let end = line
            .iter()
            .position(|octet| matches!(octet, b' ' | b'\t' | b'\r' | b'\n' | b':'))
            .unwrap_or(line.len());
        let word = line.get(..end).unwrap_or(line);
        Self::KNOWN
            .iter()
            .find(|(name, _)| word.eq_ignore_ascii_case(name.as_bytes()))
            .map_or_else(
                || {
                    let word = String::from_utf8_lossy(word.get(..64).unwrap_or(word));
                    Self::Other(word.chars().take(32).collect::<String>().to_uppercase())
                },
                |(_, verb)| verb.clone(),
            )
    }

    /// The word on the wire.
    pub fn name(&self) -> &str {
        if let Self::Other(word) = self {
            return word;
        }
        Self::KNOWN
            .iter()
            .find(|(_, verb)| verb == self)
            .map_or("", |(name, _)| name)
    }

    const KNOWN: &[(&str, Self)] = &[
        ("AUTH", Self::Auth),
        ("BDAT", Self::Bdat),
        ("DATA", Self::Data),
        ("EHLO", Self::Ehlo),
        ("ETRN", Self::Etrn),
        ("EXPN", Self::Expn),
        ("HELO", Self::Helo),
        ("HELP", Self::Help),
        ("LHLO", Self::Lhlo),
        ("MAIL", Self::Mail),
        ("NOOP", Self::Noop),
        ("QUIT", Self::Quit),
        ("RCPT", Self::Rcpt),
        ("RSET", Self::Rset),
        ("STARTTLS", Self::StartTls),
        ("VRFY", Self::Vrfy),
        ("XCLIENT", Self::Xclient),
    ];
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
