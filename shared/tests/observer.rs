//! Laws of the observer: no byte is lost, and splitting the input changes nothing.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may fail"
)]

#[path = "support/units.rs"]
mod units;

use helo_shared::codec::Limits;
use helo_shared::direction::Direction::{self, Client, Server};
use helo_shared::session::{Kind, Observer, Peers, Unit};
use helo_shared::time::Timestamp;
use proptest::prelude::*;
use units::essence;

type Turn = (Direction, Vec<u8>);

/// Everything the observer yields, each turn cut at the given places.
fn observe(turns: &[Turn], cuts: &[usize], peers: Peers) -> Vec<Unit> {
    let mut observer = Observer::new(peers, Limits::DEFAULT);
    let (mut units, mut now, mut cut) = (Vec::new(), 0, cuts.iter().cycle());
    for (direction, bytes) in turns {
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            now += 1;
            let most = cut
                .next()
                .map_or(rest.len(), |&cut| cut.clamp(1, rest.len()));
            observer.push(*direction, &rest[..most], Timestamp::from_nanos(now));
            rest = &rest[most..];
            units.extend(std::iter::from_fn(|| observer.poll()));
        }
    }
    for direction in [Client, Server] {
        units.extend(std::iter::from_fn(|| observer.finish(direction)));
    }
    units
}

fn bytes_of(units: &[Unit], direction: Direction) -> Vec<u8> {
    units
        .iter()
        .filter(|unit| unit.direction == direction)
        .flat_map(|unit| unit.bytes.to_vec())
        .collect()
}

fn sent(turns: &[Turn], direction: Direction) -> Vec<u8> {
    turns
        .iter()
        .filter(|turn| turn.0 == direction)
        .flat_map(|turn| turn.1.clone())
        .collect()
}

fn turns(text: &[(char, &str)]) -> Vec<Turn> {
    text.iter()
        .map(|&(side, text)| {
            let direction = if side == 'C' { Client } else { Server };
            (direction, text.as_bytes().to_vec())
        })
        .collect()
}

fn dialogues() -> Vec<Vec<Turn>> {
    vec![
        turns(&[
            ('S', "220 mx ESMTP\r\n"),
            ('C', "EHLO a\r\n"),
            ('S', "250-mx\r\n250-PIPELINING\r\n250 SIZE 10\r\n"),
            ('C', "MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n"),
            ('S', "250 2.1.0 ok\r\n250 2.1.5 ok\r\n354 go\r\n"),
            (
                'C',
                "Subject: x\r\n\r\n..dot\r\n.\n\r\nend\r\n.\r\nQUIT\r\n",
            ),
            ('S', "250 2.0.0 queued\r\n221 bye\r\n"),
        ]),
        turns(&[
            ('S', "220-mx\r\n220 ESMTP\r\n"),
            ('C', "LHLO a\r\n"),
            ('S', "250 mx\r\n"),
            ('C', "MAIL FROM:<>\r\n"),
            ('S', "250 ok\r\n"),
            ('C', "RCPT TO:<a@b>\r\n"),
            ('S', "250 ok\r\n"),
            ('C', "RCPT TO:<c@d>\r\n"),
            ('S', "250 ok\r\n"),
            ('C', "DATA\r\n"),
            ('S', "354 go\r\n"),
            ('C', "x\r\n.\r\n"),
            ('S', "250 first\r\n452 second\r\n"),
        ]),
        turns(&[
            ('S', "220 mx\r\n"),
            ('C', "EHLO a\r\n"),
            ('S', "250 mx\r\n"),
            ('C', "AUTH LOGIN\r\n"),
            ('S', "334 VXNlcm5hbWU6\r\n"),
            ('C', "YQ==\r\n"),
            ('S', "334 UGFzc3dvcmQ6\r\n"),
            ('C', "Yg==\r\n"),
            ('S', "535 5.7.8 no\r\n"),
            ('C', "STARTTLS\r\n"),
            ('S', "454 not now\r\n"),
            ('C', "MAIL FROM:<a@b>\r\n"),
            ('S', "not a reply\r\n250-mixed\r\n550 codes\r\n"),
        ]),
        turns(&[
            ('S', "220 mx\r\n"),
            ('C', "EHLO a\r\n"),
            ('S', "250-mx\r\n250 CHUNKING\r\n"),
            ('C', "MAIL FROM:<a@b>\r\n"),
            ('S', "250 ok\r\n"),
            ('C', "RCPT TO:<c@d>\r\n"),
            ('S', "250 ok\r\n"),
            ('C', "BDAT 5\r\nab\r\n.BDAT 0 LAST\r\nQUIT\r\n"),
            ('S', "250 5\r\n250 done\r\n221 bye\r\n"),
        ]),
    ]
}

