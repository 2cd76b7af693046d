//! The promise of `--durability written`: whatever either peer has seen is in the
//! recording, whenever the recorder is killed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test may fail, and says what it measured"
)]

mod support;

use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use shared::recording::{Damage, Recording};
use support::Recorder;
use testkit::recorded::payloads;
use testkit::upstream::smtp;
use testkit::{Dice, Upstream, scratch};

/// What one peer of one session knows.
#[derive(Default)]
struct Witness {
    received: Vec<u8>,
    sent: usize,
}

/// What came of some kills.
#[derive(Default)]
struct Tally {
    kills: usize,
    sessions: usize,
    crashed: usize,
    torn: usize,
    /// Kills after which something was recorded that its peer never got.
    between: usize,
    /// Kills after which something was sent to the recorder that is not recorded:
    /// it was not read yet, or read and not recorded, and in any case not passed on.
    unrecorded: usize,
    violations: Vec<String>,
}

#[cfg(not(feature = "forward-before-write"))]
#[test]
fn whatever_a_peer_saw_is_recorded_whenever_it_is_killed() {
    let kills = std::env::var("HELO_KILLS").ok();
    let kills = kills.map_or(200, |kills| kills.parse().expect("HELO_KILLS is a number"));
    let tally = kill(env!("CARGO_BIN_EXE_helo-recorder"), kills, usize::MAX);
    assert!(tally.violations.is_empty(), "{:#?}", tally.violations);
    assert!(
        tally.between > 0,
        "no kill came between recording and passing on"
    );
    assert!(tally.crashed > 0, "no kill came in the middle of a session");
}

#[test]
fn a_recorder_that_passes_on_first_is_found_out() {
    let tally = kill(&broken_build(), 400, 1);
    assert!(!tally.violations.is_empty(), "400 kills found nothing");
}

/// Builds the recorder that breaks the promise: an example, so that it does not
/// take the place of the program that other tests run.
fn broken_build() -> String {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let program = PathBuf::from(env!("CARGO_BIN_EXE_helo-recorder"));
    let profile = program.parent().unwrap();
    let mut build = Command::new(cargo);
    build
        .args(["build", "--quiet", "--package", "helo-recorder"])
        .args(["--features", "forward-before-write"])
        .args(["--example", "forward-before-write"])
        .arg("--target-dir")
        .arg(profile.parent().unwrap());
    if profile.ends_with("release") {
        build.arg("--release");
    }
    assert!(build.status().unwrap().success(), "the build failed");
    let built = profile.join("examples/forward-before-write");
    built.to_str().unwrap().to_owned()
}

fn kill(program: &str, kills: usize, enough: usize) -> Tally {
    let mut dice = Dice::new();
    let mut tally = Tally::default();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    let upstream = Upstream::start(move |tcp, number| {
        let mut witness = Witness::default();
        let greeting = greeting(number);
        smtp(tcp, &greeting, &mut witness.received);
        log.lock().unwrap().push((greeting, witness));
    });
    while tally.kills < kills && tally.violations.len() < enough {
        tally.kills += 1;
        one_kill(program, &upstream, &seen, &mut dice, &mut tally);
    }
    println!(
        "{} kills: {} sessions, {} of them crashed, {} torn lines; recorded but not passed on at \
         {} kills, sent but not recorded (nor passed on) at {}; {} violations",
        tally.kills,
        tally.sessions,
        tally.crashed,
        tally.torn,
        tally.between,
        tally.unrecorded,
        tally.violations.len()
    );
    tally
}

/// Each session of the upstream is known by its greeting.
fn greeting(number: usize) -> String {
    format!("220 up{number}.test ESMTP\r\n")
}

type Seen = Mutex<Vec<(String, Witness)>>;

fn one_kill(program: &str, upstream: &Upstream, seen: &Seen, dice: &mut Dice, tally: &mut Tally) {
    let dir = scratch();
    let mut recorder = Recorder::start_as(&[program], dir.path(), upstream.address, &[]);
    let address = recorder.address;
    let killed = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..3)
        .map(|_| {
            let (mut dice, killed) = (dice.fork(), Arc::clone(&killed));
            std::thread::spawn(move || sessions(address, &killed, &mut dice))
        })
        .collect();
    // The instant is what is random here: nothing is waited for.
    let instant = Duration::from_micros(dice.roll() % 20_000);
    std::thread::sleep(instant);
    killed.store(true, Ordering::SeqCst);
    recorder.kill();
    let clients: Vec<(SocketAddr, Witness)> = clients
        .into_iter()
        .flat_map(|client| client.join().unwrap())
        .collect();
    upstream.idle();
    let servers = std::mem::take(&mut *seen.lock().unwrap());
    let before = tally.violations.len();
    judge(&recorder, &clients, &servers, tally);
    if tally.violations.len() > before {
        println!("violated after {instant:?}");
    }
}

/// Has sessions one after the other until the recorder is gone. Then its port may soon
/// be another program's: only a connection made before that is the recorder's.
fn sessions(
    address: SocketAddr,
    killed: &AtomicBool,
    dice: &mut Dice,
) -> Vec<(SocketAddr, Witness)> {
    let mut all = Vec::new();
    while let Ok(mut tcp) = TcpStream::connect(address) {
        if killed.load(Ordering::SeqCst) {
            break;
        }
        let Ok(local) = tcp.local_addr() else { break };
        let mut witness = Witness::default();
        let whole = session(&mut tcp, dice, &mut witness);
        // Whatever became of it: what had been passed on still arrives.
        let mut rest = [0; 4096];
        while let Ok(count @ 1..) = tcp.read(&mut rest) {
            witness.received.extend_from_slice(&rest[..count]);
        }
        all.push((local, witness));
        if whole.is_err() {
            break;
        }
    }
    all
}

