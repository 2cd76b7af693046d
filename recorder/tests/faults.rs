//! Faults of the peers, of the disk and of the command line: each is recorded or
//! told in one clear line, and none loses what was recorded before it.
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
use std::net::{Shutdown, TcpListener};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Output;

use support::{PROGRAM, Recorder, check, run};
use testkit::program::complaint;
use testkit::recorded::{closed, of_kind, payloads};
use testkit::talk::{drain, is_served, reply, say};
use testkit::wait::until_true;
use testkit::{Upstream, scratch};

#[test]
fn an_upstream_that_refuses_is_told_to_the_client_and_recorded() {
    let dir = scratch();
    // A port that was free a moment ago, and that nobody listens on.
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr();
    let mut recorder = Recorder::start(dir.path(), nobody.unwrap(), &[]);
    let mut tcp = recorder.connect();
    assert!(reply(&mut tcp).starts_with("421 4.4.1 "));
    assert_eq!(drain(&mut tcp).0, b"");
    let close = closed(&recorder.file, 1);
    assert_eq!(close.text("by"), Some("proxy"));
    assert!(recorder.terminate().success());
    let recording = recorder.recording();
    assert_eq!(of_kind(&recording, 1, "note").len(), 1);
    assert!(payloads(&recording, 1).1.starts_with(b"421 4.4.1 "));
    assert_eq!(check(&recorder.file).0, 0);
}

#[test]
fn an_upstream_that_hangs_is_given_up_and_so_recorded() {
    let dir = scratch();
    let upstream = Upstream::start(|mut tcp, _| {
        let _ = tcp.read_to_end(&mut Vec::new());
    });
    let recorder = Recorder::start(dir.path(), upstream.address, &["--timeout", "1"]);
    let mut tcp = recorder.connect();
    assert_eq!(drain(&mut tcp).0, b"");
    assert_eq!(closed(&recorder.file, 1).text("by"), Some("timeout"));
}

#[test]
fn a_reset_in_the_middle_of_the_data_is_passed_on_as_a_reset() {
    let dir = scratch();
    let upstream = Upstream::start(|mut tcp, _| {
        tcp.write_all(b"220 up.test\r\n").unwrap();
        for answer in ["250 up.test\r\n", "250 ok\r\n", "250 ok\r\n", "354 go\r\n"] {
            assert!(!line(&mut tcp).is_empty());
            tcp.write_all(answer.as_bytes()).unwrap();
        }
        assert_eq!(line(&mut tcp), b"Subject: half\r\n");
        rustix::net::sockopt::set_socket_linger(&tcp, Some(std::time::Duration::ZERO)).unwrap();
    });
    let recorder = Recorder::start(dir.path(), upstream.address, &[]);
    let mut tcp = recorder.connect();
    assert!(reply(&mut tcp).starts_with("220"));
    for command in ["EHLO c.test", "MAIL FROM:<>", "RCPT TO:<a@up.test>"] {
        assert!(say(&mut tcp, &format!("{command}\r\n")).starts_with("250"));
    }
    assert!(say(&mut tcp, "DATA\r\n").starts_with("354"));
    tcp.write_all(b"Subject: half\r\n").unwrap();
    let (rest, end) = drain(&mut tcp);
    assert_eq!(rest, b"");
    let kind = end.unwrap_err().kind();
    assert_eq!(kind, std::io::ErrorKind::ConnectionReset);
    let close = closed(&recorder.file, 1);
    assert_eq!(
        (close.text("by"), close.text("how")),
        (Some("server"), Some("rst"))
    );
    let said = payloads(&recorder.recording(), 1).0;
    assert!(said.ends_with(b"Subject: half\r\n"));
}

/// Octet by octet to the end of a line.
fn line(tcp: &mut std::net::TcpStream) -> Vec<u8> {
    let mut octets = Vec::new();
    while !octets.ends_with(b"\n") {
        let mut octet = [0];
        tcp.read_exact(&mut octet).unwrap();
        octets.push(octet[0]);
    }
    octets
}

