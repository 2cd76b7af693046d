//! The sink, as a program: what it takes, what it counts, and how it ends.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail"
)]

mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use support::tls::{Minted, Tls};
use support::{PROGRAM, accepts, play, run};
use testkit::program::complaint;
use testkit::talk::{connect, drain, is_served, reply, say};
use testkit::wait::until;
use testkit::{Dice, Program, scratch};

/// A sink that is running.
struct Sink {
    program: Program,
    stdout: PathBuf,
}

impl Sink {
    fn start(dir: &Path, options: &[&str]) -> Self {
        Self::limited(dir, "", options)
    }

    /// Starts it behind a line of shell, such as one that sets a limit.
    fn limited(dir: &Path, before: &str, options: &[&str]) -> Self {
        let stdout = dir.join("stdout");
        let shell = format!("{before} exec \"$0\" \"$@\" > {}", stdout.display());
        let mut command = Command::new("sh");
        command.args(["-c", &shell, PROGRAM, "sink", "--json", "--hostname"]);
        command.arg("mx.local.test").args(options);
        if !options.contains(&"-l") {
            command.args(["-l", "127.0.0.1:0"]);
        }
        Self {
            program: Program::start(command, dir),
            stdout,
        }
    }

    /// A connection that was greeted.
    fn greeted(&self) -> TcpStream {
        let mut tcp = connect(self.program.address);
        let greeting = reply(&mut tcp);
        assert!(
            greeting.starts_with("220 mx.local.test ESMTP"),
            "{greeting}"
        );
        tcp
    }

    /// A connection in the middle of a message.
    fn in_data(&self) -> TcpStream {
        let mut tcp = self.greeted();
        accepts(&mut tcp, &ENVELOPE);
        tcp.write_all(b"half\r\n").unwrap();
        tcp
    }

    fn serves(&self) -> bool {
        is_served(self.program.address, "a@b", "c@d")
    }

    /// Waits for its end, and returns the counts it has said then.
    fn ended(&mut self) -> Value {
        assert!(self.program.wait().success(), "{}", self.program.stderr());
        let said = fs::read_to_string(&self.stdout).unwrap();
        let end: Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
        assert_eq!(end["event"], "end", "{said}");
        end
    }

    /// Asks it to end, and returns the counts.
    fn counts(&mut self) -> Value {
        self.program.ask_to_end();
        self.ended()
    }
}

const ENVELOPE: [&str; 4] = ["EHLO c.test", "MAIL FROM:<a@b>", "RCPT TO:<c@d>", "DATA"];

fn numbers(counts: &Value, names: &[&str]) -> Vec<u64> {
    let each = names.iter().map(|name| counts[name].as_u64());
    each.map(|number| number.expect("a count")).collect()
}

#[test]
fn everything_is_taken_and_counted() {
    let dir = scratch();
    let mut sink = Sink::start(dir.path(), &[]);
    let mut tcp = sink.greeted();
    play(
        &mut tcp,
        "C: EHLO c.test
         S: 250-mx.local.test
         C: MAIL FROM:<\"no such\"@[nowhere] SIZE=1 BODY=BINARYMIME X-ODD=yes RET=HDRS
         S: 250 2.1.0
         C: RCPT TO:<@a,@b:c%d@e> NOTIFY=NEVER
         S: 250 2.1.5
         C: RCPT TO: anybody
         S: 250 2.1.5
         C: DATA
         S: 354
         C: ..
         C: .
         S: 250 2.0.0
         C: MAIL FROM:<>
         S: 250 2.1.0
         C: RCPT TO:<c@d>
         S: 250 2.1.5",
    );
    tcp.write_all(b"BDAT 2\r\n\r\nBDAT 2 LAST\r\n.\r").unwrap();
    play(
        &mut tcp,
        "S: 250 2.0.0
         S: 250 2.0.0
         C: RCPT TO:<c@d>
         S: 503 5.5.1
         C: WHATEVER
         S: 500 5.5.1
         C: QUIT
         S: 221 2.0.0",
    );
    assert_eq!(drain(&mut tcp).0, b"");
    let counts = sink.counts();
    let names = [
        "sessions",
        "messages",
        "recipients",
        "octets",
        "errors",
        "broken",
    ];
    assert_eq!(numbers(&counts, &names), [1, 2, 3, 8, 2, 0]);
    assert!(counts["seconds"].as_f64().unwrap() > 0.0);
}

