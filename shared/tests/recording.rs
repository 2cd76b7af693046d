//! Laws of the recording: what was sent is what is read back, and damage is
//! neither hidden nor spread.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail"
)]

use std::time::Duration;

use helo_shared::codec::Limits;
use helo_shared::direction::Direction::{self, Client, Server};
use helo_shared::recording::{
    ClockKind, CloseFacts, Damage, FileLog, Head, LINE, Merge, NoteFacts, OpenFacts, Reader,
    Record, Recording, RedactKey, Redaction, SessionLog, Unusable,
};
use helo_shared::session::{Observer, Peers, Unit};
use helo_shared::time::Timestamp;
use proptest::collection::vec;
use proptest::prelude::*;
use sha2::{Digest, Sha256};

/// What happens while a file is being recorded.
#[derive(Clone, Debug)]
enum Event {
    /// A read brought these bytes in that session.
    Read(usize, Direction, Vec<u8>),
    /// What is held was kept for long enough.
    Flush(usize, Direction),
    /// A durability mark is due.
    Sync,
}

/// A file being recorded, and what was really sent.
struct Recorder {
    file: FileLog,
    out: Vec<u8>,
    now: Timestamp,
    sessions: Vec<(Observer, SessionLog, [Vec<u8>; 2])>,
}

impl Recorder {
    fn new(sessions: usize, redaction: Redaction) -> Self {
        let mut out = Vec::new();
        let now = Timestamp::from_nanos(1_700_000_000_000_000_000);
        let head = Head {
            id: "laws".into(),
            at: now,
            tool: "laws".into(),
            redacted: matches!(redaction, Redaction::Auth(_)),
            clock: ClockKind::Monotonic,
        };
        let file = FileLog::begin(&head, &mut out);
        let mut recorder = Self {
            file,
            out,
            now,
            sessions: Vec::new(),
        };
        for _ in 0..sessions {
            let number = recorder.file.new_session();
            let log = SessionLog::new(number, redaction);
            let observer = Observer::new(Peers::Others, Limits::DEFAULT);
            let index = recorder.sessions.len();
            recorder.sessions.push((observer, log, Default::default()));
            recorder.append(index, |log, n, now, out| {
                log.open(n, now, &OpenFacts::default(), out)
            });
        }
        recorder
    }

    fn append(
        &mut self,
        session: usize,
        write: impl FnOnce(&mut SessionLog, u64, Timestamp, &mut Vec<u8>) -> u64,
    ) {
        let start = self.out.len();
        let log = &mut self.sessions[session].1;
        let count = write(log, self.file.next_line(), self.now, &mut self.out);
        self.file.appended(count, &self.out[start..]);
    }

    fn unit(&mut self, session: usize, unit: &Unit) {
        self.append(session, |log, n, _, out| log.unit(n, unit, out));
    }

    fn play(&mut self, event: &Event) {
        self.now = self.now + Duration::from_millis(1);
        match event {
            Event::Read(session, direction, bytes) => {
                let (observer, _, sent) = &mut self.sessions[*session];
                sent[direction.index()].extend_from_slice(bytes);
                observer.push(*direction, bytes, self.now);
                while let Some(unit) = self.sessions[*session].0.poll() {
                    self.unit(*session, &unit);
                }
            }
            Event::Flush(session, direction) => {
                if let Some(unit) = self.sessions[*session].0.flush(*direction) {
                    self.unit(*session, &unit);
                }
            }
            Event::Sync => self.file.sync(self.now, &mut self.out),
        }
    }

    fn close(&mut self) {
        for session in 0..self.sessions.len() {
            for direction in [Client, Server] {
                while let Some(unit) = self.sessions[session].0.finish(direction) {
                    self.unit(session, &unit);
                }
            }
            let close = CloseFacts {
                by: "client",
                how: "fin",
            };
            self.append(session, |log, n, now, out| log.close(n, now, close, out));
        }
    }

    fn sent(&self, session: usize, direction: Direction) -> &[u8] {
        &self.sessions[session].2[direction.index()]
    }
}

/// A whole file of two sessions, with its clean end.
fn record(events: &[Event], redaction: Redaction) -> (Vec<u8>, Recorder) {
    let mut recorder = Recorder::new(2, redaction);
    for event in events {
        recorder.play(event);
    }
    recorder.close();
    let mut out = std::mem::take(&mut recorder.out);
    recorder.file.end(recorder.now, &mut out);
    (out, recorder)
}