#[test]
fn a_client_that_is_done_talking_still_hears_its_replies() {
    let dir = scratch();
    // Answers only when the client has ended its side.
    let upstream = Upstream::start(|mut tcp, _| {
        tcp.write_all(b"220 up.test\r\n").unwrap();
        let mut said = Vec::new();
        tcp.read_to_end(&mut said).unwrap();
        assert_eq!(said, b"NOOP\r\nQUIT\r\n");
        tcp.write_all(b"250 ok\r\n221 bye\r\n").unwrap();
    });
    let recorder = Recorder::start(dir.path(), upstream.address, &[]);
    let mut tcp = recorder.connect();
    assert_eq!(reply(&mut tcp), "220 up.test\r\n");
    tcp.write_all(b"NOOP\r\nQUIT\r\n").unwrap();
    tcp.shutdown(Shutdown::Write).unwrap();
    let (rest, end) = drain(&mut tcp);
    assert_eq!(rest, b"250 ok\r\n221 bye\r\n");
    end.unwrap();
    assert_eq!(closed(&recorder.file, 1).text("by"), Some("client"));
}

#[test]
fn a_server_that_does_not_read_holds_the_client_back() {
    let dir = scratch();
    let (resume, resumed) = std::sync::mpsc::channel::<()>();
    let resumed = std::sync::Mutex::new(resumed);
    let upstream = Upstream::start(move |mut tcp, _| {
        rustix::net::sockopt::set_socket_recv_buffer_size(&tcp, 64 * 1024).unwrap();
        tcp.write_all(b"220 up.test\r\n").unwrap();
        assert_eq!(line(&mut tcp), b"DATA\r\n");
        tcp.write_all(b"354 go\r\n").unwrap();
        resumed.lock().unwrap().recv().unwrap();
        let mut octets = Vec::new();
        tcp.read_to_end(&mut octets).unwrap();
        let _ = tcp.write_all(format!("250 {} octets\r\n", octets.len()).as_bytes());
    });
    let recorder = Recorder::start(dir.path(), upstream.address, &["--durability", "buffered"]);
    let mut tcp = recorder.connect();
    assert_eq!(reply(&mut tcp), "220 up.test\r\n");
    assert!(say(&mut tcp, "DATA\r\n").starts_with("354"));
    let sent = fill(&mut tcp, 64 << 20);
    let resident = recorder.resident_at_most();
    assert!(resident < 64 * 1024, "{resident} KiB resident");
    resume.send(()).unwrap();
    tcp.shutdown(Shutdown::Write).unwrap();
    let heard = drain(&mut tcp).0;
    assert_eq!(heard, format!("250 {sent} octets\r\n").as_bytes());
}

/// Sends lines until the socket takes no more for a while that is long against
/// what a machine does in between, and says how many octets it took. A peer that
/// takes `most` is not held back at all.
fn fill(tcp: &mut std::net::TcpStream, most: usize) -> usize {
    let lines = b"a line of mail data that nobody reads for now\r\n".repeat(1000);
    tcp.set_write_timeout(Some(std::time::Duration::from_secs(1)))
        .unwrap();
    let mut sent = 0;
    while let Ok(count) = tcp.write(&lines[sent % lines.len()..]) {
        sent += count;
        assert!(
            sent < most,
            "{sent} octets were taken, and nobody read them"
        );
    }
    tcp.set_write_timeout(Some(testkit::wait::LIMIT)).unwrap();
    sent
}

#[test]
fn a_full_disk_ends_the_session_with_421_and_the_recorder_with_6() {
    let dir = scratch();
    let upstream = Upstream::honest();
    // A limit on the size of files stands for the end of the disk.
    let limited = ["sh", "-c", "ulimit -f 32; exec \"$0\" \"$@\"", PROGRAM];
    let mut recorder = Recorder::start_as(&limited, dir.path(), upstream.address, &[]);
    let mut tcp = recorder.connect();
    assert!(reply(&mut tcp).starts_with("220"));
    let mut said = 0;
    let last = loop {
        let answer = say(&mut tcp, &format!("NOOP {}\r\n", "x".repeat(400)));
        said += 1;
        assert!(said < 1000, "32 blocks hold no 1000 commands");
        if !answer.starts_with("250") {
            break answer;
        }
    };
    assert!(last.starts_with("421 4.3.0 "), "{last}");
    assert_eq!(recorder.wait().code(), Some(6));
    let stderr = recorder.stderr();
    let complaint = stderr.lines().last().unwrap();
    let file = recorder.file.to_str().unwrap();
    assert!(complaint.contains(file), "{stderr}");
    // All that was passed on is there; only the last line may be torn.
    let recording = recorder.recording();
    let (from_client, _) = payloads(&recording, 1);
    let recorded = from_client.split(|&octet| octet == b'\n').count() - 1;
    assert!(recorded >= said - 1, "{recorded} of {said}");
}