#[test]
fn a_group_is_answered_by_one_write() {
    let dir = scratch();
    let sink = Sink::start(dir.path(), &[]);
    let mut tcp = sink.greeted();
    let group = "EHLO c.test\r\n".to_owned()
        + &"NOOP\r\nRSET\r\n".repeat(500)
        + "MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n";
    tcp.write_all(group.as_bytes()).unwrap();
    // All of it was there before anything was answered, so it was read at once.
    let mut replies = vec![0; 64 * 1024];
    let read = tcp.read(&mut replies).unwrap();
    let replies = String::from_utf8(replies[..read].to_vec()).unwrap();
    assert!(replies.ends_with("\r\n354 Go ahead\r\n"), "{replies}");
    assert_eq!(replies.matches("250 2.0.0").count(), 1000);
}

#[test]
fn lmtp_on_a_unix_socket_answers_for_each_recipient() {
    let dir = scratch();
    let path = dir.path().join("sink.lmtp");
    let spec = format!("unix:{},proto=lmtp", path.display());
    let mut sink = Sink::start(dir.path(), &["-l", &spec, "--threads", "3"]);
    for _ in 0..9 {
        let mut unix = UnixStream::connect(&path).unwrap();
        unix.set_read_timeout(Some(testkit::wait::LIMIT)).unwrap();
        assert!(reply(&mut unix).starts_with("220 mx.local.test LMTP"));
        assert!(say(&mut unix, "EHLO c.test\r\n").starts_with("500 "));
        for line in ["LHLO c.test", "MAIL FROM:<>", "RCPT TO:<a>", "RCPT TO:<b>"] {
            assert!(say(&mut unix, &format!("{line}\r\n")).starts_with("250"));
        }
        assert!(say(&mut unix, "DATA\r\n").starts_with("354"));
        assert!(say(&mut unix, "x\r\n.\r\n").starts_with("250"));
        assert!(reply(&mut unix).starts_with("250"));
        assert!(say(&mut unix, "QUIT\r\n").starts_with("221"));
    }
    let counts = sink.counts();
    assert_eq!(
        numbers(&counts, &["sessions", "messages", "recipients"]),
        [9, 9, 18]
    );
    assert!(!path.exists());
}

#[test]
fn starttls_forgets_what_was_said_before() {
    let dir = scratch();
    let mut sink = Sink::start(dir.path(), &[]);
    let mut tcp = sink.greeted();
    let hello = say(&mut tcp, "EHLO c.test\r\n");
    assert!(hello.contains("250-STARTTLS\r\n"), "{hello}");
    assert!(say(&mut tcp, "STARTTLS\r\n").starts_with("220"));
    let mut tls = Tls::over(tcp).unwrap();
    assert!(tls.say("MAIL FROM:<a@b>\r\n").starts_with("503"));
    let hello = tls.say("EHLO c.test\r\n");
    assert!(!hello.contains("STARTTLS"), "{hello}");
    assert!(tls.say("STARTTLS\r\n").starts_with("503"));
    assert!(tls.say("MAIL FROM:<a@b>\r\n").starts_with("250"));
    assert!(tls.say("RCPT TO:<a@b>\r\n").starts_with("250"));
    assert!(tls.say("DATA\r\n").starts_with("354"));
    let long = "x".repeat(998) + "\r\n";
    assert!(tls.say(&(long.repeat(1000) + ".\r\n")).starts_with("250"));
    assert!(tls.say("QUIT\r\n").starts_with("221"));
    let counts = sink.counts();
    let names = ["messages", "octets", "errors", "broken"];
    assert_eq!(numbers(&counts, &names), [1, 1_000_000, 2, 0]);
}

#[test]
fn what_comes_between_starttls_and_the_handshake_is_no_command() {
    let dir = scratch();
    let mut sink = Sink::start(dir.path(), &[]);
    let mut tcp = sink.greeted();
    accepts(&mut tcp, &["EHLO c.test"]);
    let injected = "STARTTLS\r\nEHLO evil.test\r\nMAIL FROM:<evil@x>\r\nRCPT TO:<c@d>\r\n";
    assert!(say(&mut tcp, injected).starts_with("220"));
    let mut tls = Tls::over(tcp).unwrap();
    assert!(tls.say("DATA\r\n").starts_with("503"));
    drop(tls);
    assert_eq!(numbers(&sink.counts(), &["recipients"]), [0]);
}

