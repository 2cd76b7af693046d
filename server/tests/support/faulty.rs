//! A server that misbehaves, and what it says about that in its recording.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use shared::recording::Record;
use testkit::recorded::{closed, of_kind};
use testkit::talk;

use super::Server;

/// Starts one with these faults, and a recording.
pub fn faulty(dir: &Path, faults: &[&str]) -> Server {
    faulty_with(dir, faults, &[])
}

/// Starts one with these faults and options.
pub fn faulty_with(dir: &Path, faults: &[&str], options: &[&str]) -> Server {
    let faults = faults.iter().flat_map(|fault| ["--fault", fault]);
    let all: Vec<&str> = faults.chain(options.iter().copied()).collect();
    Server::recording(dir, &all)
}

impl Server {
    /// A connection, with nothing said or heard yet.
    pub fn connected(&self) -> TcpStream {
        talk::connect(self.address)
    }

    /// What faults a session has in the recording, once it is over: what was done.
    pub fn acts(&self, session: u64) -> Vec<String> {
        let faults = self.faults(session);
        let act = |record: &Record| record.text("act").unwrap().to_owned();
        faults.iter().map(act).collect()
    }

    /// The `fault` records of a session, once it is over.
    pub fn faults(&self, session: u64) -> Vec<Record> {
        closed(&self.file(), session);
        of_kind(&self.recorded(), session, "fault")
    }
}

/// The connection ends in order, and nothing comes before.
pub fn ends(tcp: &mut TcpStream) {
    let (rest, end) = talk::drain(tcp);
    assert_eq!(String::from_utf8_lossy(&rest), "");
    end.unwrap();
}

/// The connection is reset, and nothing comes before.
pub fn is_reset(tcp: &mut TcpStream) {
    let (rest, end) = talk::drain(tcp);
    assert_eq!(String::from_utf8_lossy(&rest), "");
    let error = end.expect_err("it ended in order");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

/// Nothing comes, and the connection stays open, for a moment.
pub fn is_silent(tcp: &mut TcpStream) {
    let moment = Duration::from_millis(150);
    tcp.set_read_timeout(Some(moment)).unwrap();
    let heard = tcp.read(&mut [0]);
    tcp.set_read_timeout(Some(testkit::wait::LIMIT)).unwrap();
    let error = heard.expect_err("something came, or the end");
    assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
}

/// Says something; what the reply is and how long it took.
pub fn timed(tcp: &mut TcpStream, line: &str) -> (String, Duration) {
    let began = Instant::now();
    tcp.write_all(line.as_bytes()).unwrap();
    let reply = talk::reply(tcp);
    (reply, began.elapsed())
}

/// Reads so many octets.
pub fn octets(tcp: &mut TcpStream, count: usize) -> String {
    let mut octets = vec![0; count];
    tcp.read_exact(&mut octets).unwrap();
    String::from_utf8(octets).unwrap()
}