/// Pieces that make a session go somewhere, and others that make it go wrong.
const WORDS: &[&[u8]] = &[
    b"220 mx ESMTP\r\n",
    b"EHLO a\r\n",
    b"LHLO a\r\n",
    b"250-mx\r\n250-PIPELINING\r\n250 CHUNKING\r\n",
    b"250 2.0.0 Ok: queued as 4F1bC2\r\n",
    b"MAIL FROM:<a@b>\r\n",
    b"RCPT TO:<c@d>\r\n",
    b"DATA\r\n",
    b"354 go\r\n",
    b"x\r\n..y\r\n.\r\n",
    b"\n.\n",
    b".",
    b"BDAT 3 LAST\r\n",
    b"AUTH PLAIN\r\n",
    b"334 \r\n",
    b"AGEAYg==\r\n",
    b"STARTTLS\r\n",
    b"QUIT\r\n",
    b"421 4.4.2 bye\r\n",
    b"250-half\r\n550 other\r\n",
    b"\xff\xfe\x00\r",
    b"\x16\x03\x01\x00\x05",
    "gr\u{fc}\u{df}e \"\\\u{1}\t\u{7f}\u{2028}".as_bytes(),
];

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        6 => (0..WORDS.len()).prop_map(|at| WORDS[at].to_vec()),
        2 => (0..WORDS.len(), 1usize..9).prop_map(|(at, most)| {
            WORDS[at][..most.min(WORDS[at].len())].to_vec()
        }),
        1 => vec(any::<u8>(), 1..40),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    let direction = || prop_oneof![Just(Client), Just(Server)];
    prop_oneof![
        8 => (0usize..2, direction(), bytes()).prop_map(|(s, d, b)| Event::Read(s, d, b)),
        2 => (0usize..2, direction()).prop_map(|(s, d)| Event::Flush(s, d)),
        1 => Just(Event::Sync),
    ]
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    vec(event(), 0..40)
}

/// The records of a file given in pieces, and its damage.
fn read(pieces: &[&[u8]]) -> (Vec<Record>, Vec<Damage>) {
    let (mut reader, mut records) = (Reader::new(), Vec::new());
    for piece in pieces {
        reader.push(piece, |record| records.push(record));
    }
    (records, reader.finish())
}

/// A session of every kind of line, and a second one beside it.
fn sample() -> Vec<u8> {
    let said = |direction, text: &str| Event::Read(0, direction, text.as_bytes().to_vec());
    let events = [
        said(Server, "220 mx\r\n"),
        Event::Read(1, Server, b"220 other\r\n".to_vec()),
        said(Client, "EHLO a\r\n"),
        said(Server, "250-mx\r\n250 PIPELINING\r\n"),
        Event::Sync,
        said(Client, "MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n"),
        said(Server, "250 ok\r\n250 ok\r\n354 go\r\n"),
        said(Client, "Subject: \u{fc}\r\n\r\nx\r\n.\r\nQU"),
        Event::Flush(0, Client),
        said(Server, "250 2.0.0 Ok: queued as 4F1bC2\r\n"),
        Event::Sync,
        Event::Read(1, Client, b"\xff\r\n".to_vec()),
        said(Client, "IT\r\n"),
        said(Server, "221 bye\r\n"),
    ];
    record(&events, Redaction::Nothing).0
}

/// Where the lines of a file begin, and where it ends.
fn starts(file: &[u8]) -> Vec<usize> {
    let ends = memchr::memchr_iter(b'\n', file).map(|at| at + 1);
    std::iter::once(0).chain(ends).collect()
}

