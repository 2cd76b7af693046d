//! Paths: what stands between angle brackets in MAIL and RCPT
//! (RFC 5321 §4.1.2).

use std::fmt;

use crate::address::{AddressError, Domain, Mailbox};
use crate::grammar::Cursor;

/// The argument of MAIL.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ReversePath {
    /// `<>`: bounces and the like (RFC 5321 §4.5.5).
    Null,
    /// A mailbox. A source route before it was ignored (RFC 5321 App. C).
    Mailbox(Mailbox),
}

/// The argument of RCPT.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ForwardPath {
    /// `<Postmaster>` without a domain (RFC 5321 §4.1.1.3).
    Postmaster,
    /// A mailbox, with the source route that came before it: to be ignored
    /// (RFC 5321 §3.6.1), and kept so that it can be shown.
    Mailbox {
        /// Where to.
        mailbox: Mailbox,
        /// The hosts of `@a,@b:`.
        route: Vec<Domain>,
    },
}

/// How a path was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Brackets {
    /// As it must be.
    Present,
    /// Left out.
    Missing,
}

impl ReversePath {
    /// Reads a path; `Brackets::Missing` if it had none.
    pub fn read(cursor: &mut Cursor<'_>) -> Result<(Self, Brackets), AddressError> {
        if cursor.literal("<>").is_some() {
            return Ok((Self::Null, Brackets::Present));
        }
        bracketed(cursor, |cursor| {
            read_route(cursor)?;
            Mailbox::read(cursor).map(Self::Mailbox)
        })
    }

    /// The mailbox, if there is one.
    pub const fn mailbox(&self) -> Option<&Mailbox> {
        match self {
            Self::Null => None,
            Self::Mailbox(mailbox) => Some(mailbox),
        }
    }
}

impl ForwardPath {
    /// Reads a path; `Brackets::Missing` if it had none.
    pub fn read(cursor: &mut Cursor<'_>) -> Result<(Self, Brackets), AddressError> {
        let start = *cursor;
        if cursor.keyword("<Postmaster>").is_some() {
            return Ok((Self::Postmaster, Brackets::Present));
        }
        *cursor = start;
        bracketed(cursor, |cursor| {
            let route = read_route(cursor)?;
            let mailbox = Mailbox::read(cursor)?;
            Ok(Self::Mailbox { mailbox, route })
        })
    }

    /// The mailbox, if it is not the bare Postmaster.
    pub const fn mailbox(&self) -> Option<&Mailbox> {
        match self {
            Self::Postmaster => None,
            Self::Mailbox { mailbox, .. } => Some(mailbox),
        }
    }
}

fn bracketed<T>(
    cursor: &mut Cursor<'_>,
    read: impl FnOnce(&mut Cursor<'_>) -> Result<T, AddressError>,
) -> Result<(T, Brackets), AddressError> {
    if cursor.literal("<").is_none() {
        return Ok((read(cursor)?, Brackets::Missing));
    }
    let value = read(cursor)?;
    match cursor.literal(">") {
        Some(()) => Ok((value, Brackets::Present)),
        None => Err(AddressError::Rest(cursor.offset())),
    }
}

/// `A-d-l = At-domain *( "," At-domain )` and its colon.
fn read_route(cursor: &mut Cursor<'_>) -> Result<Vec<Domain>, AddressError> {
    let mut route = Vec::new();
    while cursor.literal("@").is_some() {
        route.push(Domain::read(cursor)?);
        if cursor.literal(":").is_some() {
            return Ok(route);
        }
        if cursor.literal(",").is_none() {
            return Err(AddressError::Rest(cursor.offset()));
        }
    }
    if route.is_empty() {
        Ok(route)
    } else {
        Err(AddressError::Rest(cursor.offset()))
    }
}

impl fmt::Display for ReversePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("<>"),
            Self::Mailbox(mailbox) => write!(f, "<{mailbox}>"),
        }
    }
}

impl fmt::Display for ForwardPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Postmaster => f.write_str("<Postmaster>"),
            Self::Mailbox { mailbox, route } => {
                f.write_str("<")?;
                for (index, domain) in route.iter().enumerate() {
                    write!(f, "{}@{domain}", if index == 0 { "" } else { "," })?;
                }
                if !route.is_empty() {
                    f.write_str(":")?;
                }
                write!(f, "{mailbox}>")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forward(text: &str) -> Result<String, AddressError> {
        let mut cursor = Cursor::new(text);
        let (path, _) = ForwardPath::read(&mut cursor)?;
        assert_eq!(cursor.rest(), "", "{text}");
        Ok(path.to_string())
    }

    #[test]
    fn forward_paths_are_read_and_printed() {
        for (text, printed) in [
            ("<a@b>", "<a@b>"),
            ("a@b", "<a@b>"),
            ("<POSTmaster>", "<Postmaster>"),
            ("<postmaster@b>", "<postmaster@b>"),
            ("<@x:a@b>", "<@x:a@b>"),
            ("<@x,@[192.0.2.1]:a@b>", "<@x,@[192.0.2.1]:a@b>"),
        ] {
            assert_eq!(forward(text).as_deref(), Ok(printed));
        }
        for text in [
            "<>", "<a>", "<a@b", "<@x a@b>", "<@x:>", "<@x,a@b>", "<a@b@c>",
        ] {
            assert!(forward(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_null_reverse_path_is_one() {
        let read = |text: &str| ReversePath::read(&mut Cursor::new(text)).map(|(path, _)| path);
        assert_eq!(read("<>"), Ok(ReversePath::Null));
        assert_eq!(read("<@x:a@b>").unwrap().to_string(), "<a@b>");
        assert!(read("< >").is_err());
    }
}
