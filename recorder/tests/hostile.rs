//! Peers that mean no good: whatever they send is passed on and recorded octet by
//! octet, in bounded memory, and the next client is served.
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
use std::net::{Shutdown, TcpStream};
use std::sync::mpsc::{Receiver, channel};

use support::{Recorder, check};
use testkit::recorded::{closed, payloads, session_of};
use testkit::talk::{drain, is_served, reply};
use testkit::{Dice, Upstream, scratch};

/// No peer may make the recorder keep more than this, in KiB: a few buffers for
/// each direction, and what the program itself needs.
const MOST: u64 = 64 * 1024;

/// What came of sending something strange through the recorder.
struct Passed {
    /// What the server got.
    by_server: Vec<u8>,
    /// What the client got after the greeting.
    by_client: Vec<u8>,
}

/// Has a client and a server say things to each other, both at once, through a
/// recorder that must pass on and record exactly these, and serve others after.
fn pass(from_client: &[u8], from_server: &[u8]) -> Passed {
    let dir = scratch();
    let (got, by_server) = channel();
    let said = from_server.to_vec();
    let upstream = Upstream::start(move |tcp, number| {
        if number > 0 {
            testkit::upstream::smtp(tcp, "220 up.test ESMTP\r\n", &mut Vec::new());
            return;
        }
        let mut all = b"220 up.test\r\n".to_vec();
        all.extend_from_slice(&said);
        got.send(both(tcp, &all)).unwrap();
    });
    let mut recorder = Recorder::start(dir.path(), upstream.address, &["--durability", "buffered"]);
    let mut tcp = recorder.connect();
    let client = tcp.local_addr().unwrap();
    assert_eq!(reply(&mut tcp), "220 up.test\r\n");
    let by_client = both(tcp, from_client);
    let by_server = received(&by_server);
    let resident = recorder.resident_at_most();
    assert!(resident < MOST, "{resident} KiB resident");
    closed(&recorder.file, 1);
    let recording = recorder.recording();
    let (said, heard) = payloads(&recording, session_of(&recording, client).unwrap());
    assert!(said == from_client, "{} octets recorded", said.len());
    assert!(
        heard.strip_prefix(b"220 up.test\r\n").unwrap() == from_server,
        "{} octets recorded",
        heard.len()
    );
    assert!(is_served(recorder.address, "a@c.test", "b@up.test"));
    assert!(recorder.terminate().success());
    assert_eq!(check(&recorder.file).0, 0);
    Passed {
        by_server,
        by_client,
    }
}

fn received<T>(from: &Receiver<T>) -> T {
    from.recv_timeout(testkit::wait::LIMIT).unwrap()
}

/// Says all of it, and meanwhile hears the other side to its end.
fn both(mut tcp: TcpStream, say: &[u8]) -> Vec<u8> {
    tcp.set_read_timeout(Some(testkit::wait::LIMIT)).unwrap();
    let mut other = tcp.try_clone().unwrap();
    let hearing = std::thread::spawn(move || {
        let mut heard = Vec::new();
        other.read_to_end(&mut heard).unwrap();
        heard
    });
    tcp.write_all(say).unwrap();
    tcp.shutdown(Shutdown::Write).unwrap();
    hearing.join().unwrap()
}

fn is_passed(from_client: &[u8], from_server: &[u8]) {
    let passed = pass(from_client, from_server);
    assert!(
        passed.by_server == from_client,
        "the server got other bytes"
    );
    assert!(
        passed.by_client == from_server,
        "the client got other bytes"
    );
}

#[test]
fn a_line_of_10_mb_without_an_end_is_passed_on() {
    is_passed(&b"x".repeat(10_000_000), b"421 4.7.0 enough\r\n");
}

#[test]
fn a_reply_line_of_10_mb_without_an_end_is_passed_on() {
    let mut line = b"250 ".to_vec();
    line.resize(10_000_000, b'x');
    is_passed(b"EHLO c.test\r\n", &line);
}

#[test]
fn a_reply_that_never_ends_is_passed_on() {
    is_passed(b"EHLO c.test\r\n", &b"250-and so on\r\n".repeat(500_000));
}

#[test]
fn what_is_no_reply_is_passed_on() {
    is_passed(b"EHLO c.test\r\n", &b"\r\n".repeat(100_000));
    is_passed(
        b"EHLO c.test\r\n",
        &b"HTTP/1.1 400 Bad Request\r\n".repeat(1000),
    );
}

#[test]
fn a_header_without_an_end_is_passed_on() {
    let mut said = b"EHLO c.test\r\nMAIL FROM:<>\r\nRCPT TO:<b@up.test>\r\nDATA\r\n".to_vec();
    said.extend_from_slice(b"Subject: ");
    said.resize(10_000_000, b'\n');
    let replies = b"250 up.test\r\n250 ok\r\n250 ok\r\n354 go on\r\n";
    is_passed(&said, replies);
}

