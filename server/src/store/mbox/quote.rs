//! Lines that look like the first one of a message, made harmless.

use std::io::{self, Write};

/// What the first line of a message begins with.
const FROM: &[u8] = b"From ";

/// Puts a `>` in front of every line of `>`s and `From `, in what is written
/// through it.
#[derive(Debug)]
pub(super) struct Quoting<W> {
    out: W,
    /// What of [`FROM`] stands at the start of the line, after `>`s; none within a
    /// line.
    matched: Option<usize>,
    /// Octets that were written.
    length: u64,
    ends_in_lf: bool,
}

impl<W: Write> Quoting<W> {
    pub(super) fn new(out: W) -> Self {
        Self {
            out,
            matched: Some(0),
            length: 0,
            ends_in_lf: false,
        }
    }

    /// Writes what was held back; how many octets that were in all, and what must
    /// follow so that the last line is empty.
    pub(super) fn finish(mut self) -> io::Result<(u64, &'static [u8])> {
        let held = self.matched.take().unwrap_or(0);
        self.put(FROM.get(..held).unwrap_or_default())?;
        let end: &[u8] = if self.ends_in_lf { b"\n" } else { b"\n\n" };
        Ok((self.length, end))
    }

    fn put(&mut self, octets: &[u8]) -> io::Result<()> {
        self.out.write_all(octets)?;
        self.length += octets.len() as u64;
        if let Some(last) = octets.last() {
            self.ends_in_lf = *last == b'\n';
        }
        Ok(())
    }

    /// Takes what is certain of these octets (at least one), and says how much.
    fn take(&mut self, octets: &[u8]) -> io::Result<usize> {
        let Some(matched) = self.matched else {
            let end = memchr::memchr(b'\n', octets);
            let length = end.map_or(octets.len(), |end| end + 1);
            self.put(octets.get(..length).unwrap_or(octets))?;
            self.matched = end.map(|_| 0);
            return Ok(length);
        };
        let next = octets.first();
        if matched == 0 && next == Some(&b'>') {
            self.put(b">")?;
            return Ok(1);
        }
        if next != FROM.get(matched) {
            self.put(FROM.get(..matched).unwrap_or_default())?;
            self.matched = None;
            return Ok(0);
        }
        self.matched = Some(matched + 1);
        if matched + 1 == FROM.len() {
            self.put(b">")?;
            self.put(FROM)?;
            self.matched = None;
        }
        Ok(1)
    }
}

impl<W: Write> Write for Quoting<W> {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        let mut rest = octets;
        while !rest.is_empty() {
            let taken = self.take(rest)?;
            rest = rest.get(taken..).unwrap_or_default();
        }
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Undoes [`Quoting`], piece by piece.
#[derive(Debug)]
pub(crate) struct Unquoting {
    /// What is held back at the start of a line; none within a line.
    held: Option<Held>,
}

/// One `>` of a run of them, the one that goes if `From ` follows; and what of that has
/// come.
#[derive(Clone, Copy, Debug, Default)]
struct Held {
    mark: bool,
    matched: usize,
}

impl Unquoting {
    pub(crate) fn new() -> Self {
        Self {
            held: Some(Held::default()),
        }
    }

    /// Takes the next piece, and returns what is certain.
    pub(crate) fn take(&mut self, quoted: &[u8]) -> Vec<u8> {
        let mut plain = Vec::with_capacity(quoted.len() + 1 + FROM.len());
        let mut rest = quoted;
        while let Some((&octet, after)) = rest.split_first() {
            let Some(held) = self.held else {
                let end = memchr::memchr(b'\n', rest);
                let length = end.map_or(rest.len(), |end| end + 1);
                let (line, after) = rest.split_at_checked(length).unwrap_or((rest, &[]));
                plain.extend_from_slice(line);
                self.held = end.map(|_| Held::default());
                rest = after;
                continue;
            };
            if held.matched == 0 && octet == b'>' {
                // All of the run are alike: it does not matter which is held.
                plain.extend(held.mark.then_some(b'>'));
                self.held = Some(Held {
                    mark: true,
                    matched: 0,
                });
                rest = after;
            } else if held.mark && FROM.get(held.matched) == Some(&octet) {
                let matched = held.matched + 1;
                self.held = Some(Held { matched, ..held });
                if matched == FROM.len() {
                    plain.extend_from_slice(FROM);
                    self.held = None;
                }
                rest = after;
            } else {
                plain.extend(self.finish());
            }
        }
        plain
    }