#[test]
fn replies_answer_what_they_answer() {
    let all = essence(&observe(&dialogues()[0], &[], Peers::Others));
    let expected = [
        "s 220 to Greeting 220 mx ESMTP\\r\\n []",
        "c Command { verb: Ehlo } EHLO a\\r\\n []",
        "s 250 to 2 250-mx\\r\\n250-PIPELINING\\r\\n250 SIZE 10\\r\\n []",
        "c Command { verb: Mail } MAIL FROM:<a@b>\\r\\n []",
        "c Command { verb: Rcpt } RCPT TO:<c@d>\\r\\n []",
        "c Command { verb: Data } DATA\\r\\n []",
        "s 250 to 4 250 2.1.0 ok\\r\\n []",
        "s 250 to 5 250 2.1.5 ok\\r\\n []",
        "s 354 to 6 354 go\\r\\n []",
        "c data Dot Subject: x\\r\\n\\r\\n..dot\\r\\n.\\n\\r\\nend\\r\\n [BareLf]",
        "c data Dot end true .\\r\\n []",
        "c Command { verb: Quit } QUIT\\r\\n []",
        "s 250 to 11 250 2.0.0 queued\\r\\n []",
        "s 221 to 12 221 bye\\r\\n []",
    ];
    assert_eq!(all, expected);
}

#[test]
fn lmtp_answers_each_recipient() {
    let all = essence(&observe(&dialogues()[1], &[], Peers::Others));
    assert_eq!(all[all.len() - 2], "s 250 to 13 250 first\\r\\n []");
    assert_eq!(all[all.len() - 1], "s 452 to 13 452 second\\r\\n []");
}

#[test]
fn lmtp_recipients_end_with_their_transaction() {
    let told = turns(&[
        ('S', "220 mx\r\n"),
        ('C', "LHLO a\r\n"),
        ('S', "250 mx\r\n"),
        ('C', "MAIL FROM:<>\r\nRCPT TO:<a@b>\r\nRCPT TO:<c@d>\r\n"),
        ('S', "250 ok\r\n250 ok\r\n250 ok\r\n"),
        // Refused, and so no new transaction.
        ('C', "MAIL FROM:<>\r\n"),
        ('S', "503 not now\r\n"),
        ('C', "BDAT 0 LAST\r\n"),
        ('S', "250 first\r\n250 second\r\n"),
        ('C', "BDAT 0 LAST\r\n"),
        ('S', "503 MAIL first\r\n"),
        ('C', "NOOP\r\n"),
        ('S', "250 ok\r\n"),
    ]);
    let all = essence(&observe(&told, &[], Peers::Others));
    let tail = &all[all.len() - 6..];
    assert_eq!(tail[0], "s 250 to 12 250 first\\r\\n []");
    assert_eq!(tail[1], "s 250 to 12 250 second\\r\\n []");
    assert_eq!(tail[3], "s 503 to 15 503 MAIL first\\r\\n []");
    assert_eq!(tail[5], "s 250 to 17 250 ok\\r\\n []");
}

#[test]
fn lmtp_recipients_of_a_group_are_known_when_they_are_answered() {
    let told = turns(&[
        ('S', "220 mx\r\n"),
        ('C', "LHLO a\r\n"),
        ('S', "250-mx\r\n250-PIPELINING\r\n250 CHUNKING\r\n"),
        (
            'C',
            "MAIL FROM:<>\r\nRCPT TO:<a@b>\r\nRCPT TO:<c@d>\r\nBDAT 2 LAST\r\nhiNOOP\r\n",
        ),
        (
            'S',
            "250 ok\r\n250 ok\r\n250 ok\r\n250 first\r\n452 second\r\n250 ok\r\n",
        ),
    ]);
    for peers in [Peers::Ours, Peers::Others] {
        let all = essence(&observe(&told, &[], peers));
        let tail = &all[all.len() - 3..];
        assert_eq!(tail[0], "s 250 to 8 250 first\\r\\n []");
        assert_eq!(tail[1], "s 452 to 8 452 second\\r\\n []");
        assert_eq!(tail[2], "s 250 to 9 250 ok\\r\\n []");
    }
}

