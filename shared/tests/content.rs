//! Laws of the examiner of mail data: it finds what a simple reader of the whole
//! finds, and splitting the input changes nothing.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may fail"
)]

use std::time::Duration;

use helo_shared::codec::Limits;
use helo_shared::content::{Examined, Examiner, Finding, Oddity, Reader, Reading, Sequence};
use helo_shared::reply::Reply;
use helo_shared::session::{Asked, ServerOutput, ServerSession};
use helo_shared::time::Timestamp;
use proptest::prelude::*;

fn examine(data: &[u8]) -> Examined {
    in_pieces(&[data])
}

fn in_pieces(pieces: &[&[u8]]) -> Examined {
    let mut examiner = Examiner::new();
    for piece in pieces {
        examiner.examine(piece);
    }
    examiner.examined()
}

/// What is found by looking around every octet of the whole.
fn looked_up(data: &[u8]) -> Vec<Finding> {
    // The line end of the command is before the data.
    let wire = [b"\r\n", data].concat();
    let mut found = Vec::new();
    let mut note = |at: usize, oddity| {
        let offset = (at as u64).saturating_sub(2);
        found.push(Finding { offset, oddity });
    };
    let mut line = 0;
    for at in 2..wire.len() {
        let (before, after) = (&wire[..at], &wire[at + 1..]);
        match wire[at] {
            b'\r' if !after.starts_with(b"\n") => note(at, Oddity::BareCr),
            b'\n' if !before.ends_with(b"\r") => note(at, Oddity::BareLf),
            0 => note(at, Oddity::Nul),
            b'.' => {
                if let Some((sequence, long)) = sequence_around(before, after) {
                    note(at - long, Oddity::Smuggle(sequence));
                }
            }
            _ => {}
        }
        line += usize::from(!(wire[at] == b'.' && before.ends_with(b"\r\n")));
        if line == 1001 {
            note(at, Oddity::LongLine);
            line += 1;
        }
        if wire[at] == b'\n' {
            line = 0;
        }
    }
    found.sort_unstable();
    found
}

/// The sequence around a dot, and how many octets of it are before the dot.
fn sequence_around(before: &[u8], after: &[u8]) -> Option<(Sequence, usize)> {
    let ends = |ends: &[&[u8]]| ends.iter().any(|end| before.ends_with(end));
    let crlf = before.ends_with(b"\r\n");
    Some(if after.starts_with(b"\r\r\n") {
        match before {
            _ if before.ends_with(b"\r\r\n") => (Sequence::CrCrlfDotCrCrlf, 3),
            _ if crlf => (Sequence::CrlfDotCrCrlf, 2),
            [.., b'\n'] => (Sequence::LfDotCrCrlf, 1),
            [.., b'\r'] => (Sequence::CrDotCr, 1),
            _ => return None,
        }
    } else if after.starts_with(b"\r\n") {
        match before {
            _ if crlf => return None,
            _ if before.ends_with(b"\n\n") => (Sequence::LfLfDotCrlf, 2),
            [.., b'\n'] => (Sequence::LfDotCrlf, 1),
            [.., b'\r'] => (Sequence::CrDotCrlf, 1),
            _ if ends(&[b"\r\n\0"]) => (Sequence::CrlfNulDotCrlf, 3),
            _ if ends(&[b"\r\n "]) => (Sequence::CrlfSpDotCrlf, 3),
            _ => return None,
        }
    } else if after.starts_with(b"\0\r\n") && crlf {
        (Sequence::CrlfDotNulCrlf, 2)
    } else if after.starts_with(b" \r\n") && crlf {
        (Sequence::CrlfDotSpCrlf, 2)
    } else {
        match (before, after.first()) {
            (_, Some(b'\r')) if crlf => (Sequence::CrlfDotCr, 2),
            (_, Some(b'\n')) if crlf => (Sequence::CrlfDotLf, 2),
            ([.., b'\n'], Some(b'\r')) => (Sequence::LfDotCr, 1),
            ([.., b'\n'], Some(b'\n')) => (Sequence::LfDotLf, 1),
            ([.., b'\r'], Some(b'\r')) => (Sequence::CrDotCr, 1),
            ([.., b'\r'], Some(b'\n')) => (Sequence::CrDotLf, 1),
            _ => return None,
        }
    })
}

