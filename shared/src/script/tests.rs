use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn script(text: &str) -> Arc<Script> {
    Arc::new(text.parse().unwrap_or_else(|error| panic!("{error}")))
}

/// What becomes of a client that says all this and closes, in reads of these sizes.
fn play(script: &Arc<Script>, said: &[u8], reads: &[usize]) -> Vec<Cue> {
    let mut player = Player::new(Arc::clone(script));
    let (mut rest, mut reads) = (said, reads.iter().cycle());
    let mut cues = Vec::new();
    loop {
        match player.poll() {
            Cue::Hear if rest.is_empty() => player.receive_end(),
            Cue::Hear => {
                let octets = reads.next().copied().unwrap_or(1).clamp(1, rest.len());
                let (read, left) = rest.split_at(octets);
                player.receive(read);
                rest = left;
            }
            end @ (Cue::Close | Cue::Reset | Cue::Gone | Cue::StartTls) => {
                cues.push(end);
                return cues;
            }
            cue => cues.push(cue),
        }
    }
}

fn whole(text: &str, said: &str) -> Vec<Cue> {
    play(&script(text), said.as_bytes(), &[usize::MAX])
}

fn say(text: &'static str) -> Cue {
    Cue::Say {
        bytes: Bytes::from_static(text.as_bytes()),
        by_octets: false,
    }
}

fn mismatch(text: &str, said: &str) -> (usize, String, Option<String>) {
    let mut cues = whole(text, said);
    assert_eq!(cues.pop(), Some(Cue::Close));
    match cues.pop() {
        Some(Cue::Mismatch(mismatch)) => (mismatch.line, mismatch.expected, mismatch.got),
        other => panic!("{other:?}"),
    }
}

const SESSION: &str = "\
# A session.
S: 220 mx
C: EHLO *
S: 250-mx
S: 250 SIZE
C: MAIL FROM:<a@b>
-- 2s
S: 250 ok
C: *
C: DATA
S: 354 go on
-- content
S~ 250
C| a
C~ xy
-- octets
S: 221 bye
";

const CLIENT: &str = "EHLO c.test\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n\
    Subject: x\r\n\r\n..\r\n.\r\na\r\nxy";

#[test]
fn a_script_is_played_in_its_order() {
    let last = Cue::Say {
        bytes: Bytes::from_static(b"221 bye\r\n"),
        by_octets: true,
    };
    assert_eq!(
        whole(SESSION, CLIENT),
        [
            say("220 mx\r\n"),
            say("250-mx\r\n250 SIZE\r\n"),
            Cue::Pause(Duration::from_secs(2)),
            say("250 ok\r\n"),
            say("354 go on\r\n"),
            say("250"),
            last,
            Cue::Close
        ]
    );
}

#[test]
fn something_else_is_told_with_what_was_expected() {
    let text = "C: NOOP\nC: *\nC: QUIT now\nS: 221 bye\n";
    let told = |said| mismatch(text, said);
    let line = |text: &str| Some(text.to_owned());
    assert_eq!(told("RSET\r\n"), (1, "NOOP".into(), line("RSET")));
    assert_eq!(told("noop\r\n"), (1, "NOOP".into(), line("noop")));
    assert_eq!(told("NOOP\n"), (1, "NOOP".into(), line("NOOP\\n")));
    let quit = "NOOP\r\nx\r\nQUIT\r\nmore\r\n";
    assert_eq!(told(quit), (3, "QUIT now".into(), line("QUIT")));
    assert_eq!(told("NOOP\r\nx"), (2, "*".into(), line("x")));
    assert_eq!(told("NOOP\r\n"), (2, "*".into(), None));
    let told = mismatch("C~ ab\n", "axyz");
    assert_eq!(told, (1, "ab".into(), line("ax")));
    let told = mismatch("-- content\n", "text\r\n..\r\n.");
    let data = "mail data to its final dot".to_owned();
    assert_eq!(told, (1, data, line(".")));
    let told = mismatch("-- close client\n", "QUIT\r\n");
    assert_eq!(told, (1, "the end".into(), line("QUIT")));
}

#[test]
fn a_line_without_an_end_is_given_up() {
    for text in ["C: *\n", "C: QUIT\n"] {
        let endless = "Q".repeat(1 << 20);
        let mut player = Player::new(script(text));
        let mut most = 0;
        let mut reads = endless.as_bytes().chunks(1000);
        while player.poll() == Cue::Hear {
            player.receive(reads.next().expect("the line is given up"));
            most += 1000;
        }
        assert!(most < 70_000, "{most}");
    }
}