#[test]
fn what_waits_for_its_meaning_is_heard_before_it_is_answered() {
    let told = turns(&[
        ('S', "220 mx\r\n"),
        ('C', "EHLO a\r\n"),
        ('S', "250-mx\r\n250 PIPELINING\r\n"),
        ('C', "DATA\r\nNOOP\r\n"),
        ('S', "503 MAIL first\r\n250 still here\r\n"),
    ]);
    let all = essence(&observe(&told, &[], Peers::Others));
    let tail = &all[all.len() - 3..];
    assert_eq!(tail[0], "s 503 to 4 503 MAIL first\\r\\n []");
    assert!(tail[1].contains("NOOP"), "{all:#?}");
    assert_eq!(tail[2], "s 250 to 6 250 still here\\r\\n []");
}

#[test]
fn what_is_no_reply_is_raw_and_codes_are_not_merged() {
    let all = essence(&observe(&dialogues()[2], &[], Peers::Others));
    let tail = &all[all.len() - 2..];
    assert_eq!(
        tail[0],
        "s Raw { why: NotAReply } not a reply\\r\\n250-mixed\\r\\n [CodeChanged, NotAReply]"
    );
    assert!(tail[1].starts_with("s 550 to 12 550 codes"), "{tail:#?}");
}

#[test]
fn plaintext_after_starttls_is_never_a_command() {
    let told = turns(&[
        ('S', "220 mx\r\n"),
        ('C', "EHLO a\r\n"),
        ('S', "250 mx\r\n"),
        ('C', "STARTTLS\r\nMAIL FROM:<x@y>\r\n"),
        ('S', "220 go\r\n250 injected\r\n"),
    ]);
    for peers in [Peers::Ours, Peers::Others] {
        let all = essence(&observe(&told, &[], peers));
        let raw: Vec<_> = all.iter().filter(|line| line.contains("Raw")).collect();
        assert!(
            raw.iter()
                .any(|line| line.starts_with("c ") && line.contains("MAIL")),
            "{all:#?}"
        );
        assert!(
            raw.iter()
                .any(|line| line.starts_with("s ") && line.contains("injected"))
        );
    }
}

#[test]
fn a_lenient_end_of_data_is_noticed_by_the_reply() {
    let told = turns(&[
        ('S', "220 mx\r\n"),
        ('C', "EHLO a\r\n"),
        ('S', "250 mx\r\n"),
        ('C', "MAIL FROM:<x@y>\r\n"),
        ('S', "250 ok\r\n"),
        ('C', "RCPT TO:<x@y>\r\n"),
        ('S', "250 ok\r\n"),
        ('C', "DATA\r\n"),
        ('S', "354 go\r\n"),
        ('C', "x\n.\n"),
        ('S', "250 queued\r\n"),
        ('C', "QUIT\r\n"),
    ]);
    let all = essence(&observe(&told, &[], Peers::Others));
    assert!(
        all.iter().any(|line| line.contains("EndOfDataNotCrlf")),
        "{all:#?}"
    );
    assert!(all.last().unwrap().contains("Quit"), "{all:#?}");
}

#[test]
fn out_of_step_clients_are_noticed() {
    let early = turns(&[('C', "EHLO a\r\n"), ('S', "220 mx\r\n250 mx\r\n")]);
    let all = essence(&observe(&early, &[], Peers::Others));
    assert!(all[0].contains("TalkBeforeGreeting"), "{all:#?}");
    assert!(all[2].starts_with("s 250 to 1"), "{all:#?}");
    let group = turns(&[
        ('S', "220 mx\r\n"),
        ('C', "EHLO a\r\n"),
        ('S', "250 mx\r\n"),
        ('C', "MAIL FROM:<x@y>\r\nRCPT TO:<x@y>\r\n"),
        ('S', "250 ok\r\n250 ok\r\n"),
    ]);
    let all = essence(&observe(&group, &[], Peers::Others));
    assert!(all[4].contains("UnannouncedPipelining"), "{all:#?}");
    assert!(!all[3].contains("UnannouncedPipelining"), "{all:#?}");
}

