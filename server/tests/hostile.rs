//! Clients that mean no good: none makes the server grow, stop or err, with a
//! recording and without, and the next client is served.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test may fail, and says what it measured"
)]

mod support;

use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::net::{Shutdown, TcpStream};
use std::thread::JoinHandle;
use std::time::Duration;

use support::tls::Tls;
use support::{Server, TO_ANNA};
use testkit::recorded::{payloads, session_of};
use testkit::talk::{connect, drain, reply, say};
use testkit::wait::until_true;
use testkit::{Dice, scratch};

/// No client may make the server grow by more than this, in KiB: a few buffers for
/// each.
const MOST: u64 = 16 * 1024;

/// Does something to a server without a recording and to one with, which must be
/// none the worse for it.
fn unharmed(options: &[&str], hurt: impl Fn(&Server)) {
    for records in [false, true] {
        let dir = scratch();
        let start = if records {
            Server::recording
        } else {
            Server::start
        };
        let mut server = start(dir.path(), options);
        let before = server.resident();
        hurt(&server);
        let growth = server.resident_at_most().saturating_sub(before);
        println!("{before} KiB resident, {growth} more at most");
        assert!(growth < MOST, "{growth} KiB more");
        assert!(server.serves());
        assert!(server.left().0.is_empty(), "{:?}", server.left());
        assert_eq!(server.terminate().code(), Some(0));
        assert!(!server.stderr().contains("panic"), "{}", server.stderr());
        if records {
            is_finished(&server);
        }
    }
}

