//! Mail data after 354: where it ends, and the dots in front of its lines
//! (RFC 5321 §4.5.2).

use memchr::memmem;

/// What a [`DotScanner`] found at the start of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scan {
    /// So many octets are content (at least one).
    Content(usize),
    /// The line with the lone dot, CRLF included: three octets.
    End,
    /// Too few octets to tell; at most two are there.
    More,
}

/// Finds the end of mail data: CRLF dot CRLF and nothing else.
///
/// Only that ends the data (RFC 5321 §4.1.1.4). A lone dot between bare line
/// ends is content; whoever takes it for the end can be smuggled to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DotScanner {
    before: Before,
}

/// What the octets before the next one were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Before {
    LineStart,
    Cr,
    Other,
}

impl Default for DotScanner {
    fn default() -> Self {
        Self::new()
    }
}

impl DotScanner {
    /// A scanner at the start of the data, which is the start of a line.
    pub const fn new() -> Self {
        Self {
            before: Before::LineStart,
        }
    }

    /// A scanner somewhere within a line: what came before was lost.
    pub const fn within_line() -> Self {
        Self {
            before: Before::Other,
        }
    }

    /// Looks at the octets that come next. After `Content(n)` the first `n` are
    /// done with; after `End` the three of the final line are.
    pub fn scan(&mut self, bytes: &[u8]) -> Scan {
        if self.before == Before::LineStart {
            match bytes {
                [b'.', b'\r', b'\n', ..] => {
                    *self = Self::new();
                    return Scan::End;
                }
                [] | [b'.'] | [b'.', b'\r'] => return Scan::More,
                _ => {}
            }
        } else if bytes.is_empty() {
            return Scan::More;
        }
        let length = self.content_length(bytes);
        self.before = self.after(bytes.get(..length).unwrap_or(bytes));
        Scan::Content(length)
    }

    /// The octets before the next line that is, or may become, the final one.
    fn content_length(self, bytes: &[u8]) -> usize {
        for at in memmem::find_iter(bytes, b"\n.") {
            let after_cr = match at.checked_sub(1) {
                Some(before) => bytes.get(before) == Some(&b'\r'),
                None => self.before == Before::Cr,
            };
            let rest = bytes.get(at + 2..).unwrap_or_default();
            let may_end = matches!(rest, [] | [b'\r'] | [b'\r', b'\n', ..]);
            if after_cr && may_end {
                return at + 1;
            }
        }
        bytes.len()
    }

    fn after(self, content: &[u8]) -> Before {
        match content {
            [] => self.before,
            [.., b'\r', b'\n'] => Before::LineStart,
            [b'\n'] if self.before == Before::Cr => Before::LineStart,
            [.., b'\r'] => Before::Cr,
            _ => Before::Other,
        }
    }
}

/// Takes the doubled dots out of content as it comes (RFC 5321 §4.5.2).
#[derive(Clone, Copy, Debug)]
pub struct DotDecoder {
    before: Before,
}

impl Default for DotDecoder {
    fn default() -> Self {
        Self {
            before: Before::LineStart,
        }
    }
}

impl DotDecoder {
    /// Splits a piece of content (without the final dot line) into what remains
    /// when the first dot of each line is dropped. `keep` is called with the
    /// ranges to keep, in order.
    pub fn decode(&mut self, content: &[u8], mut keep: impl FnMut(std::ops::Range<usize>)) {
        let mut from = 0;
        if self.before == Before::LineStart && content.first() == Some(&b'.') {
            from = 1;
        }
        let after_cr = self.before == Before::Cr;
        for at in memmem::find_iter(content, b"\n.") {
            let crlf = match at.checked_sub(1) {
                Some(before) => content.get(before) == Some(&b'\r'),
                None => after_cr,
            };
            if crlf {
                if from < at + 1 {
                    keep(from..at + 1);
                }
                from = at + 2;
            }
        }
        if from < content.len() {
            keep(from..content.len());
        }
        self.before = DotScanner {
            before: self.before,
        }
        .after(content);
    }
}