    /// What is still held back: nothing was quoted there.
    pub(crate) fn finish(&mut self) -> Vec<u8> {
        let held = self.held.take().unwrap_or_default();
        let mark = held.mark.then_some(b'>');
        let begun = FROM.get(..held.matched).unwrap_or_default();
        mark.into_iter().chain(begun.iter().copied()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quoted(pieces: &[&[u8]]) -> (Vec<u8>, u64, &'static [u8]) {
        let mut out = Vec::new();
        let mut quoting = Quoting::new(&mut out);
        for piece in pieces {
            quoting.write_all(piece).unwrap();
        }
        let (length, end) = quoting.finish().unwrap();
        (out, length, end)
    }

    fn unquoted(pieces: &[&[u8]]) -> Vec<u8> {
        let mut unquoting = Unquoting::new();
        let mut plain = Vec::new();
        for piece in pieces {
            plain.extend(unquoting.take(piece));
        }
        plain.extend(unquoting.finish());
        plain
    }

    #[test]
    fn a_long_run_of_marks_is_not_held_back() {
        let mut unquoting = Unquoting::new();
        assert_eq!(unquoting.take(&[b'>'; 1000]), [b'>'; 999]);
        assert_eq!(unquoting.take(b"From"), b"");
        assert_eq!(unquoting.take(b" "), b"From ");
        assert_eq!(unquoting.take(b"x\n>From"), b"x\n");
        assert_eq!(unquoting.finish(), b">From");
    }

    #[test]
    fn lines_that_begin_like_a_message_are_quoted() {
        for (plain, wanted) in [
            (&b"From a\nb\n"[..], &b">From a\nb\n"[..]),
            (b"x\r\n>From a\r\n", b"x\r\n>>From a\r\n"),
            (
                b"From\nFromage\n From a\nx From b\n",
                b"From\nFromage\n From a\nx From b\n",
            ),
            (b"F\nFr\nFro\nFrom", b"F\nFr\nFro\nFrom"),
            (b">>>From ", b">>>>From "),
            (b"a\rFrom b\n", b"a\rFrom b\n"),
        ] {
            let (out, length, end) = quoted(&[plain]);
            assert_eq!(out, wanted);
            assert_eq!(length, wanted.len() as u64);
            assert!([&out[..], end].concat().ends_with(b"\n\n"));
            let octets: Vec<&[u8]> = plain.chunks(1).collect();
            assert_eq!(quoted(&octets).0, wanted);
        }
    }

    #[test]
    fn quoting_is_undone_and_leaves_no_line_that_begins_a_message() {
        let mut dice = testkit::Dice::new();
        for _ in 0..2000 {
            let words: [&[u8]; 8] = [b"From ", b">", b"\n", b"\r\n", b"F", b"om ", b"x", b" "];
            let plain: Vec<u8> = (0..dice.below(30))
                .flat_map(|_| words[dice.below(words.len())].to_vec())
                .collect();
            let cut = dice.below(plain.len() + 1);
            let (out, ..) = quoted(&[&plain[..cut], &plain[cut..]]);
            let cut = dice.below(out.len() + 1);
            assert_eq!(unquoted(&[&out[..cut], &out[cut..]]), plain);
            let octets: Vec<&[u8]> = out.chunks(1).collect();
            assert_eq!(unquoted(&octets), plain);
            let mut lines = out.split(|&octet| octet == b'\n');
            assert!(!lines.any(|line| line.starts_with(FROM)));
        }
    }
}