fn hex(bytes: &[u8]) -> String {
    helo_shared::escape::hex(&Sha256::digest(bytes))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn what_was_sent_is_read_back(events in events()) {
        let (file, recorder) = record(&events, Redaction::Nothing);
        let recording = Recording::parse(&file).unwrap();
        prop_assert_eq!(recording.damage(), &[]);
        prop_assert!(recording.is_finished());
        for session in 0..2 {
            for direction in [Client, Server] {
                let read = recording.payload(session as u64 + 1, direction);
                prop_assert_eq!(&read[..], recorder.sent(session, direction));
            }
        }
    }

    #[test]
    fn lines_are_numbered_and_refer_to_earlier_ones(events in events()) {
        let (file, _) = record(&events, Redaction::Nothing);
        let (records, _) = read(&[&file]);
        for (index, record) in records.iter().enumerate().skip(1) {
            prop_assert_eq!(record.n(), index as u64);
            for reference in ["re", "on"] {
                prop_assert!(record.number(reference).unwrap_or(0) < record.n());
            }
        }
        let end = records.last().unwrap();
        prop_assert_eq!(end.number("lines"), Some(records.len() as u64));
        prop_assert_eq!(end.number("sessions"), Some(2));
    }

    #[test]
    fn a_session_closes_with_the_sums_of_what_was_recorded(
        events in events(),
        redact in any::<bool>(),
    ) {
        let redaction = if redact { Redaction::Auth(RedactKey([7; 32])) } else { Redaction::Nothing };
        let (file, _) = record(&events, redaction);
        let recording = Recording::parse(&file).unwrap();
        for close in recording.records().iter().filter(|record| record.kind() == "close") {
            let session = close.session().unwrap();
            let payloads = [Client, Server].map(|side| recording.payload(session, side));
            let digests: Vec<_> = close.texts("sha256").collect();
            prop_assert_eq!(digests, payloads.iter().map(|p| hex(p)).collect::<Vec<_>>());
            let octets = serde_json::json!([payloads[0].len(), payloads[1].len()]);
            prop_assert_eq!(close.field("bytes"), Some(&octets));
        }
    }

    #[test]
    fn records_are_written_as_they_were_read(events in events()) {
        let (file, _) = record(&events, Redaction::Auth(RedactKey([7; 32])));
        let (records, _) = read(&[&file]);
        let mut again = Vec::new();
        for record in &records {
            record.write(&mut again);
        }
        prop_assert_eq!(String::from_utf8(again), String::from_utf8(file));
    }

    #[test]
    fn it_does_not_matter_how_a_file_is_split(
        mut cuts in vec(any::<prop::sample::Index>(), 0..9),
        flip in any::<(prop::sample::Index, u8)>(),
    ) {
        let mut file = sample();
        let at = flip.0.index(file.len());
        file[at] ^= flip.1;
        let whole = read(&[&file]);
        cuts.sort_by_key(|cut| cut.index(file.len()));
        let (mut pieces, mut from) = (Vec::new(), 0);
        for cut in &cuts {
            let to = cut.index(file.len());
            pieces.push(&file[from..to]);
            from = to;
        }
        pieces.push(&file[from..]);
        prop_assert_eq!(read(&pieces), whole);
    }
}