#[test]
fn each_sequence_is_found_where_it_is_and_nothing_else() {
    for sequence in Sequence::ALL {
        let data = [b"part one", sequence.octets(), b"part two\r\n"].concat();
        let smuggling: Vec<_> = examine(&data).smuggling().collect();
        let [(found, tally)] = smuggling[..] else {
            panic!("{sequence}: {smuggling:?}");
        };
        assert_eq!((found, tally.count, tally.first), (sequence, 1, 8));
    }
}

#[test]
fn a_sequence_at_the_start_begins_before_the_data() {
    // The CRLF before the dot is that of the command.
    let found = examine(b".\nx\r\n");
    let smuggle = Finding {
        offset: 0,
        oddity: Oddity::Smuggle(Sequence::CrlfDotLf),
    };
    assert!(found.findings().contains(&smuggle), "{found:?}");
}

#[test]
fn honest_mail_has_nothing_odd() {
    let long = [&b"x".repeat(998)[..], b"\r\n"].concat();
    let stuffed = [b".", &b".".repeat(998)[..], b"\r\n"].concat();
    for data in [
        &b""[..],
        b"Subject: x\r\n\r\n..\r\n...\r\nend.\r\n",
        b". \r\nx",
        b".x\r\n",
        &long,
        &stuffed,
    ] {
        let found = examine(data);
        let odd: Vec<_> = Oddity::all()
            .filter(|oddity| found.tally(*oddity).count > 0)
            .collect();
        if data.starts_with(b". ") {
            assert_eq!(odd, [Oddity::Smuggle(Sequence::CrlfDotSpCrlf)]);
        } else {
            assert_eq!(odd, [], "{}", data.escape_ascii());
        }
    }
    assert_eq!(examine(&long).longest_line(), 998);
    assert_eq!(examine(&stuffed).longest_line(), 998);
}

#[test]
fn the_octet_that_makes_a_line_too_long_is_told() {
    let data = [b"a\r\n", &b"x".repeat(3000)[..], b"\r\n"].concat();
    let found = examine(&data);
    let finding = Finding {
        offset: 1003,
        oddity: Oddity::LongLine,
    };
    assert_eq!(found.findings(), [finding]);
    assert_eq!(found.longest_line(), 3000);
}

#[test]
fn what_is_found_is_capped_and_all_is_counted() {
    let found = examine(&b"\n".repeat(100_000));
    assert_eq!(found.findings().len(), Examined::MOST);
    assert_eq!(found.tally(Oddity::BareLf).count, 100_000);
    // What comes after the last finding that is kept is still counted.
    let late = [&b"\n".repeat(1000)[..], b"x\n.\r\ny\xff\xff"].concat();
    let tally = examine(&late).tally(Oddity::Smuggle(Sequence::LfDotCrlf));
    assert_eq!((tally.count, tally.first), (1, 1001));
    let tally = examine(&late).tally(Oddity::EightBit);
    assert_eq!((tally.count, tally.first), (2, 1006));
}

#[test]
fn sequences_that_share_a_line_end_are_both_found() {
    let found = examine(b"x\n.\n.\r.\ny");
    let all: Vec<_> = found.smuggling().map(|(sequence, _)| sequence).collect();
    let wanted = [Sequence::LfDotLf, Sequence::LfDotCr, Sequence::CrDotLf];
    assert_eq!(all, wanted);
}

#[test]
fn who_is_strict_ends_at_none_of_them() {
    for sequence in Sequence::ALL {
        for strict in [Reader::PostfixNormalize, Reader::Exim] {
            assert_eq!(sequence.read_by(strict), Reading::NotEnd);
        }
    }
}

