//! Ten thousand clients that have said EHLO and nothing since: what they cost.
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
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use rustix::process::{Resource, getrlimit, setrlimit};
use support::PROGRAM;
use testkit::talk::{connect, is_served};
use testkit::{Program, scratch};

/// As many as are wanted, if this process may have so many.
const CLIENTS: u64 = 10_000;

/// Allows this process as many open files as it may have, and says how many
/// clients it can play. The server has to see to that for itself.
fn clients() -> u64 {
    let mut limits = getrlimit(Resource::Nofile);
    limits.current = limits.maximum;
    setrlimit(Resource::Nofile, limits).unwrap();
    limits
        .maximum
        .map_or(CLIENTS, |most| CLIENTS.min(most.saturating_sub(500)))
}

/// Starts a server with the soft limit that most systems have.
fn start(dir: &Path, options: &[&str]) -> Program {
    let mut command = Command::new("sh");
    let shell = "ulimit -S -n 1024; exec \"$0\" \"$@\"";
    command.args(["-c", shell, PROGRAM]).args(options);
    command.args(["--listen", "127.0.0.1:0", "--max-connections", "20000"]);
    Program::start(command, dir)
}

fn idle(server: &Program) -> Vec<TcpStream> {
    let each = (0..clients()).map(|_| {
        let mut tcp = connect(server.address);
        assert!(hear(&mut tcp).starts_with(b"220"));
        tcp.write_all(b"EHLO c.test\r\n").unwrap();
        assert!(hear(&mut tcp).starts_with(b"250"));
        tcp
    });
    each.collect()
}

/// A reply, which is one write and so comes whole: `talk::reply` asks for octet
/// after octet, which takes long for so many.
fn hear(tcp: &mut TcpStream) -> Vec<u8> {
    let mut chunk = [0; 4096];
    let count = tcp.read(&mut chunk).unwrap();
    assert!(chunk[..count].ends_with(b"\r\n"));
    chunk[..count].to_vec()
}

/// One test at a time: together they would need more descriptors than many a
/// process may have.
static ONE: Mutex<()> = Mutex::new(());

/// Octets resident with ten thousand clients, if each costs the same.
fn resident_with_all(server: &Program) -> u64 {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let alone = server.resident() * 1024;
    let clients = idle(server);
    let with_clients = server.resident() * 1024;
    let each = with_clients.saturating_sub(alone) / clients.len() as u64;
    println!(
        "{alone} octets, and {each} for each of {} clients",
        clients.len()
    );
    assert!(is_served(
        server.address,
        "a@b.test",
        "postmaster@localhost"
    ));
    alone + each * CLIENTS
}

#[test]
fn ten_thousand_sessions_of_run_fit_in_300_megabytes() {
    let dir = scratch();
    let server = start(dir.path(), &["run"]);
    let resident = resident_with_all(&server);
    assert!(resident < 300_000_000, "{resident} octets");
}

#[test]
fn ten_thousand_sessions_of_the_sink_fit_in_80_mebibytes() {
    let dir = scratch();
    let server = start(dir.path(), &["sink"]);
    let resident = resident_with_all(&server);
    assert!(resident < 80 << 20, "{resident} octets");
}
