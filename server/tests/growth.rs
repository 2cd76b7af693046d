//! Very many messages: a server that has taken them is no larger than before.
//!
//! `HELO_MESSAGES` says how many; the full campaign takes a million.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test may fail, and says what it measured"
)]

mod support;

use std::env;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::thread;

use support::PROGRAM;
use testkit::talk::connect;
use testkit::{Program, scratch};

/// Clients at a time.
const CLIENTS: usize = 4;

/// Messages of one session.
const OF_A_SESSION: usize = 10;

/// Before it is measured, a server has filled what it keeps of the newest ten thousand
/// messages and thousand sessions; where there is time, the digests of the newest
/// hundred thousand messages, too.
const BEFORE: usize = 12_000;
const BEFORE_A_CAMPAIGN: usize = 150_000;

/// Octets that a server may have grown by since, however many more there were: the
/// allocator of the C library does not give everything back at once, and the digests
/// of the newest messages are kept, to notice duplicates.
const GROWTH: u64 = 16 << 20;

/// How many messages come before it is measured, and how many after that.
fn messages() -> (usize, usize) {
    match env::var("HELO_MESSAGES") {
        Ok(wanted) => (BEFORE_A_CAMPAIGN, wanted.parse().unwrap()),
        Err(_) => (BEFORE, 8_000),
    }
}

fn start(dir: &Path, options: &[&str]) -> Program {
    let mut command = Command::new(PROGRAM);
    command.args(options).args(["--listen", "127.0.0.1:0"]);
    Program::start(command, dir)
}

/// Sends so many messages, all different, by several clients at a time.
fn send(address: SocketAddr, from: usize, count: usize) {
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            let numbers = (from..from + count).skip(client).step_by(CLIENTS);
            let numbers: Vec<usize> = numbers.collect();
            scope.spawn(move || {
                for some in numbers.chunks(OF_A_SESSION) {
                    session(address, some);
                }
            });
        }
    });
}

/// A session with a message of each number.
fn session(address: SocketAddr, numbers: &[usize]) {
    let mut tcp = connect(address);
    hear(&mut tcp, 1, "220 ");
    tcp.write_all(b"EHLO c.test\r\n").unwrap();
    hear(&mut tcp, 1, "250 ");
    for number in numbers {
        let envelope =
            format!("MAIL FROM:<a{number}@c.test>\r\nRCPT TO:<postmaster@localhost>\r\nDATA\r\n");
        tcp.write_all(envelope.as_bytes()).unwrap();
        hear(&mut tcp, 3, "354 ");
        let content = format!("Subject: {number}\r\n\r\n{}\r\n.\r\n", "x".repeat(4000));
        tcp.write_all(content.as_bytes()).unwrap();
        hear(&mut tcp, 1, "250 ");
    }
    tcp.write_all(b"QUIT\r\n").unwrap();
    hear(&mut tcp, 1, "221 ");
}

/// Waits for so many replies, the last of which begins like this.
fn hear(tcp: &mut impl Read, replies: usize, last: &str) {
    let (mut heard, mut chunk) = (Vec::new(), [0; 4096]);
    loop {
        let count = tcp.read(&mut chunk).unwrap();
        heard.extend_from_slice(&chunk[..count]);
        let text = String::from_utf8_lossy(&heard);
        let ends = |line: &&str| line.as_bytes().get(3) == Some(&b' ');
        let there: Vec<&str> = text.lines().filter(ends).collect();
        if there.len() >= replies && text.ends_with("\r\n") {
            assert!(there[replies - 1].starts_with(last), "{text}");
            return;
        }
        assert_ne!(count, 0, "closed after {text}");
    }
}

fn does_not_grow(name: &str, options: &[&str]) {
    let dir = scratch();
    let server = start(dir.path(), options);
    let (first, count) = messages();
    send(server.address, 0, first);
    let before = server.resident() * 1024;
    send(server.address, first, count);
    let after = server.resident() * 1024;
    let grew = format!("resident: {name} {before} octets, {after} after {count} messages more");
    println!("{grew}");
    assert!(after <= before + GROWTH, "{grew}");
}

#[test]
fn messages_in_memory_are_so_many_and_no_more() {
    does_not_grow("memory", &["run", "--store", "memory:1000"]);
}

#[test]
fn messages_that_are_not_kept_cost_nothing() {
    does_not_grow("null", &["run", "--store", "null"]);
}

#[test]
fn the_sink_only_counts() {
    does_not_grow("sink", &["sink"]);
}