#[test]
fn a_session_tells_what_it_found_in_each_message_that_ends_in_a_dot() {
    let now = Timestamp::from_nanos(1);
    let mut session = ServerSession::new(now, Limits::DEFAULT, Duration::from_secs(300));
    session.receive(
        now,
        b"EHLO a\r\nMAIL FROM:<>\r\nRCPT TO:<b@c>\r\nDATA\r\nx\n.\r\ny\r\n.\r\n\
          MAIL FROM:<>\r\nRCPT TO:<b@c>\r\nDATA\r\nfine\r\n.\r\n\
          MAIL FROM:<>\r\nRCPT TO:<b@c>\r\nBDAT 3\r\n\n.\nBDAT 0 LAST\r\n",
    );
    let mut verdicts = Vec::new();
    while let Some(output) = session.poll() {
        let code = match output {
            ServerOutput::Ask(Asked::Greeting) => 220,
            ServerOutput::Ask(Asked::Command(heard)) if heard.verb.name() == "DATA" => 354,
            ServerOutput::Ask(Asked::EndOfData { .. }) => {
                let examined = session.examined();
                verdicts.push(examined.map(|found| found.findings().len()));
                250
            }
            ServerOutput::Ask(_) => 250,
            _ => continue,
        };
        session.answer(now, &[Reply::of(code, "", "ok")]);
    }
    // The bare LF and what it is part of; nothing; and nothing was looked for.
    assert_eq!(verdicts, [Some(2), Some(0), None, None]);
}

fn mail() -> impl Strategy<Value = Vec<u8>> {
    let octets = prop::sample::select(&b"..\r\r\n\n\0 a\xff"[..]);
    let lines = prop::collection::vec(octets, 0..60);
    let long = prop::sample::select(vec![0usize, 0, 0, 990, 995, 1000, 2100]);
    (lines.clone(), long, lines).prop_map(|(mut before, long, after)| {
        before.extend(std::iter::repeat_n(b'x', long));
        before.extend(after);
        before
    })
}

proptest! {
    #[test]
    fn all_is_found_that_is_there(data in mail()) {
        let found = examine(&data);
        let all = looked_up(&data);
        prop_assert_eq!(found.findings(), &all[..]);
        for oddity in Oddity::all().filter(|oddity| *oddity != Oddity::EightBit) {
            let of_kind = || all.iter().filter(|finding| finding.oddity == oddity);
            prop_assert_eq!(found.tally(oddity).count, of_kind().count() as u64);
            let first = of_kind().next().map_or(0, |finding| finding.offset);
            prop_assert_eq!(found.tally(oddity).first, first);
        }
        let high = data.iter().filter(|octet| !octet.is_ascii()).count();
        prop_assert_eq!(found.tally(Oddity::EightBit).count, high as u64);
        let longest = longest_of(&data);
        prop_assert_eq!(found.longest_line(), longest);
        prop_assert_eq!(found.octets(), data.len() as u64);
    }

    #[test]
    fn splitting_changes_nothing(
        data in mail(),
        cuts in prop::collection::vec(1usize..20, 1..9),
    ) {
        let mut pieces = Vec::new();
        let (mut rest, mut cut) = (&data[..], cuts.iter().cycle());
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(rest.len().min(*cut.next().unwrap()));
            pieces.push(piece);
            rest = after;
        }
        prop_assert_eq!(in_pieces(&pieces), examine(&data));
        let octets: Vec<&[u8]> = data.chunks(1).collect();
        prop_assert_eq!(in_pieces(&octets), examine(&data));
    }
}

/// The longest line, its end and a doubled dot not counted.
fn longest_of(data: &[u8]) -> u64 {
    let (mut longest, mut after_crlf) = (0, true);
    for line in data.split_inclusive(|&octet| octet == b'\n') {
        let text = line
            .strip_suffix(b"\n")
            .map_or(line, |text| text.strip_suffix(b"\r").unwrap_or(text));
        let stuffed = after_crlf && text.starts_with(b".");
        longest = longest.max(text.len() - usize::from(stuffed));
        after_crlf = line.ends_with(b"\r\n");
    }
    longest as u64
}