fn session(tcp: &mut TcpStream, dice: &mut Dice, witness: &mut Witness) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    let name = dice.name();
    let mut lines = 1;
    hear(tcp, lines, witness)?;
    say(tcp, format!("EHLO {name}\r\n").as_bytes(), witness)?;
    lines += 3;
    hear(tcp, lines, witness)?;
    for _ in 0..=dice.below(3) {
        let envelope = format!("MAIL FROM:<a@{name}>\r\nRCPT TO:<b@{name}>\r\nDATA\r\n");
        say(tcp, envelope.as_bytes(), witness)?;
        lines += 3;
        hear(tcp, lines, witness)?;
        let size = 1 << dice.below(18);
        let mut body = Vec::new();
        while body.len() < size {
            body.extend_from_slice(format!("{:x} {:x}\r\n", dice.roll(), dice.roll()).as_bytes());
        }
        body.extend_from_slice(b".\r\n");
        let mut rest = &body[..];
        while !rest.is_empty() {
            let length = (1 + dice.below(32 * 1024)).min(rest.len());
            say(tcp, &rest[..length], witness)?;
            rest = &rest[length..];
        }
        lines += 1;
        hear(tcp, lines, witness)?;
    }
    say(tcp, b"QUIT\r\n", witness)
}

fn say(tcp: &mut TcpStream, bytes: &[u8], witness: &mut Witness) -> io::Result<()> {
    tcp.write_all(bytes)?;
    witness.sent += bytes.len();
    Ok(())
}

/// Reads until so many lines have come in all.
fn hear(tcp: &mut TcpStream, lines: usize, witness: &mut Witness) -> io::Result<()> {
    let mut chunk = [0; 4096];
    while witness.received.split(|&octet| octet == b'\n').count() <= lines {
        match tcp.read(&mut chunk)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => witness.received.extend_from_slice(&chunk[..count]),
        }
    }
    Ok(())
}

/// One session as it is recorded.
struct Recorded {
    client: String,
    from_client: Vec<u8>,
    from_server: Vec<u8>,
    closed: bool,
}

fn recorded(recording: &Recording) -> Vec<Recorded> {
    let records = recording.records();
    let sessions = recording.sessions().into_iter();
    sessions
        .map(|session| {
            let of = |kind: &str| {
                records
                    .iter()
                    .find(|one| one.session() == Some(session) && one.kind() == kind)
            };
            let (from_client, from_server) = payloads(recording, session);
            Recorded {
                client: of("open").unwrap().text("c").unwrap().to_owned(),
                from_client,
                from_server,
                closed: of("close").is_some(),
            }
        })
        .collect()
}

fn judge(
    recorder: &Recorder,
    clients: &[(SocketAddr, Witness)],
    servers: &[(String, Witness)],
    tally: &mut Tally,
) {
    let recording = Recording::parse(&fs::read(&recorder.file).unwrap()).unwrap();
    for damage in recording.damage() {
        match damage {
            Damage::Torn { .. } => tally.torn += 1,
            other => tally.violations.push(format!("damage: {other}")),
        }
    }
    let sessions = recorded(&recording);
    let (mut between, mut unrecorded) = (false, false);
    for (address, witness) in clients {
        let address = address.to_string();
        let found = sessions.iter().find(|session| {
            session.client == address && session.from_server.starts_with(&witness.received)
        });
        match found {
            Some(session) => {
                between |= session.from_server.len() > witness.received.len();
                unrecorded |= session.from_client.len() < witness.sent;
            }
            None if witness.received.is_empty() => {}
            None => tally
                .violations
                .push(format!("the client {address} saw more than is recorded")),
        }
    }
    for (greeting, witness) in servers {
        let found = sessions.iter().find(|session| {
            session.from_server.starts_with(greeting.as_bytes())
                && session.from_client.starts_with(&witness.received)
        });
        match found {
            Some(session) => between |= session.from_client.len() > witness.received.len(),
            None if witness.received.is_empty() => {}
            None => {
                let tail = witness.received.len().saturating_sub(60);
                let tail = String::from_utf8_lossy(&witness.received[tail..]).into_owned();
                tally.violations.push(format!(
                    "the server of {greeting:?} saw more than is recorded: {tail:?}"
                ));
            }
        }
    }
    let crashed = sessions.iter().filter(|session| !session.closed).count();
    tally.sessions += sessions.len();
    tally.crashed += crashed;
    tally.between += usize::from(between);
    tally.unrecorded += usize::from(unrecorded);
    is_shown(recorder, recording.damage().is_empty(), crashed);
}

/// `check` and `show` say of a killed recording what is true of it.
fn is_shown(recorder: &Recorder, whole: bool, crashed: usize) {
    let (status, said) = support::check(&recorder.file);
    assert_eq!(status, if whole { 0 } else { 4 }, "{said}");
    assert!(said.contains("not finished"), "{said}");
    assert!(
        said.contains(&format!("({crashed} without an end)")),
        "{said}"
    );
    let shown = support::run(&["show".as_ref(), recorder.file.as_os_str()]);
    assert_eq!(shown.status.code(), Some(0));
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    let marks = shown.matches("crashed: the recording has no end").count();
    assert_eq!(marks, crashed, "{shown}");
}