#[test]
fn binary_garbage_is_passed_on_as_it_is() {
    let mut dice = Dice::new();
    for _ in 0..20 {
        let length = 1 << dice.below(18);
        let (mut client, mut server) = (dice.octets(length), dice.octets(length));
        if dice.below(2) == 0 {
            let begun = b"EHLO c.test\r\nMAIL FROM:<>\r\nRCPT TO:<b@up.test>\r\nDATA\r\n";
            client.splice(0..0, begun.iter().copied());
            let replies = b"250 up.test\r\n250 ok\r\n250 ok\r\n354 go on\r\n";
            server.splice(0..0, replies.iter().copied());
        }
        // What looks like TLS from the first octet is passed through unread.
        is_passed(&client, &server);
    }
}

#[test]
fn ten_thousand_commands_in_one_go_are_all_answered() {
    let dir = scratch();
    let upstream = Upstream::honest();
    let recorder = Recorder::start(dir.path(), upstream.address, &["--durability", "buffered"]);
    let mut tcp = recorder.connect();
    let client = tcp.local_addr().unwrap();
    assert!(reply(&mut tcp).starts_with("220"));
    let commands = b"NOOP\r\n".repeat(10_000);
    let writing = {
        let (mut tcp, commands) = (tcp.try_clone().unwrap(), commands.clone());
        std::thread::spawn(move || {
            tcp.write_all(&commands).unwrap();
            tcp.shutdown(Shutdown::Write).unwrap();
        })
    };
    let (heard, end) = drain(&mut tcp);
    end.unwrap();
    writing.join().unwrap();
    assert!(
        heard == b"250 2.0.0 ok\r\n".repeat(10_000),
        "{} octets",
        heard.len()
    );
    let resident = recorder.resident_at_most();
    assert!(resident < MOST, "{resident} KiB resident");
    closed(&recorder.file, 1);
    let recording = recorder.recording();
    let session = session_of(&recording, client).unwrap();
    assert_eq!(payloads(&recording, session).0, commands);
    // Each reply is known to answer its own command.
    let answered: Vec<u64> = testkit::recorded::of_kind(&recording, session, "rep")
        .iter()
        .filter_map(|reply| reply.number("re"))
        .collect();
    assert_eq!(answered.len(), 10_001);
    assert!(answered.is_sorted_by(|one, next| one < next));
}

#[test]
fn five_hundred_idle_connections_cost_little() {
    let dir = scratch();
    let upstream = Upstream::honest();
    let mut recorder = Recorder::start(dir.path(), upstream.address, &[]);
    let before = recorder.resident();
    let mut idle: Vec<TcpStream> = (0..500).map(|_| recorder.connect()).collect();
    for tcp in &mut idle {
        assert!(reply(tcp).starts_with("220"));
    }
    let each = recorder.resident().saturating_sub(before) / 500;
    println!("{each} KiB for each idle connection");
    assert!(each < 64, "{each} KiB for each idle connection");
    assert!(is_served(recorder.address, "a@c.test", "b@up.test"));
    // Told to end, it tells them so.
    recorder.ask_to_end();
    for tcp in &mut idle {
        assert!(reply(tcp).starts_with("421 4.3.2 "));
    }
    assert!(recorder.wait().success());
    assert_eq!(check(&recorder.file).0, 0);
}

#[test]
fn a_client_that_does_not_read_holds_the_server_back() {
    let dir = scratch();
    let (stopped, at) = channel();
    let upstream = Upstream::start(move |mut tcp, _| {
        tcp.write_all(b"220 up.test\r\n").unwrap();
        tcp.set_write_timeout(Some(std::time::Duration::from_secs(1)))
            .unwrap();
        let line = b"250-line upon line\r\n".repeat(1000);
        let mut sent = 0;
        while let Ok(count) = tcp.write(&line) {
            sent += count;
            assert!(sent < 64 << 20, "{sent} octets, and nobody reads");
        }
        stopped.send(sent).unwrap();
    });
    let recorder = Recorder::start(dir.path(), upstream.address, &["--durability", "buffered"]);
    let mut tcp = TcpStream::connect(recorder.address).unwrap();
    rustix::net::sockopt::set_socket_recv_buffer_size(&tcp, 64 * 1024).unwrap();
    tcp.write_all(b"HELP\r\n").unwrap();
    received(&at);
    let resident = recorder.resident_at_most();
    assert!(resident < MOST, "{resident} KiB resident");
    drop(tcp);
    closed(&recorder.file, 1);
}