#[test]
fn tls_may_come_first_and_with_a_certificate_of_the_users() {
    let dir = scratch();
    let minted = Minted::in_files(dir.path());
    let mut options = vec!["-l", "127.0.0.1:0,tls=implicit"];
    options.extend(minted.options());
    let mut sink = Sink::start(dir.path(), &options);
    let mut tls = Tls::over(connect(sink.program.address)).unwrap();
    assert!(tls.hear().starts_with("220 mx.local.test ESMTP"));
    assert_eq!(tls.certificates(), std::slice::from_ref(&minted.der));
    assert!(tls.say("EHLO c.test\r\n").contains("REQUIRETLS"));
    assert!(tls.say("QUIT\r\n").starts_with("221"));
    // Whoever does not speak TLS there is no session that ends well.
    let mut tcp = connect(sink.program.address);
    tcp.write_all(b"EHLO c.test\r\n").unwrap();
    drop(drain(&mut tcp));
    assert_eq!(numbers(&sink.counts(), &["sessions", "broken"]), [2, 1]);
}

#[test]
fn what_it_offers_is_for_the_user_to_say() {
    let dir = scratch();
    let sink = Sink::start(
        dir.path(),
        &[
            "--hide",
            "pipelining",
            "--hide",
            "STARTTLS",
            "--advertise",
            "SIZE 1000",
        ],
    );
    let mut tcp = sink.greeted();
    let hello = say(&mut tcp, "EHLO c.test\r\n");
    for (keyword, offered) in [
        ("PIPELINING", false),
        ("STARTTLS", false),
        ("SIZE\r", false),
        ("SIZE 1000\r", true),
        ("CHUNKING\r", true),
    ] {
        assert_eq!(hello.contains(keyword), offered, "{keyword} in {hello}");
    }
    // All the same it is there.
    assert!(say(&mut tcp, "STARTTLS\r\n").starts_with("220"));
    assert!(Tls::over(tcp).is_ok());
}

#[test]
fn it_ends_when_enough_has_come() {
    let dir = scratch();
    let mut sink = Sink::start(
        dir.path(),
        &["--exit-after-messages", "3", "--threads", "2"],
    );
    assert!(sink.serves() && sink.serves());
    assert!(sink.program.is_alive());
    let mut tcp = sink.greeted();
    accepts(&mut tcp, &ENVELOPE);
    assert!(say(&mut tcp, "x\r\n.\r\n").starts_with("250"));
    // The session is between messages, and is told.
    assert!(reply(&mut tcp).starts_with("421 4.3.2"));
    assert_eq!(drain(&mut tcp).0, b"");
    let counts = sink.ended();
    assert_eq!(
        numbers(&counts, &["sessions", "messages", "broken"]),
        [3, 3, 0]
    );

    let mut sink = Sink::start(dir.path(), &["--exit-after-sessions", "2"]);
    drop(sink.greeted());
    assert!(sink.serves());
    assert_eq!(numbers(&sink.ended(), &["sessions", "messages"]), [2, 1]);
}

#[test]
fn at_the_end_messages_are_finished_and_idle_clients_are_told() {
    let dir = scratch();
    let mut sink = Sink::start(dir.path(), &[]);
    let (mut idle, mut busy) = (sink.greeted(), sink.in_data());
    sink.program.ask_to_end();
    assert!(reply(&mut idle).starts_with("421 4.3.2"));
    assert!(sink.program.is_alive());
    assert!(say(&mut busy, ".\r\n").starts_with("250"));
    assert!(reply(&mut busy).starts_with("421 4.3.2"));
    drop((idle, busy));
    assert_eq!(numbers(&sink.ended(), &["messages", "broken"]), [1, 0]);
}