/// The recording has its end. Reading all of one takes long where much was said.
fn is_finished(server: &Server) {
    let mut file = std::fs::File::open(server.file()).unwrap();
    let length = file.metadata().unwrap().len();
    if length < 4 << 20 {
        let recording = server.recorded();
        assert_eq!(recording.damage(), []);
        assert!(recording.is_finished());
        return;
    }
    file.seek(SeekFrom::End(-1000)).unwrap();
    let mut tail = String::new();
    file.read_to_string(&mut tail).unwrap();
    assert!(tail.lines().last().unwrap().contains(r#""k":"end""#));
}

/// Hears everything that comes to a connection, until it ends in any way.
fn hear(tcp: &TcpStream) -> JoinHandle<Vec<u8>> {
    let mut tcp = tcp.try_clone().unwrap();
    std::thread::spawn(move || {
        let mut heard = Vec::new();
        // An end by a reset is one, too.
        let _ = tcp.read_to_end(&mut heard);
        heard
    })
}

/// Says so much of something as is taken, and hears all that comes.
fn shout(mut tcp: TcpStream, said: &[u8]) -> String {
    let hearing = hear(&tcp);
    if tcp.write_all(said).is_ok() {
        let _ = tcp.shutdown(Shutdown::Write);
    }
    String::from_utf8(hearing.join().unwrap()).unwrap()
}

#[test]
fn a_line_of_10_mb_without_an_end_is_refused_long_before_it() {
    let line = b"x".repeat(10_000_000);
    unharmed(&[], |server| {
        for before in [&[][..], &["EHLO c.test"], &TO_ANNA[..3]] {
            let heard = shout(server.after(before), &line);
            assert!(heard.starts_with("421 4.7.0 "), "{heard}");
            assert_eq!(heard.lines().count(), 1, "{heard}");
        }
    });
}

#[test]
fn after_a_line_of_half_a_mb_the_session_goes_on() {
    unharmed(&[], |server| {
        let mut tcp = server.after(&["EHLO c.test"]);
        let long = format!("NOOP {}\r\n", "x".repeat(500_000));
        assert!(say(&mut tcp, &long).starts_with("500 5.5.2 "));
        assert!(say(&mut tcp, "NOOP\r\n").starts_with("250 "));
    });
}

#[test]
fn ten_thousand_commands_in_one_go_are_all_answered() {
    unharmed(&["--max-junk", "0"], |server| {
        let heard = shout(server.greeted(), &b"NOOP\r\n".repeat(10_000));
        assert!(heard == "250 2.0.0 still here\r\n".repeat(10_000));
        let heard = shout(server.greeted(), &b"EHLO c.test\r\n".repeat(10_000));
        assert_eq!(heard.matches("250 ENHANCEDSTATUSCODES").count(), 10_000);
    });
    // And with the usual patience, not all of them.
    unharmed(&[], |server| {
        let heard = shout(server.greeted(), &b"NOOP\r\n".repeat(10_000));
        let last = heard.lines().last().unwrap();
        assert!(last.starts_with("421 4.7.0 "), "{last}");
        assert_eq!(heard.lines().count(), 100 + 20 + 1);
    });
}

#[test]
fn clients_that_do_not_read_are_held_back_and_given_up() {
    unharmed(&["--timeout-command", "3s"], |server| {
        let deaf: Vec<TcpStream> = std::thread::scope(|scope| {
            let clients = [(); 6].map(|()| scope.spawn(|| server.deaf_client()));
            clients.map(|client| client.join().unwrap()).into()
        });
        // Others are served meanwhile.
        assert!(server.serves());
        for mut tcp in deaf {
            tcp.set_nonblocking(true).unwrap();
            until_true("the client to be given up", || {
                let kind = tcp.write(b"x").map_err(|error| error.kind());
                matches!(
                    kind,
                    Err(ErrorKind::ConnectionReset | ErrorKind::BrokenPipe)
                )
            });
        }
    });
}

#[test]
fn garbage_in_every_stage_does_no_harm() {
    let mut dice = Dice::new();
    let garbage: Vec<Vec<u8>> = (0..6).map(|n| dice.octets(1 << (3 * n))).collect();
    unharmed(&[], |server| {
        for stage in 0..=TO_ANNA.len() {
            for octets in &garbage {
                let mut tcp = server.after(&TO_ANNA[..stage]);
                let hearing = hear(&tcp);
                if tcp.write_all(octets).is_ok() {
                    let _ = tcp.shutdown(Shutdown::Write);
                }
                hearing.join().unwrap();
            }
        }
        for octets in &garbage {
            // Before the greeting, in place of a handshake, and inside TLS.
            let mut tcp = connect(server.address);
            let _ = tcp.write_all(octets);
            let _ = tcp.shutdown(Shutdown::Write);
            let _ = drain(&mut tcp);
            let mut tcp = server.after(&["EHLO c.test", "STARTTLS"]);
            let _ = tcp.write_all(octets);
            let _ = tcp.shutdown(Shutdown::Write);
            let _ = drain(&mut tcp);
            let tcp = server.after(&["EHLO c.test", "STARTTLS"]);
            Tls::over(tcp).unwrap().shout(octets);
        }
        // None of it was a message.
        assert!(server.kept("anna").is_empty());
    });
}

/// What sessions are made of, whole and in pieces.
const PIECES: [&[u8]; 32] = [
    b"EHLO c.test\r\n",
    b"HELO c.test\r\n",
    b"MAIL FROM:<a@c.test>",
    b"MAIL FROM:<>\r\n",
    b"RCPT TO:<anna@local.test>\r\n",
    b"RCPT TO:<Postmaster>\r\n",
    b"RCPT TO:<x@elsewhere.test>\r\n",
    b"DATA\r\n",
    b".\r\n",
    b"..\r\n",
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b" SIZE=10",
    b" BODY=8BITMIME",
    b" SMTPUTF8",
    b"BDAT 10\r\n",
    b"BDAT 0 LAST\r\n",
    b"BDAT 99999999999999999999\r\n",
    b"AUTH PLAIN\r\n",
    b"RSET\r\n",
    b"NOOP",
    b"VRFY <",
    b"EXPN \"\r\n",
    b"HELP\r\n",
    b"XCLIENT ADDR=[",
    b"LHLO x\r\n",
    b"\xff\xfe",
    b"\xc3",
    b"<@a,@b:\"",
    b"Subject: x\r\n",
];

#[test]
fn any_mixture_of_what_sessions_are_made_of_is_recorded_as_it_was_said() {
    let dir = scratch();
    let options = [
        "--record-secrets",
        "--max-errors=0",
        "--max-junk=0",
        "--mynetworks=::1",
    ];
    let mut server = Server::recording(dir.path(), &options);
    let mut dice = Dice::new();
    let mut sessions = Vec::new();
    for _ in 0..200 {
        let mut all = Vec::new();
        for _ in 0..dice.below(200) {
            all.extend_from_slice(PIECES[dice.below(PIECES.len())]);
        }
        let mut tcp = server.greeted();
        let client = tcp.local_addr().unwrap();
        let hearing = hear(&tcp);
        let mut rest = &all[..];
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(rest.len().min(1 + dice.below(500)));
            if tcp.write_all(piece).is_err() {
                break;
            }
            rest = after;
        }
        let _ = tcp.shutdown(Shutdown::Write);
        let heard = String::from_utf8(hearing.join().unwrap()).unwrap();
        for line in heard.lines() {
            let code = line.get(..3).and_then(|code| code.parse::<u16>().ok());
            assert!(
                code.is_some_and(|code| (200..600).contains(&code)),
                "{line}"
            );
        }
        sessions.push((client, all, heard));
    }
    assert!(server.left().0.is_empty());
    assert!(server.serves());
    assert!(server.terminate().success());
    let recording = server.recorded();
    assert_eq!(recording.damage(), []);
    for (client, said, heard) in sessions {
        let session = session_of(&recording, client).unwrap();
        let (recorded, sent) = payloads(&recording, session);
        assert!(
            sent.ends_with(heard.as_bytes()),
            "session {session}: {heard}"
        );
        // All of it, or as much as came before the server had enough.
        let last = heard.lines().last().unwrap_or_default();
        let enough = ["421 ", "554 5.5.1 "]
            .iter()
            .any(|code| last.starts_with(code));
        assert!(said.starts_with(&recorded), "session {session}");
        assert!(
            recorded.len() == said.len() || enough,
            "session {session}: {last}"
        );
    }
}

#[test]
fn five_hundred_idle_connections_cost_little() {
    unharmed(&[], |server| {
        let before = server.resident();
        let mut idle: Vec<TcpStream> = (0..500).map(|_| connect(server.address)).collect();
        for tcp in &mut idle {
            assert!(reply(tcp).starts_with("220"));
        }
        let each = server.resident().saturating_sub(before) / 500;
        println!("{each} KiB for each idle connection");
        assert!(each < 64, "{each} KiB for each idle connection");
        assert!(server.serves());
    });
}

#[test]
fn five_hundred_connections_reset_at_once_are_forgotten() {
    unharmed(&["--max-connections", "10"], |server| {
        for _ in 0..500 {
            let tcp = TcpStream::connect(server.address).unwrap();
            rustix::net::sockopt::set_socket_linger(&tcp, Some(Duration::ZERO)).unwrap();
        }
        until_true("a place to be free", || {
            reply(&mut connect(server.address)).starts_with("220")
        });
    });
}

#[test]
fn one_octet_at_a_time_is_a_session_like_any_other() {
    unharmed(&[], |server| {
        let mut tcp = server.greeted();
        let mut typed = |line: &str| {
            for octet in line.as_bytes() {
                tcp.write_all(&[*octet]).unwrap();
            }
            reply(&mut tcp)
        };
        for line in &TO_ANNA {
            assert!(
                typed(&format!("{line}\r\n")).starts_with(['2', '3']),
                "{line}"
            );
        }
        assert!(typed("..x\r\n\r\r\n.\n\r\n.\r\n").starts_with("250 2.0.0"));
        assert!(typed("QUIT\r\n").starts_with("221"));
        assert!(server.kept("anna")[0].ends_with(b"\r\n.x\r\n\r\r\n\n\r\n"));
    });
}

#[test]
fn a_browser_that_was_sent_here_cannot_speak_smtp() {
    let mail = "EHLO c.test\r\nMAIL FROM:<>\r\nRCPT TO:<anna@local.test>\r\nDATA\r\nx\r\n.\r\n";
    unharmed(&[], |server| {
        for request in [
            "GET / HTTP/1.1\r\nHost: mx.local.test\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: mx.local.test\r\nContent-Length: 99\r\n\r\n",
            "CONNECT mx.local.test:25 HTTP/1.1\r\n\r\n",
            "\x16\x03\x01\x02\0\x01\0\x01\r\n",
        ] {
            let heard = shout(server.greeted(), format!("{request}{mail}").as_bytes());
            assert_eq!(heard.lines().count(), 1, "{heard}");
            assert!(heard.starts_with("554 5.5.1 "), "{heard}");
        }
        assert!(server.kept("anna").is_empty());
    });
}

#[test]
fn a_chunk_of_any_size_is_swallowed_in_little_memory() {
    unharmed(&["--max-size", "1M"], |server| {
        // Two of which the first alone is too big; and one that never ends.
        let mut tcp = server.after(&TO_ANNA[..3]);
        let chunk = vec![b'x'; 5_000_000];
        for answer in ["552 5.3.4 ", "503 5.5.1 "] {
            tcp.write_all(b"BDAT 5000000\r\n").unwrap();
            tcp.write_all(&chunk).unwrap();
            let told = reply(&mut tcp);
            assert!(told.starts_with(answer), "{told}");
        }
        let mut tcp = server.after(&TO_ANNA[..3]);
        let endless = format!("BDAT {} LAST\r\n", u64::MAX);
        tcp.write_all(endless.as_bytes()).unwrap();
        tcp.write_all(&chunk).unwrap();
        drop(tcp);
        until_true("the message to be gone", || server.left().0.is_empty());
    });
}

#[test]
fn nul_octets_are_refused_in_commands_and_kept_in_content() {
    unharmed(&[], |server| {
        let mut tcp = server.after(&["EHLO c.test"]);
        for line in ["NOOP\0", "MAIL FROM:<a\0@c.test>", "NO\0OP", "RSET \0x"] {
            let told = say(&mut tcp, &format!("{line}\r\n"));
            assert!(told.starts_with("500 5.5.2 "), "{line:?}: {told}");
        }
        let mut tcp = server.after(&TO_ANNA);
        assert!(say(&mut tcp, "\0\0\r\n\0.\r\n.\r\n").starts_with("250"));
        assert!(server.kept("anna")[0].ends_with(b"\r\n\0\0\r\n\0.\r\n"));
        // A megabyte of nothing else.
        let heard = shout(server.greeted(), &vec![0; 1 << 20]);
        assert!(heard.starts_with("421 4.7.0 "), "{heard}");
        let heard = shout(server.greeted(), &b"\0\r\n".repeat(10_000));
        assert_eq!(heard.lines().count(), 1, "{heard}");
    });
}

/// Says so many octets of content that are one line, and returns the verdict.
fn one_line(server: &Server, octets: usize) -> String {
    let mut tcp = server.after(&TO_ANNA);
    let chunk = vec![b'x'; 1 << 16];
    let mut left = octets;
    while left > 0 {
        let count = left.min(chunk.len());
        tcp.write_all(&chunk[..count]).unwrap();
        left -= count;
    }
    say(&mut tcp, "\r\n.\r\n")
}

#[test]
fn a_line_of_50_mb_in_a_message_is_kept_in_little_memory() {
    unharmed(&["--max-size", "60M"], |server| {
        let verdict = one_line(server, 50_000_000);
        assert!(verdict.starts_with("250 2.0.0 "), "{verdict}");
        let file = support::files(&server.maildir("anna").join("new")).remove(0);
        let length = file.metadata().unwrap().len();
        assert!((50_000_002..50_001_000).contains(&length), "{length}");
    });
}

#[test]
fn a_line_of_50_mb_in_a_message_is_refused_where_it_is_too_big() {
    unharmed(&["--max-size", "1M"], |server| {
        let verdict = one_line(server, 50_000_000);
        assert!(verdict.starts_with("552 5.3.4 "), "{verdict}");
        assert_eq!(server.left(), (Vec::new(), Vec::new()));
    });
}
