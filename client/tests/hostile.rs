//! Servers that mean no good, at every step of a session: whatever they send or do
//! not send, the client ends in time, in little memory, with the status that fits
//! and a line that says why.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test may fail, and says what it measured"
)]

mod support;

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use support::{SHORT, Turn, complaint, honest, recording, run, send, serve_with, text};
use testkit::wait::until_true;
use testkit::watched::Ended;
use testkit::wire::Wire;
use testkit::{Dice, Scripted, Upstream, scratch};

/// No server may make the client keep more than this, in KiB: the limits of a reply
/// and of a line, a few times over, and what the program itself needs.
const MOST: u64 = 32 * 1024;

/// Nor may one keep it for longer than this, where a time limit of a second holds.
const LONGEST: Duration = Duration::from_secs(20);

/// Something that is done instead of an answer, and the status of `send` less the
/// phase.
type Attack = (&'static str, fn(&mut Wire), i32);

const ATTACKS: &[Attack] = &[
    (
        "a reply without an end",
        |wire| flood(wire, b"250-and so on\r\n"),
        90,
    ),
    (
        "a reply line without an end",
        |wire| {
            let _ = wire.write_all(b"250 ");
            flood(wire, b"x");
        },
        90,
    ),
    ("a line without an end", |wire| flood(wire, b"x"), 90),
    (
        "empty lines without an end",
        |wire| flood(wire, b"\r\n"),
        90,
    ),
    ("NULs without an end", |wire| flood(wire, b"\0"), 90),
    (
        "a reply line of 10 MB",
        |wire| {
            let mut line = b"250 ".to_vec();
            line.resize(10_000_000, b'x');
            line.extend_from_slice(b"\r\n");
            let _ = wire.write_all(&line);
            wait(wire);
        },
        90,
    ),
    (
        "a reply of another code in each line",
        |wire| say(wire, b"250-a\r\n550-b\r\n"),
        90,
    ),
    (
        "binary garbage without an end",
        |wire| {
            let mut dice = Dice::seeded(SEED.load(Ordering::SeqCst));
            while wire.write_all(&dice.octets(10_000)).is_ok() {}
        },
        90,
    ),
    (
        "a TLS alert",
        |wire| say(wire, b"\x15\x03\x01\x00\x02\x02\x28\r\n"),
        90,
    ),
    (
        "the beginning of a reply",
        |wire| {
            let _ = wire.write_all(b"250-");
            wait(wire);
        },
        60,
    ),
    ("nothing", wait, 60),
    ("the end", |_| {}, 70),
    ("a reset", |wire| wire.reset_on_close().unwrap(), 70),
    (
        "the beginning of a reply, and the end",
        |wire| {
            let _ = wire.write_all(b"250-and");
        },
        70,
    ),
];

/// What garbage is made from.
static SEED: AtomicU64 = AtomicU64::new(1);

/// Octets that floods got rid of before the client left.
static SENT: AtomicU64 = AtomicU64::new(0);

fn say(wire: &mut Wire, bytes: &[u8]) {
    let _ = wire.write_all(bytes);
    wait(wire);
}

/// Until the client leaves.
fn wait(wire: &mut Wire) {
    let _ = wire.read_to_end(&mut Vec::new());
}

/// Until the client leaves, who must not take all of it.
fn flood(wire: &mut Wire, piece: &[u8]) {
    let pieces = piece.repeat(64 * 1024 / piece.len());
    let mut sent = 0;
    while wire.write_all(&pieces).is_ok() {
        sent += pieces.len() as u64;
        assert!(sent < 64 << 20, "{sent} octets were taken");
    }
    SENT.fetch_max(sent, Ordering::SeqCst);
}

/// The answers at which an attack may come, by their phase.
const STEPS: [&str; 6] = ["", "EHLO", "MAIL", "RCPT", "DATA", "."];

/// A server that is honest up to a step, and then is not.
fn attacker(step: &'static str, act: fn(&mut Wire)) -> Upstream {
    serve_with(move |_, line| {
        let verb = line.split(' ').next().unwrap_or_default();
        if verb == step {
            Turn::Do(act)
        } else {
            plain(line)
        }
    })
}

/// An honest server without TLS.
fn plain(line: &str) -> Turn {
    match honest(line) {
        Turn::Say(reply) => Turn::Say(reply.replace("250-mx.test\r\n250 STARTTLS", "250 mx.test")),
        other => other,
    }
}

/// It ended well, however it ended.
fn is_sound(what: &str, ended: &Ended) {
    let said = ended.stdout() + &ended.stderr();
    assert!(ended.status().is_some(), "{what}: {said}");
    assert!(!said.contains("panicked"), "{what}: {said}");
    assert!(ended.took < LONGEST, "{what}: {:?}", ended.took);
    let resident = ended.resident_at_most;
    assert!(resident < MOST, "{what}: {resident} KiB resident");
    assert!(
        !said.contains(|c: char| c.is_control() && c != '\n'),
        "{what}: {said}"
    );
}

/// So long must be waited where nothing comes.
fn limit(status: i32) -> &'static str {
    if status == 60 { SHORT } else { "15s" }
}