#[test]
fn a_second_signal_ends_it_whatever_is_under_way() {
    let dir = scratch();
    let mut sink = Sink::start(dir.path(), &[]);
    let (mut idle, busy) = (sink.greeted(), sink.in_data());
    sink.program.ask_to_end();
    assert!(reply(&mut idle).starts_with("421 4.3.2"));
    sink.program.ask_to_end();
    assert_eq!(numbers(&sink.ended(), &["messages"]), [0]);
    drop(busy);
}

#[test]
fn silent_clients_are_sent_away() {
    let dir = scratch();
    let mut sink = Sink::start(dir.path(), &["--timeout-command", "200ms"]);
    let (mut idle, mut busy) = (sink.greeted(), sink.in_data());
    for silent in [&mut idle, &mut busy] {
        assert!(reply(silent).starts_with("421 4.4.2"));
        assert_eq!(drain(silent).0, b"");
    }
    assert_eq!(numbers(&sink.counts(), &["sessions", "broken"]), [2, 2]);
}

#[test]
fn a_client_that_hears_nothing_costs_little_and_loses_nothing() {
    let dir = scratch();
    let mut sink = Sink::start(dir.path(), &["--timeout-command", "1m"]);
    let mut tcp = sink.greeted();
    let a_while = std::time::Duration::from_millis(300);
    tcp.set_write_timeout(Some(a_while)).unwrap();
    let (line, mut said) = (b"EHLO c.test\r\n", 0);
    // Until neither can go on, since nobody hears the replies.
    let lines = line.repeat(5000);
    let mut most = 1000;
    while let Ok(count) = tcp.write(&lines[said % line.len()..]) {
        said += count;
        most -= 1;
        assert!(most > 0, "65 MB were taken, and nobody reads the replies");
    }
    let resident = sink.program.resident_at_most();
    assert!(resident < 32 * 1024, "{resident} KiB");
    assert!(sink.serves());
    let mut hearing = tcp.try_clone().unwrap();
    let heard = std::thread::spawn(move || {
        let mut all = Vec::new();
        let mut chunk = vec![0; 64 * 1024];
        while !all.ends_with(b"221 2.0.0 Bye\r\n") {
            let count = hearing.read(&mut chunk).unwrap();
            assert!(count > 0, "closed before QUIT was answered");
            all.extend_from_slice(&chunk[..count]);
        }
        String::from_utf8(all).unwrap()
    });
    tcp.set_write_timeout(Some(testkit::wait::LIMIT)).unwrap();
    tcp.write_all(&lines[said % line.len()..]).unwrap();
    said += lines.len() - said % line.len();
    tcp.write_all(b"QUIT\r\n").unwrap();
    let heard = heard.join().unwrap();
    let replies = heard.matches("250-mx.local.test\r\n").count();
    assert_eq!(replies, said / line.len());
    assert_eq!(numbers(&sink.counts(), &["errors", "broken"]), [0, 0]);
}

#[test]
fn rubbish_is_answered_and_does_no_harm() {
    let dir = scratch();
    let mut sink = Sink::start(dir.path(), &[]);
    let mut dice = Dice::new();
    for _ in 0..20 {
        let mut tcp = sink.greeted();
        let rubbish = dice.octets(100_000);
        let mut said = tcp.try_clone().unwrap();
        let saying = std::thread::spawn(move || {
            let _ = said.write_all(&rubbish);
            let _ = said.shutdown(std::net::Shutdown::Write);
        });
        let (replies, end) = drain(&mut tcp);
        saying.join().unwrap();
        end.unwrap();
        assert!(replies.ends_with(b"\r\n"));
    }
    let resident = sink.program.resident_at_most();
    assert!(resident < 32 * 1024, "{resident} KiB");
    assert!(sink.serves());
    assert_eq!(numbers(&sink.counts(), &["messages"]), [1]);
}

#[test]
fn too_many_clients_are_turned_away() {
    let dir = scratch();
    let mut sink = Sink::start(dir.path(), &["--max-connections", "2"]);
    let (one, mut two) = (sink.greeted(), sink.greeted());
    let mut three = connect(sink.program.address);
    assert!(reply(&mut three).starts_with("421 4.3.2"));
    assert_eq!(drain(&mut three).0, b"");
    assert!(say(&mut two, "QUIT\r\n").starts_with("221"));
    until("a place", || sink.serves().then_some(()));
    drop(one);
    let counts = sink.counts();
    assert_eq!(numbers(&counts, &["sessions"]), [3]);
}