/// What is sent on after a refused AUTH stands where a verb should, and its first word
/// is a secret too: in no field, and in no spelling.
#[test]
fn a_secret_is_not_recorded_as_a_verb() {
    let said = |direction, bytes: &[u8]| Event::Read(0, direction, bytes.to_vec());
    let events = [
        said(Server, b"220 mx\r\n"),
        said(Client, b"AUTH LOGIN\r\n"),
        said(Server, b"504 no\r\n"),
        said(Client, b"c2VjcmV0\r\n"),
        said(Server, b"500 ?\r\n"),
    ];
    let (file, _) = record(&events, Redaction::Auth(RedactKey([7; 32])));
    let text = String::from_utf8(file).unwrap();
    assert!(text.contains(r#""verb":"","b":"********\r\n""#), "{text}");
    assert!(!text.to_lowercase().contains("c2vjcmv0"), "{text}");
    let (file, _) = record(&events, Redaction::Nothing);
    let text = String::from_utf8(file).unwrap();
    assert!(text.contains(r#""verb":"C2VJCMV0""#), "{text}");
}

#[test]
fn a_cut_costs_the_torn_line_and_nothing_else() {
    let file = sample();
    let (all, _) = read(&[&file]);
    let starts = starts(&file);
    for cut in 0..=file.len() {
        let whole = starts.iter().filter(|&&start| start <= cut).count() - 1;
        let (records, damage) = read(&[&file[..cut]]);
        assert_eq!(records, all[..whole], "cut at {cut}");
        let octets = (cut - starts[whole]) as u64;
        let torn = (octets > 0).then_some(Damage::Torn { octets });
        assert_eq!(damage, torn.into_iter().collect::<Vec<_>>(), "cut at {cut}");
    }
}

/// The checksum covers all lines but the marks themselves, and of a mark only the
/// time may change without a trace.
#[test]
fn a_changed_octet_before_the_last_mark_is_noticed() {
    let file = sample();
    let starts = starts(&file);
    let is_sync = |line: &[u8]| memchr::memmem::find(line, b"\"k\":\"sync\"").is_some();
    let last = starts
        .windows(2)
        .rposition(|line| is_sync(&file[line[0]..line[1]]))
        .unwrap();
    for at in 0..starts[last] {
        let line = starts.partition_point(|&start| start <= at) - 1;
        let text = &file[starts[line]..starts[line + 1]];
        let time = memchr::memmem::find(text, b"\"at\":").unwrap() + 1;
        let its_time = time..time + r#"at":"2023-11-14T22:13:20.000000000Z"#.len();
        if is_sync(text) && its_time.contains(&(at - starts[line])) {
            continue;
        }
        for mask in [1, 2, 4, 8, 16, 32, 64, 128, 255] {
            let mut changed = file.clone();
            changed[at] ^= mask;
            let (_, damage) = read(&[&changed]);
            let said = String::from_utf8_lossy(text);
            assert!(!damage.is_empty(), "octet {at} of {said} with {mask}");
        }
    }
}

#[test]
fn damage_in_the_middle_costs_one_line() {
    let file = sample();
    let (all, _) = read(&[&file]);
    let starts = starts(&file);
    for line in 1..all.len() {
        let mut changed = file.clone();
        changed[starts[line]] = 0;
        let (records, damage) = read(&[&changed]);
        let mut expected = all.clone();
        expected.remove(line);
        assert_eq!(records, expected);
        let octets = (starts[line + 1] - starts[line]) as u64;
        let skipped = Damage::NotARecord {
            line: line as u64 + 1,
            offset: starts[line] as u64,
            octets,
        };
        assert!(damage.contains(&skipped), "{damage:?}");
        let n = line as u64;
        let missing = |damage: &Damage| matches!(damage, Damage::Missing { from, to, .. } if (*from, *to) == (n, n));
        assert_eq!(damage.iter().any(missing), line + 1 < all.len());
        assert!(
            Recording::parse(&changed).is_ok(),
            "what is left can be used"
        );
    }
}

/// A line that no writer of ours makes does not spoil the checksum of the lines
/// around it, in whatever pieces it is read.
#[test]
fn an_endless_line_is_skipped_and_remembered() {
    let head = sample();
    let mut file = head[..starts(&head)[1]].to_vec();
    let junk_at = file.len();
    file.extend(vec![b'x'; 3 * LINE]);
    file.push(b'\n');
    let (octets, checksum) = (file.len(), crc32fast::hash(&file));
    file.extend(
        format!(
            "{{\"n\":1,\"at\":\"2023-11-14T22:13:20Z\",\"k\":\"sync\",\"bytes\":{octets},\"crc32\":\"{checksum:08x}\"}}\n"
        )
        .bytes(),
    );
    let skipped = [Damage::NotARecord {
        line: 2,
        offset: junk_at as u64,
        octets: 3 * LINE as u64 + 1,
    }];
    for size in [file.len(), 64 * 1024, LINE + 1, 4095] {
        let pieces: Vec<_> = file.chunks(size).collect();
        let (records, damage) = read(&pieces);
        assert_eq!(records.len(), 2);
        assert_eq!(damage, skipped, "in pieces of {size}");
    }
    // A file that ends in such a line is gone on with before it.
    let torn = &file[..junk_at + 2 * LINE];
    for size in [torn.len(), 4095] {
        let mut reader = Reader::new();
        for piece in torn.chunks(size) {
            reader.push(piece, |_| {});
        }
        assert_eq!(reader.whole_octets(), junk_at as u64);
        let mut out = torn[..junk_at].to_vec();
        FileLog::resume(1, 0, &reader).end(Timestamp::from_nanos(1), &mut out);
        assert_eq!(read(&[&out]).1, []);
    }
}

#[test]
fn a_resumed_file_verifies() {
    let file = sample();
    for cut in 0..=file.len() {
        let (mut reader, mut lines) = (Reader::new(), 0);
        reader.push(&file[..cut], |record| lines = record.n() + 1);
        let mut out = file[..usize::try_from(reader.whole_octets()).unwrap()].to_vec();
        let start = out.len();
        let mut log = FileLog::resume(lines, 2, &reader);
        let note = NoteFacts::default();
        note.write(log.next_line(), Timestamp::from_nanos(1), &mut out);
        log.appended(1, &out[start..]);
        log.end(Timestamp::from_nanos(2), &mut out);
        assert_eq!(read(&[&out]).1, [], "cut at {cut}");
    }
}

#[test]
fn what_would_be_misread_is_refused() {
    let refused = |head: &str| Recording::parse(head.as_bytes()).unwrap_err();
    let head = |v: &str, need: &str| {
        format!("{{\"helo\":\"rec\",\"v\":{v},\"k\":\"head\",\"n\":0,\"need\":{need}}}\n")
    };
    assert_eq!(refused(&head("2", "[]")), Unusable::Version(2));
    assert_eq!(refused(&head("0", "[]")), Unusable::Version(0));
    assert_eq!(refused(&head("\"1\"", "[]")), Unusable::NoHeader);
    assert_eq!(
        refused(&head("1", "[\"zstd\",\"x\"]")),
        Unusable::Need("zstd".into())
    );
    for none in ["", "\n", "{}\n", "{\"helo\":\"rec\",\"v\":1", "\0\0\0\n"] {
        assert_eq!(refused(none), Unusable::NoHeader, "{none:?}");
    }
    assert!(Recording::parse(head("1", "[]").as_bytes()).is_ok());
}

#[test]
fn numbers_at_the_edge_do_no_harm() {
    let head = "{\"helo\":\"rec\",\"v\":1,\"k\":\"head\",\"n\":0}\n";
    let file = format!("{head}{{\"n\":18446744073709551615}}\n{{\"n\":-1}}\n{{\"n\":1e400}}\n");
    let recording = Recording::parse(file.as_bytes()).unwrap();
    assert!(!recording.damage().is_empty());
    assert!(recording.dialogues().is_empty());
}

/// Kinds that later versions add may carry bytes that nobody sent.
#[test]
fn only_the_kinds_that_were_sent_make_the_payload() {
    let file = concat!(
        "{\"helo\":\"rec\",\"v\":1,\"k\":\"head\",\"n\":0}\n",
        "{\"n\":1,\"s\":1,\"k\":\"cmd\",\"d\":\"c\",\"b\":\"NOOP\\r\\n\"}\n",
        "{\"n\":2,\"s\":1,\"k\":\"fault\",\"d\":\"c\",\"act\":\"inject\",\"b\":\"RSET\\r\\n\"}\n",
        "{\"n\":3,\"s\":1,\"k\":\"raw\",\"d\":\"c\",\"why\":\"tls\",\"b64\":\"/w==\"}\n",
    );
    let recording = Recording::parse(file.as_bytes()).unwrap();
    assert_eq!(recording.payload(1, Client), b"NOOP\r\n\xff");
}

/// The records of a stream appended to a file that has lines and sessions.
fn merged(lines: &[&str]) -> Vec<Record> {
    let mut recorder = Recorder::new(3, Redaction::Nothing);
    let mut merge = Merge::default();
    for line in lines {
        let record = Record::parse(line.as_bytes()).unwrap();
        merge.append(record, &mut recorder.file, &mut recorder.out);
    }
    let mut out = std::mem::take(&mut recorder.out);
    recorder.file.end(recorder.now, &mut out);
    let (records, damage) = read(&[&out]);
    assert_eq!(damage, []);
    records[4..records.len() - 2].to_vec()
}

#[test]
fn merging_renumbers_and_keeps_the_rest() {
    let records = merged(&[
        r#"{"helo":"rec","v":1,"k":"head","n":0}"#,
        r#"{"n":1,"s":1,"k":"open"}"#,
        r#"{"n":2,"s":7,"k":"open","new":{"re":1}}"#,
        r#"{"n":3,"k":"sync","bytes":1,"crc32":"00000000"}"#,
        r#"{"n":4,"s":7,"k":"rep","re":0,"b":"220 x\r\n"}"#,
        r#"{"n":5,"s":1,"k":"cmd","b":"NOOP\r\n","later":[1.5,null]}"#,
        r#"{"n":6,"s":1,"k":"rep","re":5,"b":"250 x\r\n"}"#,
        r#"{"n":7,"s":1,"k":"note","on":6}"#,
        r#"{"n":8,"k":"novel","x":true}"#,
        r#"{"n":9,"k":"end"}"#,
    ]);
    let mut written = Vec::new();
    for record in &records {
        record.write(&mut written);
    }
    let expected = [
        r#"{"n":4,"s":4,"k":"open"}"#,
        r#"{"n":5,"s":5,"k":"open","new":{"re":1}}"#,
        r#"{"n":6,"s":5,"k":"rep","re":0,"b":"220 x\r\n"}"#,
        r#"{"n":7,"s":4,"k":"cmd","b":"NOOP\r\n","later":[1.5,null]}"#,
        r#"{"n":8,"s":4,"k":"rep","re":7,"b":"250 x\r\n"}"#,
        r#"{"n":9,"s":4,"k":"note","on":8}"#,
        r#"{"n":10,"k":"novel","x":true}"#,
    ];
    let written = String::from_utf8(written).unwrap();
    assert_eq!(written.lines().collect::<Vec<_>>(), expected);
}

/// A line that was lost must not be taken for another one of the new file.
#[test]
fn merging_drops_references_to_lines_that_were_lost() {
    let records = merged(&[
        r#"{"n":6,"s":1,"k":"rep","re":3,"b":"250 x\r\n"}"#,
        r#"{"n":7,"s":1,"k":"note","on":2,"by":"x"}"#,
    ]);
    assert_eq!(records[0].field("re"), None);
    assert_eq!(records[1].field("on"), None);
    assert_eq!(records[1].text("by"), Some("x"));
}