#[test]
fn endless_lines_come_in_bounded_pieces() {
    for (direction, first) in [(Client, "220 mx\r\n"), (Server, "")] {
        let mut observer = Observer::new(Peers::Others, Limits::DEFAULT);
        observer.push(Server, first.as_bytes(), Timestamp::from_nanos(1));
        while observer.poll().is_some() {}
        let mut seen = 0;
        let junk = vec![b'2'; 64 * 1024];
        for n in 0..160 {
            observer.push(direction, &junk, Timestamp::from_nanos(n + 2));
            while let Some(unit) = observer.poll() {
                assert!(unit.bytes.len() <= Limits::DEFAULT.unit);
                seen += unit.bytes.len();
            }
            assert!(observer.held(direction) < 2 * Limits::DEFAULT.unit);
        }
        assert!(seen > 9 * 1024 * 1024);
    }
}

#[test]
fn a_typist_is_passed_on_and_still_understood() {
    let mut observer = Observer::new(Peers::Others, Limits::DEFAULT);
    observer.push(Server, b"220 mx\r\n", Timestamp::from_nanos(1));
    let mut units: Vec<_> = std::iter::from_fn(|| observer.poll()).collect();
    for (n, octet) in b"BDAT 2\r\nhiQUIT\r\n".iter().enumerate() {
        observer.push(Client, &[*octet], Timestamp::from_nanos(n as u64 + 2));
        units.extend(std::iter::from_fn(|| observer.poll()));
        units.extend(observer.flush(Client));
        assert_eq!(observer.held(Client), 0);
    }
    let whole: Vec<_> = units
        .iter()
        .filter(|unit| !unit.more)
        .map(|unit| &unit.kind)
        .collect();
    assert!(matches!(whole[1], Kind::Command { verb } if verb.name() == "BDAT"));
    assert!(matches!(whole[3], Kind::Data { end: true, .. }));
    assert!(matches!(whole[4], Kind::Command { verb } if verb.name() == "QUIT"));
}

proptest! {
    #[test]
    fn splitting_changes_nothing(which in 0usize..4, cuts in prop::collection::vec(1usize..9, 1..9)) {
        let told = &dialogues()[which];
        let (whole, cut) = (observe(told, &[], Peers::Others), observe(told, &cuts, Peers::Others));
        prop_assert_eq!(essence(&cut), essence(&whole));
        for direction in [Client, Server] {
            prop_assert_eq!(bytes_of(&cut, direction), sent(told, direction));
        }
    }

    #[test]
    fn no_byte_is_lost_whatever_comes(
        noise in prop::collection::vec((any::<bool>(), prop::collection::vec(
            prop::sample::select(&b"MAILDATARSETBDAT 12LAST<>:.@\r\n\r\n\0\xff\x16\x03250-354 "[..]), 0..60)), 0..20),
        cuts in prop::collection::vec(1usize..50, 1..5),
        ours: bool,
    ) {
        let told: Vec<Turn> = noise.into_iter().map(|(client, bytes)| {
            (if client { Client } else { Server }, bytes)
        }).collect();
        let units = observe(&told, &cuts, if ours { Peers::Ours } else { Peers::Others });
        for direction in [Client, Server] {
            prop_assert_eq!(bytes_of(&units, direction), sent(&told, direction));
        }
    }
}

#[test]
fn a_session_that_goes_on_in_plain_text_after_starttls_is_followed() {
    let mut told = turns(&[
        ('S', "220 mx\r\n"),
        ('C', "EHLO a\r\n"),
        ('S', "250 mx\r\n"),
        ('C', "STARTTLS\r\n"),
        ('S', "220 go\r\n"),
        ('C', "EHLO b\r\n"),
        ('S', "250 mx again\r\n"),
    ]);
    let all = essence(&observe(&told, &[], Peers::Others));
    assert!(all[5].contains("Ehlo"), "{all:#?}");
    assert!(all[6].starts_with("s 250 to 6"), "{all:#?}");
    told[5].1 = b"\x16\x03\x01\0\x01x".to_vec();
    let all = essence(&observe(&told, &[], Peers::Others));
    assert!(all[5].starts_with("c Raw { why: Tls }"), "{all:#?}");
    assert!(all[6].starts_with("s Raw { why: Tls }"), "{all:#?}");
}

