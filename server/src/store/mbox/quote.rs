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

/// Undoes [`Quoting`].
pub(super) fn unquoted(quoted: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(quoted.len());
    for line in quoted.split_inclusive(|&octet| octet == b'\n') {
        let marks = line.iter().take_while(|&&octet| octet == b'>').count();
        let is_quoted = marks > 0 && line.get(marks..).is_some_and(|line| line.starts_with(FROM));
        plain.extend_from_slice(line.get(usize::from(is_quoted)..).unwrap_or_default());
    }
    plain
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
            assert_eq!(unquoted(&out), plain);
            let mut lines = out.split(|&octet| octet == b'\n');
            assert!(!lines.any(|line| line.starts_with(FROM)));
        }
    }
}