/// Does something for each attack at each of these steps, those of one attack side
/// by side, and says how much memory the client had at most.
fn each(steps: &[&'static str], run: impl Fn(&Attack, usize, &'static str) -> Ended + Sync) {
    let (mut most, run) = (0, &run);
    for attack in ATTACKS {
        std::thread::scope(|scope| {
            let running: Vec<_> = (0..)
                .zip(steps)
                .map(|(number, &step)| {
                    let what = format!("{}, to {step}", attack.0);
                    (what, scope.spawn(move || run(attack, number, step)))
                })
                .collect();
            for (what, running) in running {
                let ended = running.join().expect(&what);
                is_sound(&what, &ended);
                most = most.max(ended.resident_at_most);
            }
        });
    }
    println!("{most} KiB resident at most");
}

#[test]
fn send_ends_with_the_status_of_its_phase() {
    each(&STEPS, |&(what, act, status), number, step| {
        let server = attacker(step, act);
        let options = [
            "--quiet",
            "--to",
            "anna@mx.test",
            "--timeout",
            limit(status),
        ];
        let ended = send(server.address, &options);
        let (found, said) = complaint(&ended);
        let phase = i32::try_from(number).unwrap() + 1;
        // Where a reset is all there is, it may come before connecting is done.
        if !(number == 0 && found == 3 && what == "a reset") {
            assert_eq!(found, status + phase, "{what}, to {step}: {said}");
        }
        assert!(said.len() < 300, "{what}, to {step}: {said}");
        server.idle();
        ended
    });
    println!(
        "{} octets of a flood were taken",
        SENT.load(Ordering::SeqCst)
    );
}

#[test]
fn what_is_shown_and_recorded_of_a_flood_is_bounded_too() {
    let dir = scratch();
    for (index, &(what, act, status)) in ATTACKS.iter().enumerate() {
        let record = dir.path().join(index.to_string());
        let server = attacker("EHLO", act);
        let options = ["--to", "anna@mx.test", "--timeout", limit(status)];
        let ended = send(
            server.address,
            &[&options[..], &["--record", text(&record)]].concat(),
        );
        is_sound(what, &ended);
        assert_eq!(
            ended.status(),
            Some(status + 2),
            "{what}: {}",
            ended.stderr()
        );
        assert!(ended.output.stdout.len() < 256 * 1024, "{what}");
        let recording = testkit::recorded::read(&record);
        assert_eq!(recording.damage(), [], "{what}");
        assert!(recording.is_finished(), "{what}");
        let length = std::fs::metadata(&record).unwrap().len();
        assert!(length < 4 << 20, "{what}: {length} octets recorded");
    }
}

/// What a client said to an honest server.
const SESSION: &str = "\
S: 220 mx.test ESMTP
C: EHLO c.test
S: 250 mx.test
C: MAIL FROM:<a@c.test>
S: 250 2.1.0 ok
C: RCPT TO:<anna@mx.test>
S: 250 2.1.5 ok
C: DATA
S: 354 go on
C| x
C| .
S: 250 2.0.0 kept
C: QUIT
S: 221 2.0.0 bye
";

#[test]
fn replay_finds_a_difference_and_names_its_step() {
    let dir = scratch();
    let recorded = recording(dir.path(), &[&format!("{SESSION}-- close client\n")]);
    each(&STEPS, |&(what, act, status), number, step| {
        let server = attacker(step, act);
        let target = server.address.to_string();
        let ended = run(&[
            "replay",
            text(&recorded),
            &target,
            "--timeout",
            limit(status),
        ]);
        let shown = ended.stdout();
        if number == 0 && ended.status() == Some(3) && what == "a reset" {
            return ended;
        }
        assert_eq!(ended.status(), Some(1), "{what}, to {step}: {shown}");
        let differs = shown.find(&format!("step {number:>3} ")).unwrap();
        assert!(
            shown[differs..].contains("FAIL reply"),
            "{what}, to {step}: {shown}"
        );
        assert!(shown.len() < 4096, "{what}, to {step}: {shown}");
        server.idle();
        ended
    });
}

#[test]
fn test_has_no_pass_for_them() {
    let dir = scratch();
    each(
        &["", "EHLO", "RCPT", "."],
        |&(what, act, status), number, step| {
            let record = dir.path().join(format!("{what}-{number}"));
            let server = attacker(step, act);
            // Many sessions are held, and no one of them matters.
            let limit = if status == 60 { "300ms" } else { "15s" };
            let ended = test(server.address, &record, limit);
            let (shown, said) = (ended.stdout(), ended.stderr());
            let found = ended.status().unwrap();
            assert!(
                [1, 3].contains(&found),
                "{what}, to {step}: {found} {shown}{said}"
            );
            assert!(
                shown.contains("\nnote: localhost leg: "),
                "{what}, to {step}: {shown}"
            );
            let damage = testkit::recorded::read(&record).damage().to_vec();
            assert_eq!(damage, [], "{what}, to {step}");
            ended
        },
    );
}