/// What one side of a capture lacks, and what is seen of the rest.
enum Seen {
    Bytes(Direction, &'static str),
    Gap(Direction, u64),
}

fn observe_with_gaps(seen: &[Seen], observer: &mut Observer) -> Vec<String> {
    let mut units = Vec::new();
    for (now, one) in (1..).zip(seen) {
        match one {
            Seen::Bytes(direction, bytes) => {
                observer.push(*direction, bytes.as_bytes(), Timestamp::from_nanos(now));
                units.extend(std::iter::from_fn(|| observer.poll()));
            }
            Seen::Gap(direction, octets) => {
                units.extend(std::iter::from_fn(|| observer.cut(*direction)));
                observer.gap(*direction, *octets);
            }
        }
    }
    for direction in [Server, Client] {
        units.extend(std::iter::from_fn(|| observer.finish(direction)));
    }
    essence(&units)
}

#[test]
fn a_command_without_its_end_is_answered_and_the_rest_of_a_line_is_none() {
    let mut observer = Observer::new(Peers::Others, Limits::DEFAULT);
    let all = observe_with_gaps(
        &[
            Seen::Bytes(Server, "220 mx\r\n"),
            Seen::Bytes(Client, "EHLO a\r\n"),
            Seen::Bytes(Server, "250 m"),
            Seen::Gap(Server, 3),
            Seen::Bytes(Client, "MAIL FROM:<a"),
            Seen::Gap(Client, 10),
            Seen::Bytes(Client, "test>\r\n"),
            Seen::Bytes(Server, "250 sender\r\n"),
            Seen::Bytes(Client, "RCPT TO:<b@c>"),
            Seen::Gap(Client, 2),
            Seen::Bytes(Server, "250 recipient\r\n"),
            Seen::Bytes(Client, "QUIT\r\n"),
            Seen::Bytes(Server, "221 bye\r\n"),
        ],
        &mut observer,
    );
    assert_eq!(all[2], "s 250 to 2 250 m [CutShort]");
    assert!(
        all[3].contains("Mail") && all[3].contains("CutShort"),
        "{all:#?}"
    );
    assert!(
        all[4].starts_with("c Raw { why: AfterGap } test>"),
        "{all:#?}"
    );
    assert!(all[5].starts_with("s 250 to 4 250 sender"), "{all:#?}");
    assert!(all[7].starts_with("s 250 to 7 250 recipient"), "{all:#?}");
    assert!(all[9].starts_with("s 221 to 9"), "{all:#?}");
}

#[test]
fn an_end_of_data_that_was_lost_is_told_from_the_reply() {
    let mut observer = Observer::new(Peers::Others, Limits::DEFAULT);
    let all = observe_with_gaps(
        &[
            Seen::Bytes(Server, "220 mx\r\n"),
            Seen::Bytes(Client, "DATA\r\n"),
            Seen::Bytes(Server, "354 go\r\n"),
            Seen::Bytes(Client, "a line\r\n"),
            Seen::Gap(Client, 40),
            Seen::Bytes(Server, "250 queued\r\n"),
            Seen::Bytes(Client, "QUIT\r\n"),
            Seen::Bytes(Server, "221 bye\r\n"),
        ],
        &mut observer,
    );
    assert!(all[5].contains("Quit"), "{all:#?}");
    assert!(all[6].starts_with("s 221 to 6"), "{all:#?}");
}

#[test]
fn a_client_alone_is_understood() {
    let mut observer = Observer::new(Peers::Others, Limits::DEFAULT);
    observer.server_is_unseen();
    let all = observe_with_gaps(
        &[
            Seen::Bytes(Client, "EHLO a\r\n"),
            Seen::Bytes(Client, "MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n"),
            Seen::Bytes(Client, "Subject: x\r\n\r\n..\r\n.\r\nQUIT\r\n"),
        ],
        &mut observer,
    );
    let kinds: Vec<_> = all.iter().map(|line| &line[..8]).collect();
    assert_eq!(all.len(), 7, "{kinds:?}");
    assert!(all[4].contains("Dot"), "{all:#?}");
    assert!(all[6].contains("Quit"), "{all:#?}");
}
