//! Commands: what a client says (RFC 5321 §4.1).

use std::fmt;

use crate::address::AddressError;
use crate::deviation::Deviation;
use crate::extension::{AttributeError, Xclient, Xforward};
use crate::grammar::Cursor;
use crate::parameter::{ParameterError, Parameters};
use crate::path::{Brackets, ForwardPath, ReversePath};
use crate::reply::Reply;

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
    /// Postfix's XFORWARD.
    Xforward,
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

    /// Nothing may be sent after it before its reply came (RFC 2920 §3.1,
    /// RFC 3207 §4, RFC 4954 §4).
    pub const fn must_end_group(&self) -> bool {
        matches!(
            self,
            Self::Auth
                | Self::Data
                | Self::Ehlo
                | Self::Expn
                | Self::Helo
                | Self::Lhlo
                | Self::Noop
                | Self::Quit
                | Self::StartTls
                | Self::Vrfy
                | Self::Xclient
        )
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
        ("XFORWARD", Self::Xforward),
    ];
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A command as it was heard: the verb is always known, the rest if it is sound.
#[derive(Clone, Debug, PartialEq)]
pub struct Heard {
    /// The first word.
    pub verb: Verb,
    /// The command, or what is wrong with it.
    pub command: Result<Command, CommandError>,
    /// What is odd about it though it can be understood.
    pub deviations: Vec<Deviation>,
}

/// A sound command.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Command {
    /// `AUTH mechanism [initial-response]`.
    Auth {
        /// In upper case.
        mechanism: String,
        /// As it came, in base64.
        initial: Option<Secret>,
    },
    /// `BDAT size [LAST]`.
    Bdat {
        /// Octets that follow the command line.
        size: u64,
        /// The content ends with them.
        last: bool,
    },
    /// `DATA`.
    Data,
    /// `EHLO argument`.
    Ehlo(String),
    /// `ETRN argument`.
    Etrn(String),
    /// `EXPN argument`.
    Expn(String),
    /// `HELO argument`.
    Helo(String),
    /// `HELP [argument]`.
    Help(String),
    /// `LHLO argument`.
    Lhlo(String),
    /// `MAIL FROM:reverse-path parameters`.
    Mail {
        /// Where bounces go.
        reverse_path: ReversePath,
        /// What follows.
        parameters: Parameters,
    },
    /// `NOOP [argument]`.
    Noop,
    /// `QUIT`.
    Quit,
    /// `RCPT TO:forward-path parameters`.
    Rcpt {
        /// Where to.
        forward_path: ForwardPath,
        /// What follows.
        parameters: Parameters,
    },
    /// `RSET`.
    Rset,
    /// `STARTTLS`.
    StartTls,
    /// `VRFY argument`.
    Vrfy(String),
    /// `XCLIENT attributes`.
    Xclient(Box<Xclient>),
    /// `XFORWARD attributes`.
    Xforward(Box<Xforward>),
    /// Anything else.
    Unknown(String),
}

/// Text that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    pub const fn new(text: String) -> Self {
        Self(text)
    }

    /// The secret itself: say why where you call this.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("********")
    }
}