#[test]
fn what_cannot_be_recorded_to_is_told_in_one_line() {
    let dir = scratch();
    let there = dir.path().join("there.helo.jsonl");
    fs::write(&there, "mine\n").unwrap();
    let link = dir.path().join("link.helo.jsonl");
    symlink(dir.path().join("nowhere"), &link).unwrap();
    let missing = dir.path().join("no/such/dir/t.helo.jsonl");
    for (path, reason) in [
        (&there, "it exists"),
        (&link, "it exists"),
        (&missing, "No such file"),
        (&dir.path().to_path_buf(), "it exists"),
    ] {
        let (status, said) = complaint(&proxy("127.0.0.1:0", path, &[]));
        assert_eq!(status, 6, "{said}");
        assert!(said.contains(path.to_str().unwrap()), "{said}");
        assert!(said.contains(reason), "{said}");
    }
    assert_eq!(fs::read(&there).unwrap(), b"mine\n");
    // What is no recording is not gone on with.
    let (status, said) = complaint(&proxy("127.0.0.1:0", &there, &["--append"]));
    assert_eq!(status, 6, "{said}");
    assert_eq!(fs::read(&there).unwrap(), b"mine\n");
}

fn proxy(listen: &str, record: &Path, options: &[&str]) -> Output {
    let mut arguments = vec!["proxy", "--listen", listen, "--upstream", "127.0.0.1:9"];
    arguments.extend(["--record", record.to_str().unwrap()]);
    arguments.extend(options);
    run(&arguments)
}

#[test]
fn a_port_in_use_is_told_with_the_port() {
    let dir = scratch();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let file = dir.path().join("t.helo.jsonl");
    let (status, said) = complaint(&proxy(&address, &file, &[]));
    assert_eq!(status, 3, "{said}");
    assert!(said.contains(&address), "{said}");
    assert!(!file.exists(), "a recording of nothing was left behind");
}

#[test]
fn bad_arguments_are_2_and_bad_files_4() {
    let dir = scratch();
    let file = dir.path().join("t.helo.jsonl");
    let (status, said) = complaint(&run(&[
        "proxy",
        "--listen",
        "127.0.0.1:0",
        "--upstream",
        "nowhere",
        "--record",
        file.to_str().unwrap(),
    ]));
    assert_eq!(status, 2, "{said}");
    assert!(said.contains("nowhere"), "{said}");
    assert_eq!(run(&["proxy", "--no-such"]).status.code(), Some(2));
    fs::write(&file, "this is no recording\n").unwrap();
    for command in ["show", "check"] {
        let output = run(&[command, file.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(4), "{command}: {output:?}");
        let (status, _) = complaint(&run(&[command, "/no/such/file"]));
        assert_eq!(status, 4, "{command}");
    }
}

#[test]
fn sessions_after_a_fault_go_on() {
    let dir = scratch();
    let upstream = Upstream::honest();
    let mut recorder = Recorder::start(dir.path(), upstream.address, &["--max-connections", "1"]);
    for _ in 0..3 {
        let mut tcp = recorder.connect();
        assert!(reply(&mut tcp).starts_with("220"));
        tcp.write_all(b"EHLO half").unwrap();
        drop(tcp);
        upstream.idle();
    }
    let address = recorder.address;
    until_true("a whole session", || {
        std::panic::catch_unwind(|| is_served(address, "a@c.test", "b@up.test")).unwrap_or(false)
    });
    assert!(recorder.terminate().success());
    assert_eq!(check(&recorder.file).0, 0);
}
