//! A leg's recording as it comes from a vantage: lines from another program,
//! perhaps on another machine, that are believed only as far as they go.

use anyhow::{Context, Result, bail, ensure};
use shared::escape::excerpt;
use shared::recording::{Reader, Record, Recording};

/// Of what is no recording so much is kept, to be shown.
const SHOWN: usize = 200;

/// What every recording begins with.
const HEAD: &[u8] = b"{\"helo\":\"rec\",";

/// The lines of one leg.
#[derive(Debug, Default)]
pub struct Stream {
    reader: Reader,
    /// How it begins.
    begun: Vec<u8>,
    has_head: bool,
    has_end: bool,
}

impl Stream {
    /// Takes the next bytes, and gives each record that is now whole. The first
    /// line decides whether this is a recording at all.
    pub fn take(&mut self, bytes: &[u8], mut give: impl FnMut(Record)) -> Result<()> {
        let room = SHOWN.saturating_sub(self.begun.len());
        self.begun.extend(bytes.iter().take(room));
        let (has_head, has_end) = (&mut self.has_head, &mut self.has_end);
        let mut unusable = None;
        self.reader.push(bytes, |record| {
            if !*has_head && unusable.is_none() {
                unusable = Recording::of(vec![record.clone()], Vec::new()).err();
                *has_head = unusable.is_none();
            }
            *has_end |= record.kind() == "end";
            if *has_head {
                give(record);
            }
        });
        if let Some(unusable) = unusable {
            return Err(unusable).with_context(|| self.no_recording());
        }
        let alike = self
            .begun
            .iter()
            .zip(HEAD)
            .all(|(found, head)| found == head);
        ensure!(self.has_head || alike, self.no_recording());
        Ok(())
    }

    /// The end of what came.
    pub fn finish(self) -> Result<()> {
        ensure!(!self.begun.is_empty(), "nothing came back");
        ensure!(self.has_head, self.no_recording());
        if let Some(damage) = self.reader.damage().first() {
            bail!("what came back is damaged: {damage}");
        }
        ensure!(self.has_end, "what came back was cut off");
        Ok(())
    }

    fn no_recording(&self) -> String {
        let mut lines = self.begun.split_inclusive(|&octet| octet == b'\n');
        let first = lines.next().unwrap_or_default();
        format!("what came back is no recording: {}", excerpt(first, 60))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &str = "{\"helo\":\"rec\",\"v\":1,\"k\":\"head\",\"n\":0}\n";
    const END: &str = "{\"n\":1,\"k\":\"end\"}\n";

    /// How many records came, and what is wrong.
    fn taken(pieces: &[&str]) -> (usize, Option<String>) {
        let (mut stream, mut count) = (Stream::default(), 0);
        for piece in pieces {
            if let Err(error) = stream.take(piece.as_bytes(), |_| count += 1) {
                return (count, Some(format!("{error:#}")));
            }
        }
        (count, stream.finish().err().map(|error| error.to_string()))
    }

    #[test]
    fn only_a_whole_recording_is_believed() {
        let (begin, rest) = FIRST.split_at(10);
        assert_eq!(taken(&[begin, rest, END]), (2, None));
        let wrong = |pieces: &[&str], words: &str| {
            let (_, said) = taken(pieces);
            assert!(
                said.as_ref().is_some_and(|said| said.contains(words)),
                "{said:?}"
            );
        };
        wrong(&[], "nothing came back");
        wrong(&[""], "nothing came back");
        wrong(&["hello\n"], "no recording: hello");
        wrong(&["hello"], "no recording: hello");
        wrong(&["{\"helo\":\"rec\",", "\n"], "no recording: {");
        wrong(&[&"y\n".repeat(1000)], "no recording: y");
        wrong(&[&"y".repeat(1000)], "no recording: yyy");
        wrong(&[END, FIRST], "no recording");
        wrong(
            &["{\"helo\":\"rec\",\"v\":7,\"k\":\"head\",\"n\":0}\n"],
            "version 7",
        );
        wrong(&[FIRST], "cut off");
        wrong(
            &[FIRST, "{\"n\":9,\"k\":\"end\"}\n"],
            "n=1 to n=8 are missing",
        );
        wrong(&[FIRST, "motd\n", END], "damaged");
    }
}