#[test]
fn what_a_client_says_in_clear_is_not_taken_for_tls() {
    let mut player = Player::new(script("C: STARTTLS\nS: 220 go\n-- tls\nC: NOOP\n"));
    player.receive(b"STARTTLS\r\n");
    assert_eq!(player.poll(), say("220 go\r\n"));
    let mut honest = player.clone();
    assert_eq!(honest.poll(), Cue::StartTls);
    assert_eq!(honest.poll(), Cue::StartTls, "it is waited for");
    honest.tls_started();
    honest.receive(b"NOOP\r\n");
    assert_eq!(honest.poll(), Cue::Close);
    player.receive(b"NOOP\r\n");
    assert!(matches!(player.poll(), Cue::Mismatch(_)));
}

#[test]
fn secrets_are_not_shown() {
    let told = mismatch("C: AUTH PLAIN c2VjcmV0\n", "auth PLAIN b3RoZXI=\r\n");
    assert!(!format!("{told:?}").contains("c2V"), "{told:?}");
    assert!(!format!("{told:?}").contains("b3R"), "{told:?}");
    let mut player = Player::new(script("S: 334 VXNlcg==\nC: c2VjcmV0\n"));
    player.poll();
    player.receive(b"b3RoZXI=\r\n");
    let told = format!("{:?}", player.poll());
    assert!(told.contains("answer to AUTH"), "{told}");
    assert!(!told.contains("c2V") && !told.contains("b3R"), "{told}");
}

#[test]
fn what_a_client_is_told_is_one_line_of_ascii() {
    let mismatch = Mismatch {
        line: 1,
        expected: "MAIL FROM:<ä@b>".into(),
        got: None,
    };
    let mut wire = Vec::new();
    mismatch.reply().encode(&mut wire);
    assert_eq!(wire, b"421 4.3.0 script expected MAIL FROM:<?@b>\r\n");
}

#[test]
fn errors_of_a_script_name_the_line() {
    for (text, line) in [
        ("S: 220 mx\n\n-- hold\n", 3),
        ("S: 220 mx\n-- some\n", 2),
        ("S: 220 mx\n-- close\n# more\nS: 221 bye\n", 4),
        ("-- wait\nC: QUIT\n", 2),
        ("-- reset\n-- octets\n", 2),
        ("S: 220 mx\nX: what\n", 2),
        ("# nothing\n", 1),
        ("", 1),
    ] {
        let error = text.parse::<Script>().unwrap_err();
        assert_eq!(error.line, line, "{text}: {error}");
    }
}

#[test]
fn whoever_waits_takes_everything() {
    let said = "QUIT\r\n".repeat(20_000);
    assert_eq!(whole("S: 220 mx\n-- wait\n", &said)[1..], [Cue::Gone]);
    assert_eq!(whole("C: QUIT\n-- reset\n", "QUIT\r\n"), [Cue::Reset]);
    assert_eq!(whole("C: QUIT\n-- close client\n", "QUIT\r\n"), [Cue::Gone]);
}

/// Pieces of which both scripts and clients are made, so that they often agree.
fn line() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "QUIT", "EHLO a", "*", "E*", ".", "", "..", "\\n", "x\\r",
    ])
}

fn step() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => line().prop_map(|line| format!("C: {line}")),
        1 => line().prop_map(|line| format!("C| {line}")),
        1 => line().prop_map(|line| format!("C~ {line}")),
        2 => Just("S: 250 ok".to_owned()),
        1 => Just("-- content".to_owned()),
        1 => Just("-- 1s".to_owned()),
        1 => Just("-- octets".to_owned()),
    ]
}

fn end() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "",
        "-- close",
        "-- reset",
        "-- wait",
        "-- close client",
    ])
}

fn client() -> impl Strategy<Value = Vec<u8>> {
    let word = prop::sample::select(vec![
        "QUIT\r\n",
        "EHLO a\r\n",
        "EHLO",
        ".\r\n",
        "\r\n",
        "..\r\n",
        "\n",
        "x\r\r\n",
        "QU",
    ]);
    let long = (0..3 * 64 * 1024_usize).prop_map(|octets| "x".repeat(octets));
    let piece = prop_oneof![20 => word.prop_map(str::to_owned), 1 => long];
    vec(piece, 0..12).prop_map(|pieces| pieces.concat().into_bytes())
}

proptest! {
    #[test]
    fn how_it_is_read_makes_no_difference(
        steps in vec(step(), 0..10),
        end in end(),
        said in client(),
        reads in vec(prop_oneof![1..4_usize, 1..100_000_usize], 1..8),
    ) {
        let text = format!("S: 220 mx\n{}\n{end}\n", steps.join("\n"));
        let script = script(&text);
        let once = play(&script, &said, &[usize::MAX]);
        prop_assert_eq!(play(&script, &said, &reads), once, "{}", text);
    }

    #[test]
    fn a_client_that_keeps_to_the_script_hears_all_of_it(reads in vec(1..20_usize, 1..8)) {
        let cues = play(&script(SESSION), CLIENT.as_bytes(), &reads);
        prop_assert_eq!(cues, whole(SESSION, CLIENT));
    }
}
