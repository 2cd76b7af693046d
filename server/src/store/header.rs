//! What is counted of a header section while it comes in, in memory that does not grow.

/// How large a header section is, and how many servers it came through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeaderCount {
    octets: u64,
    received: u64,
    at: At,
}

/// Where in a line the next octet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// So far into a line that is as yet [`NAME`].
    Name(usize),
    /// Between that name and a colon (RFC 5322 §4.5.8 has white space there).
    Colon,
    /// After a CR at the start of a line.
    Cr,
    /// In what is of no interest of a line.
    Rest,
    /// Behind the empty line.
    Body,
}

impl Default for At {
    fn default() -> Self {
        Self::Name(0)
    }
}

const NAME: &[u8] = b"received";

impl HeaderCount {
    /// Octets up to the empty line.
    pub fn octets(&self) -> u64 {
        self.octets
    }

    /// `Received` header fields: one for each server the message came through.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Takes a piece of content.
    pub(super) fn take(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() && self.at != At::Body {
            if self.at == At::Rest {
                let end = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
                self.octets = self.octets.saturating_add(end as u64);
                rest = rest.get(end..).unwrap_or_default();
            }
            if let Some((&octet, after)) = rest.split_first() {
                self.step(octet);
                rest = after;
            }
        }
    }

    fn step(&mut self, octet: u8) {
        self.octets = self.octets.saturating_add(1);
        self.at = match (self.at, octet) {
            (At::Name(0) | At::Cr, b'\n') => {
                // The empty line is no part of it.
                let line_end = if self.at == At::Cr { 2 } else { 1 };
                self.octets = self.octets.saturating_sub(line_end);
                At::Body
            }
            (_, b'\n') => At::Name(0),
            (At::Name(0), b'\r') => At::Cr,
            (At::Name(known), octet) if is_next(known, octet) => match known + 1 {
                all if all == NAME.len() => At::Colon,
                more => At::Name(more),
            },
            (At::Colon, b' ' | b'\t') => At::Colon,
            (At::Colon, b':') => {
                self.received = self.received.saturating_add(1);
                At::Rest
            }
            _ => At::Rest,
        };
    }
}

fn is_next(known: usize, octet: u8) -> bool {
    NAME.get(known)
        .is_some_and(|next| octet.eq_ignore_ascii_case(next))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(pieces: &[&[u8]]) -> (u64, u64) {
        let mut count = HeaderCount::default();
        for piece in pieces {
            count.take(piece);
        }
        (count.octets(), count.received())
    }

    #[test]
    fn fields_of_that_name_are_counted_up_to_the_empty_line() {
        for (content, octets, received) in [
            ("", 0, 0),
            ("\r\nReceived: x\r\n", 0, 0),
            ("\nReceived: x\n", 0, 0),
            ("Received: x\r\n\r\nReceived: y\r\n", 13, 1),
            ("received:x\nRECEIVED \t: y\n\nz", 25, 2),
            ("Received: by a\r\n Received: b\r\n\r\n", 30, 1),
            (
                "X-Received: x\r\nReceived-SPF: y\r\nReceived x\r\n\r\n",
                44,
                0,
            ),
            ("Subject: no end", 15, 0),
            ("Receive", 7, 0),
            ("\rReceived: x\r\n\r\n", 14, 0),
        ] {
            let content = content.as_bytes();
            assert_eq!(counted(&[content]), (octets, received), "{content:?}");
            let single: Vec<&[u8]> = content.chunks(1).collect();
            assert_eq!(counted(&single), (octets, received), "{content:?}");
            for at in 0..content.len() {
                let (before, after) = content.split_at(at);
                assert_eq!(counted(&[before, after]), (octets, received), "{content:?}");
            }
        }
    }
}