fn test(address: SocketAddr, record: &std::path::Path, limit: &str) -> Ended {
    let target = address.to_string();
    let server = ["test", &target, "--to", "anna@mx.test", "-4", "--one-leg"];
    let how = ["--pace", "0", "--timeout", limit, "--record", text(record)];
    run(&[&server[..], &how].concat())
}

#[test]
fn garbage_is_never_taken_for_an_answer() {
    let mut dice = Dice::new();
    for _ in 0..20 {
        SEED.store(dice.roll(), Ordering::SeqCst);
        let step = STEPS[dice.below(STEPS.len())];
        let server = attacker(step, |wire| {
            let mut dice = Dice::seeded(SEED.load(Ordering::SeqCst));
            let length = 1 << dice.below(18);
            let octets = dice.octets(length);
            let _ = wire.write_all(&octets);
        });
        let ended = send(server.address, &["--quiet", "--to", "anna@mx.test"]);
        is_sound("garbage", &ended);
        let (status, said) = complaint(&ended);
        assert!([7, 9].contains(&(status / 10)), "{status}: {said}");
    }
}

#[test]
fn replies_before_they_are_asked_for_answer_nothing() {
    let dir = scratch();
    let recorded = recording(dir.path(), &[&format!("{SESSION}-- close client\n")]);
    let begun = SESSION.split("C: MAIL").next().unwrap();
    for extra in ["S: 250 ok\n", "S: 354 go on\n", "S: 550 no\n"] {
        let script = format!("{begun}{}C: MAIL FROM:<a@c.test>\n", extra.repeat(1000));
        let server = Scripted::start(&[&script]);
        let ended = send(server.address, &["--quiet", "--to", "anna@mx.test"]);
        is_sound(extra, &ended);
        let (status, said) = complaint(&ended);
        assert_eq!(status, 93, "{said}");
        assert!(said.contains("before it was asked"), "{said}");
        let ended = run(&["replay", text(&recorded), &server.address.to_string()]);
        is_sound(extra, &ended);
        assert_eq!(ended.status(), Some(1), "{}", ended.stdout());
        server.must_have_served(2);
    }
}

#[test]
fn replies_octet_by_octet_are_replies() {
    let dir = scratch();
    let recorded = recording(dir.path(), &[&format!("{SESSION}-- close client\n")]);
    let message = support::file(dir.path(), "message", "x\n");
    let server = Scripted::start(&[&format!("-- octets\n{SESSION}")]);
    let options = ["--to", "anna@mx.test", "--data", text(&message)];
    let ended = send(server.address, &options);
    is_sound("octets", &ended);
    assert_eq!(ended.status(), Some(0), "{}", ended.stderr());
    let ended = run(&["replay", text(&recorded), &server.address.to_string()]);
    is_sound("octets", &ended);
    assert_eq!(ended.status(), Some(0), "{}", ended.stdout());
    server.must_have_served(2);
    let server = serve_with(|_, line| match honest(line) {
        Turn::Say(reply) => Turn::Octets(reply),
        other => other,
    });
    let ended = test(server.address, &dir.path().join("t.helo.jsonl"), "15s");
    is_sound("octets", &ended);
    assert_eq!(ended.status(), Some(0), "{}", ended.stdout());
}

/// The client that nobody reads from has given up.
static GONE: AtomicBool = AtomicBool::new(false);

#[test]
fn a_server_that_does_not_read_is_given_up() {
    let dir = scratch();
    let message = support::file(dir.path(), "big", b"Subject: big\r\n\r\n".repeat(500_000));
    let server = attacker("DATA", |wire| {
        let _ = wire.write_all(b"354 go on\r\n");
        until_true("the end of the client", || GONE.load(Ordering::SeqCst));
    });
    let options = ["--quiet", "--to", "anna@mx.test", "--timeout", SHORT];
    let ended = send(
        server.address,
        &[&options[..], &["--data", text(&message)]].concat(),
    );
    let (status, said) = complaint(&ended);
    GONE.store(true, Ordering::SeqCst);
    assert_eq!(status, 66, "{said}");
    assert!(said.contains("end of data: no answer within 1 s"), "{said}");
    assert!(ended.took < LONGEST, "{:?}", ended.took);
    // A message of 8 MB, and a copy or two of it.
    assert!(
        ended.resident_at_most < 64 * 1024,
        "{} KiB",
        ended.resident_at_most
    );
}