/// What is wrong with a command line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// It has an argument though its verb takes none, or lacks one.
    #[error("{0} {1}")]
    Argument(Verb, &'static str),
    /// The attributes of XCLIENT or XFORWARD cannot be read.
    #[error("{0}")]
    Attributes(#[from] AttributeError),
    /// `MAIL` without `FROM:`, `RCPT` without `TO:`.
    #[error("{0} expected after the verb")]
    Keyword(&'static str),
    /// The path cannot be read.
    #[error("bad path in {argument:?}: {error}")]
    Path {
        /// Of MAIL: it is a reverse-path.
        reverse: bool,
        /// What stands after the colon, parameters included.
        argument: String,
        /// What is wrong.
        error: AddressError,
    },
    /// The parameters cannot be read.
    #[error("{0}")]
    Parameters(#[from] ParameterError),
    /// The line holds octets that are no UTF-8, or controls.
    #[error("the line holds octets that no command may have")]
    Octets,
    /// The line is longer than any such line may be.
    #[error("the line is too long")]
    TooLong,
}

/// The longest command line we take, CRLF included: the 512 octets of
/// RFC 5321 §4.5.3.1.4 with room for what extensions add (SIZE 26, DSN 500,
/// AUTH 12 288 by RFC 4954 §4).
pub const LONGEST: usize = 12_288;

/// A BDAT line has no parameters: RFC 5321 §4.5.3.1.4. What it says decides what comes
/// next, so it must be known before the line is too long to be kept together.
const LONGEST_BDAT: usize = 512;

impl CommandError {
    /// The reply it deserves.
    pub fn reply(&self) -> Reply {
        match self {
            Self::Argument(verb, why) => Reply::of(501, "5.5.4", format!("{verb} {why}")),
            Self::Attributes(error) => error.reply(),
            Self::Keyword(expected) => {
                Reply::of(501, "5.5.4", format!("{expected} expected after the verb"))
            }
            Self::Path {
                reverse: true,
                error,
                ..
            } => Reply::of(501, "5.1.7", format!("bad reverse-path: {error}")),
            Self::Path { error, .. } => {
                Reply::of(501, "5.1.3", format!("bad forward-path: {error}"))
            }
            Self::Parameters(error) => Reply::of(501, "5.5.4", error.to_string()),
            Self::Octets => Reply::of(500, "5.5.2", "the line holds octets no command may have"),
            Self::TooLong => Reply::of(500, "5.5.2", "the line is too long"),
        }
    }
}

impl Command {
    /// Reads one command line, with or without its line end.
    pub fn parse(line: &[u8]) -> Heard {
        let verb = Verb::of(line);
        let (text, mut deviations) = bare(line);
        let longest = match verb {
            Verb::Bdat => LONGEST_BDAT,
            _ => LONGEST,
        };
        let command = if line.len() > longest {
            deviations.push(Deviation::LineTooLong);
            Err(CommandError::TooLong)
        } else {
            match std::str::from_utf8(text) {
                Ok(text) if !text.contains(|c: char| c.is_control() && c != '\t') => {
                    parse(&verb, text, &mut deviations)
                }
                _ => Err(CommandError::Octets),
            }
        };
        Heard {
            verb,
            command,
            deviations,
        }
    }
}

/// The line without its end and trailing white space, and what is odd about its
/// octets.
fn bare(line: &[u8]) -> (&[u8], Vec<Deviation>) {
    let mut deviations = Vec::new();
    let mut note = |found: bool, deviation| {
        if found {
            deviations.push(deviation);
        }
    };
    let without_lf = line.strip_suffix(b"\n");
    let text = without_lf.unwrap_or(line);
    let without_cr = text.strip_suffix(b"\r");
    note(
        without_lf.is_some() && without_cr.is_none(),
        Deviation::BareLf,
    );
    let text = without_cr.filter(|_| without_lf.is_some()).unwrap_or(text);
    note(text.contains(&b'\r'), Deviation::BareCr);
    note(text.contains(&0), Deviation::Nul);
    note(!text.is_ascii(), Deviation::EightBit);
    let trimmed = text.trim_ascii_end();
    note(
        trimmed.len() < text.len() && !text.ends_with(b"\r"),
        Deviation::TrailingSpace,
    );
    (trimmed, deviations)
}

fn parse(
    verb: &Verb,
    text: &str,
    deviations: &mut Vec<Deviation>,
) -> Result<Command, CommandError> {
    let rest = text.get(verb.name().len()..).unwrap_or("");
    let argument = rest.trim_start_matches([' ', '\t']);
    let none = |command: Command| match argument {
        "" => Ok(command),
        _ => Err(CommandError::Argument(verb.clone(), "takes no argument")),
    };
    let some = |make: fn(String) -> Command| match argument {
        "" => Err(CommandError::Argument(verb.clone(), "needs an argument")),
        _ => Ok(make(argument.to_owned())),
    };
    match verb {
        Verb::Auth => auth(argument),
        Verb::Bdat => bdat(argument)
            .map(|(size, last)| Command::Bdat { size, last })
            .ok_or_else(|| {
                CommandError::Argument(verb.clone(), "needs a size, and LAST or nothing")
            }),
        Verb::Data => none(Command::Data),
        Verb::Ehlo => some(Command::Ehlo),
        Verb::Etrn => some(Command::Etrn),
        Verb::Expn => some(Command::Expn),
        Verb::Helo => some(Command::Helo),
        Verb::Help => Ok(Command::Help(argument.to_owned())),
        Verb::Lhlo => some(Command::Lhlo),
        Verb::Mail => {
            let mut cursor = after_colon("FROM:", argument, deviations)?;
            let start = cursor.rest();
            let (reverse_path, brackets) =
                ReversePath::read(&mut cursor).map_err(|error| bad_path(true, start, error))?;
            note_brackets(brackets, deviations);
            let parameters = parameters(cursor, true, start)?;
            Ok(Command::Mail {
                reverse_path,
                parameters,
            })
        }
        Verb::Noop => Ok(Command::Noop),
        Verb::Quit => none(Command::Quit),
        Verb::Rcpt => {
            let mut cursor = after_colon("TO:", argument, deviations)?;
            let start = cursor.rest();
            let (forward_path, brackets) =
                ForwardPath::read(&mut cursor).map_err(|error| bad_path(false, start, error))?;
            note_brackets(brackets, deviations);
            let parameters = parameters(cursor, false, start)?;
            Ok(Command::Rcpt {
                forward_path,
                parameters,
            })
        }
        Verb::Rset => none(Command::Rset),
        Verb::StartTls => none(Command::StartTls),
        Verb::Vrfy => some(Command::Vrfy),
        Verb::Xclient => Ok(Command::Xclient(Box::new(argument.parse()?))),
        Verb::Xforward => Ok(Command::Xforward(Box::new(argument.parse()?))),
        Verb::Other(_) => Ok(Command::Unknown(text.to_owned())),
    }
}

/// The cursor behind `FROM:` or `TO:`, and behind the white space that must not
/// follow it but often does.
fn after_colon<'a>(
    keyword: &'static str,
    argument: &'a str,
    deviations: &mut Vec<Deviation>,
) -> Result<Cursor<'a>, CommandError> {
    let mut cursor = Cursor::new(argument);
    cursor
        .keyword(keyword)
        .ok_or(CommandError::Keyword(keyword))?;
    if cursor.run(|c| matches!(c, ' ' | '\t')).is_some() {
        deviations.push(Deviation::SpaceAfterColon);
    }
    Ok(cursor)
}

fn note_brackets(brackets: Brackets, deviations: &mut Vec<Deviation>) {
    if brackets == Brackets::Missing {
        deviations.push(Deviation::NoAngleBrackets);
    }
}

fn bad_path(reverse: bool, argument: &str, error: AddressError) -> CommandError {
    CommandError::Path {
        reverse,
        argument: argument.to_owned(),
        error,
    }
}

/// The parameters after a path, which end it: what follows it directly belongs
/// to a path that could not be read whole.
fn parameters(
    mut cursor: Cursor<'_>,
    reverse: bool,
    argument: &str,
) -> Result<Parameters, CommandError> {
    if !cursor.is_at_end() && !cursor.rest().starts_with([' ', '\t']) {
        let error = AddressError::Rest(cursor.offset());
        return Err(bad_path(reverse, argument, error));
    }
    Ok(Parameters::read(&mut cursor)?)
}

fn auth(argument: &str) -> Result<Command, CommandError> {
    let mut words = argument.split_ascii_whitespace();
    let (mechanism, initial, rest) = (words.next(), words.next(), words.next());
    match (mechanism, rest) {
        (Some(mechanism), None) => Ok(Command::Auth {
            mechanism: mechanism.to_ascii_uppercase(),
            initial: initial.map(|initial| Secret(initial.to_owned())),
        }),
        _ => Err(CommandError::Argument(
            Verb::Auth,
            "needs a mechanism, and an initial response or nothing",
        )),
    }
}

fn bdat(argument: &str) -> Option<(u64, bool)> {
    let mut words = argument.split_ascii_whitespace();
    let size = words.next()?;
    let digits = size.bytes().all(|octet| octet.is_ascii_digit());
    let size = size.parse().ok().filter(|_| digits)?;
    match (words.next(), words.next()) {
        (None, _) => Some((size, false)),
        (Some(last), None) if last.eq_ignore_ascii_case("LAST") => Some((size, true)),
        _ => None,
    }
}

/// The size of a BDAT line, and whether it is the last one.
pub fn bdat_size(line: &[u8]) -> Option<(u64, bool)> {
    match Command::parse(line).command {
        Ok(Command::Bdat { size, last }) => Some((size, last)),
        _ => None,
    }
}

/// The mechanism of an AUTH line, in upper case, whatever else is wrong with it.
pub fn auth_mechanism(line: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(line.get(..256).unwrap_or(line));
    let mechanism = text.split_ascii_whitespace().nth(1)?;
    Some(
        mechanism
            .chars()
            .take(32)
            .collect::<String>()
            .to_ascii_uppercase(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Command, CommandError> {
        Command::parse(line.as_bytes()).command
    }

    fn odd(line: &[u8]) -> Vec<Deviation> {
        Command::parse(line).deviations
    }

    #[test]
    fn envelopes_are_read() {
        match parsed("mail from:<a@b.test> SIZE=10\r\n") {
            Ok(Command::Mail {
                reverse_path,
                parameters,
            }) => {
                assert_eq!(reverse_path.to_string(), "<a@b.test>");
                assert_eq!(parameters.value("SIZE"), Some("10"));
            }
            other => panic!("{other:?}"),
        }
        assert!(matches!(
            parsed("RCPT TO:<postMASTER>"),
            Ok(Command::Rcpt {
                forward_path: ForwardPath::Postmaster,
                ..
            })
        ));
        assert!(matches!(
            parsed("MAIL FROM:<>"),
            Ok(Command::Mail {
                reverse_path: ReversePath::Null,
                ..
            })
        ));
    }

    #[test]
    fn what_is_malformed_has_the_reply_it_deserves() {
        for (line, reply) in [
            ("MAIL", "501 5.5.4"),
            ("MAIL TO:<a@b>", "501 5.5.4"),
            ("MAIL FROM:<a@b", "501 5.1.7"),
            ("RCPT TO:<a@b@c>", "501 5.1.3"),
            ("RCPT TO:<a@b>x", "501 5.1.3"),
            ("RCPT TO:<\"a@b\">", "501 5.1.3"),
            ("MAIL FROM:<a@b> SIZE=", "501 5.5.4"),
            ("EHLO", "501 5.5.4"),
            ("STARTTLS now", "501 5.5.4"),
            ("BDAT x", "501 5.5.4"),
            ("BDAT 5 FIRST", "501 5.5.4"),
            ("AUTH", "501 5.5.4"),
            ("XCLIENT", "501 5.5.4"),
            ("XCLIENT ADDR=somewhere", "501 5.5.4"),
            ("XFORWARD LOGIN=a", "501 5.5.4"),
            ("NOOP \u{1}", "500 5.5.2"),
        ] {
            let error = parsed(line).expect_err(line);
            assert!(
                error.reply().to_string().starts_with(reply),
                "{line}: {error}"
            );
        }
    }

    #[test]
    fn what_is_tolerated_is_named() {
        for (line, deviations) in [
            (
                &b"MAIL FROM: <a@b>\r\n"[..],
                &[Deviation::SpaceAfterColon][..],
            ),
            (b"RCPT TO:a@b\r\n", &[Deviation::NoAngleBrackets]),
            (b"NOOP\n", &[Deviation::BareLf]),
            (b"NOOP \r\n", &[Deviation::TrailingSpace]),
            (b"NOOP a\rb\r\n", &[Deviation::BareCr]),
            (b"NOOP \0\r\n", &[Deviation::Nul]),
            ("EHLO é\r\n".as_bytes(), &[Deviation::EightBit]),
            (b"QUIT\r\n", &[]),
        ] {
            assert_eq!(odd(line), deviations, "{}", String::from_utf8_lossy(line));
        }
        let long = format!("NOOP {}\r\n", "a".repeat(LONGEST));
        assert_eq!(odd(long.as_bytes()), [Deviation::LineTooLong]);
    }

    #[test]
    fn verbs_are_known_whatever_follows() {
        assert_eq!(Verb::of(b"rcpt to:<x"), Verb::Rcpt);
        assert_eq!(Verb::of(b"GET / HTTP/1.1"), Verb::Other("GET".into()));
        assert_eq!(Verb::of(b"\r\n"), Verb::Other(String::new()));
        assert_eq!(bdat_size(b"bdat 100 last\r\n"), Some((100, true)));
        assert_eq!(bdat_size(b"BDAT +1\r\n"), None);
        assert_eq!(auth_mechanism(b"auth plain AGEA\r\n"), Some("PLAIN".into()));
    }

    #[test]
    fn secrets_are_not_printed() {
        for line in ["AUTH PLAIN c2VjcmV0\r\n", "XCLIENT LOGIN=c2VjcmV0\r\n"] {
            let heard = Command::parse(line.as_bytes());
            assert!(heard.command.is_ok());
            assert!(!format!("{heard:?}").contains("c2VjcmV0"));
        }
    }

    proptest::proptest! {
        #[test]
        fn nothing_panics(line: Vec<u8>) {
            Command::parse(&line);
        }
    }
}