#[test]
fn messages_may_be_kept_as_they_came() {
    let dir = scratch();
    let file = dir.path().join("mail");
    let store = format!("bsmtp:{}", file.display());
    let mut sink = Sink::start(dir.path(), &["--store", &store]);
    assert!(sink.serves());
    let mut cut = sink.in_data();
    cut.write_all(b"nothing of this").unwrap();
    drop(cut);
    let mut tcp = sink.greeted();
    play(
        &mut tcp,
        "C: EHLO c.test
         S: 250
         C: MAIL FROM:<> BODY=8BITMIME
         S: 250
         C: RCPT TO:<c@d>
         S: 250
         C: BDAT 6 LAST
         C: .x.y
         S: 250",
    );
    assert_eq!(numbers(&sink.counts(), &["messages"]), [2]);
    assert_eq!(
        fs::read_to_string(&file).unwrap(),
        "MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nSubject: x\r\n\r\nx\r\n.\r\n\
         MAIL FROM:<> BODY=8BITMIME\r\nRCPT TO:<c@d>\r\nDATA\r\n..x.y\r\n.\r\n"
    );
}

#[test]
fn a_message_that_cannot_be_written_is_refused_and_leaves_nothing() {
    let dir = scratch();
    let file = dir.path().join("mail");
    let store = format!("bsmtp:{}", file.display());
    // Two blocks of 512 octets.
    let mut sink = Sink::limited(dir.path(), "ulimit -f 2;", &["--store", &store]);
    let mut tcp = sink.greeted();
    accepts(&mut tcp, &ENVELOPE);
    assert!(say(&mut tcp, "small\r\n.\r\n").starts_with("250"));
    let kept = fs::read(&file).unwrap();
    accepts(&mut tcp, &ENVELOPE[1..]);
    let big = "x".repeat(70) + "\r\n";
    let refusal = say(&mut tcp, &(big.repeat(20) + ".\r\n"));
    assert!(refusal.starts_with("452 4.3.1"), "{refusal}");
    assert_eq!(fs::read(&file).unwrap(), kept);
    accepts(&mut tcp, &ENVELOPE[1..]);
    assert!(say(&mut tcp, "small\r\n.\r\n").starts_with("250"));
    drop(tcp);
    assert_eq!(numbers(&sink.counts(), &["messages", "errors"]), [2, 1]);
    assert!(sink.program.stderr().contains("writing"));
}

#[test]
fn counts_are_said_while_it_goes_on() {
    let dir = scratch();
    let mut sink = Sink::start(dir.path(), &["--every", "10ms"]);
    assert!(sink.serves());
    let line = until("a count of one message", || {
        let said = fs::read_to_string(&sink.stdout).unwrap();
        let lines = said.lines().map(str::to_owned);
        lines.rev().find(|line| line.contains("\"messages\":1"))
    });
    let counts: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(counts["event"], "counts");
    sink.counts();
    let first = fs::read_to_string(&sink.stdout).unwrap();
    let first: Value = serde_json::from_str(first.lines().next().unwrap()).unwrap();
    assert_eq!(first["event"], "listening");
    assert_eq!(first["addresses"][0], sink.program.endpoints[0]);
}

#[test]
fn what_cannot_be_is_said_in_one_line() {
    let dir = scratch();
    let sink = Sink::start(dir.path(), &["--threads", "2"]);
    let taken = sink.program.endpoints[0].clone();
    for (options, status, why) in [
        (&["-l", &taken][..], 3, "in use"),
        (&["-l", "127.0.0.1:0,relay=open"], 2, "no other option"),
        (&["--store", "bsmtp:/no/such/file"], 6, "/no/such/file"),
        (&["-l", "fd:0"], 3, "fd:0"),
        (
            &["--tls-cert", "/no/such/file", "--tls-key", "/no/such/file"],
            2,
            "/no/such/file",
        ),
    ] {
        let mut all = vec!["sink"];
        all.extend(options);
        if !options.contains(&"-l") {
            all.extend(["-l", "127.0.0.1:0"]);
        }
        let (found, said) = complaint(&run(&all));
        assert_eq!(found, status, "{said}");
        assert!(said.contains(why), "{said}");
    }
    assert!(sink.serves());
}