/// Appends a message as mail data: dots doubled, and the final line.
///
/// A message that does not end in CRLF gets one, since the final dot must stand
/// on a line of its own. Bare line ends are left as they are.
pub fn encode_dots(message: &[u8], out: &mut Vec<u8>) {
    out.reserve(message.len() + 16);
    let mut from = 0;
    if message.first() == Some(&b'.') {
        out.push(b'.');
    }
    for at in memmem::find_iter(message, b"\r\n.") {
        out.extend_from_slice(message.get(from..at + 2).unwrap_or_default());
        out.push(b'.');
        from = at + 2;
    }
    out.extend_from_slice(message.get(from..).unwrap_or_default());
    if !message.is_empty() && !message.ends_with(b"\r\n") {
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b".\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The content and the octets left after the end, fed in pieces.
    fn scan_all(pieces: &[&[u8]]) -> (Vec<u8>, bool, Vec<u8>) {
        let (mut scanner, mut held, mut content) = (DotScanner::new(), Vec::new(), Vec::new());
        let mut ended = false;
        for piece in pieces {
            held.extend_from_slice(piece);
            while !ended {
                match scanner.scan(&held) {
                    Scan::Content(n) => content.extend(held.drain(..n)),
                    Scan::End => {
                        held.drain(..3);
                        ended = true;
                    }
                    Scan::More => break,
                }
            }
        }
        (content, ended, held)
    }

    fn decode_all(pieces: &[&[u8]]) -> Vec<u8> {
        let (mut decoder, mut out) = (DotDecoder::default(), Vec::new());
        for piece in pieces {
            decoder.decode(piece, |range| out.extend_from_slice(&piece[range]));
        }
        out
    }

    #[test]
    fn only_crlf_dot_crlf_ends_the_data() {
        for (wire, content, rest) in [
            (&b".\r\n"[..], &b""[..], &b""[..]),
            (b"a\r\n.\r\nQUIT\r\n", b"a\r\n", b"QUIT\r\n"),
            (b"a\r\n..\r\n.\r\n", b"a\r\n..\r\n", b""),
            (b"a\n.\n\r\n.\r\n", b"a\n.\n\r\n", b""),
            (b"a\n.\r\n.\r\n", b"a\n.\r\n", b""),
            (b"a\r.\r\r\n.\r\n", b"a\r.\r\r\n", b""),
            (b"a\r\n.\n\r\n.\r\n", b"a\r\n.\n\r\n", b""),
        ] {
            assert_eq!(scan_all(&[wire]), (content.to_vec(), true, rest.to_vec()));
        }
        assert!(!scan_all(&[b"a\r\n.\r"]).1);
    }

    #[test]
    fn leading_dots_are_undone_once() {
        assert_eq!(decode_all(&[b"..a\r\n...\r\n.b\r\n"]), b".a\r\n..\r\nb\r\n");
        assert_eq!(decode_all(&[b"a\n.b\r\n"]), b"a\n.b\r\n");
    }

    fn mail() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(prop::sample::select(&b".\r\nab"[..]), 0..40)
    }

    proptest! {
        #[test]
        fn splitting_changes_nothing(wire in mail(), cut in 0usize..40, cut2 in 0usize..40) {
            let (a, b) = (cut.min(wire.len()), cut2.min(wire.len()));
            let (a, b) = (a.min(b), a.max(b));
            let pieces = [&wire[..a], &wire[a..b], &wire[b..]];
            prop_assert_eq!(scan_all(&pieces), scan_all(&[&wire]));
            prop_assert_eq!(decode_all(&pieces), decode_all(&[&wire]));
        }

        #[test]
        fn decoding_undoes_encoding(message in mail()) {
            let mut wire = Vec::new();
            encode_dots(&message, &mut wire);
            let (content, ended, rest) = scan_all(&[&wire]);
            prop_assert!(ended);
            prop_assert!(rest.is_empty());
            let mut expected = message.clone();
            if !message.is_empty() && !message.ends_with(b"\r\n") {
                expected.extend_from_slice(b"\r\n");
            }
            prop_assert_eq!(decode_all(&[&content]), expected);
        }
    }
}
