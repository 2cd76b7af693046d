//! Faults of the machine and of clients, in every form of store: nothing is lost that
//! was told to be kept, and nothing is left of what was not.
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
use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;

use support::mail::{FORMS, Mail};
use support::{PROGRAM, Server, TO_ANNA, accepts};
use testkit::scratch;
use testkit::talk::{drain, reply, say};
use testkit::wait::until_true;

fn keeping(form: &'static str, dir: &Path, options: &[&str]) -> (Server, Mail) {
    let mail = Mail::new(form, dir);
    let store = mail.store();
    let all = [&[store.as_str()], options].concat();
    (Server::start(dir, &all), mail)
}

fn is_empty(mail: &Mail) -> bool {
    mail.contents().is_empty() && mail.names("json").is_empty() && mail.unfinished().is_empty()
}

#[test]
fn on_a_full_disk_a_message_is_refused_and_the_others_stay() {
    // A limit on the size of files stands for the end of the disk.
    let limited = ["sh", "-c", "ulimit -f 32; exec \"$0\" \"$@\"", PROGRAM];
    for (form, spill) in [("eml", "1G"), ("eml", "1K"), ("mbox", "1G"), ("mbox", "1K")] {
        let dir = scratch();
        let mail = Mail::new(form, dir.path());
        let options = [&mail.store(), "--spill", spill];
        let server = Server::start_as(&limited, dir.path(), &options);
        let mut tcp = server.after(&TO_ANNA);
        assert!(say(&mut tcp, "first\r\n.\r\n").starts_with("250 2.0.0 "));
        let was = fs::read(mail.place()).unwrap_or_default();
        for octets in [17_000, 40_000, 3_000_000] {
            accepts(&mut tcp, &TO_ANNA[1..]);
            let verdict = say(&mut tcp, &("x".repeat(octets) + "\r\n.\r\n"));
            assert!(verdict.starts_with("452 4.3.1 "), "{form}: {verdict}");
            assert_eq!(fs::read(mail.place()).unwrap_or_default(), was);
            assert_eq!(mail.unfinished(), Vec::<std::path::PathBuf>::new());
        }
        accepts(&mut tcp, &TO_ANNA[1..]);
        assert!(say(&mut tcp, "last\r\n.\r\n").starts_with("250 2.0.0 "));
        assert_eq!(mail.contents(), [&b"first\r\n"[..], b"last\r\n"], "{form}");
        assert!(form == "mbox" || mail.accounts().len() == 2);
    }
}

/// A library that makes an `fsync` of every directory, or of everything else, fail.
fn failing_sync(dir: &Path, of_directories: bool) -> String {
    let (source, library) = (dir.join("sync.c"), dir.join("sync.so"));
    let text = format!(
        "#include <errno.h>\n#include <sys/stat.h>\n\
         int fsync(int fd) {{\n\
           struct stat what;\n\
           if (fstat(fd, &what) || S_ISDIR(what.st_mode) != {}) return 0;\n\
           errno = EIO;\n\
           return -1;\n\
         }}\n",
        u8::from(of_directories)
    );
    fs::write(&source, text).unwrap();
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .args([&library, &source])
        .status();
    assert!(built.unwrap().success());
    library.to_str().unwrap().to_owned()
}

#[test]
fn what_the_disk_does_not_confirm_is_kept_only_if_nobody_asks_it() {
    for of_directories in [false, true] {
        let dir = scratch();
        let preload = format!("LD_PRELOAD={}", failing_sync(dir.path(), of_directories));
        let program = ["env", &*preload, PROGRAM];
        for form in FORMS {
            for (spill, fsync) in [("1K", "true"), ("1G", "true"), ("1K", "false")] {
                let dir = scratch();
                let mail = Mail::new(form, dir.path());
                let options = [&mail.store(), "--spill", spill, "--fsync", fsync];
                let server = Server::start_as(&program, dir.path(), &options);
                let mut tcp = server.after(&TO_ANNA);
                let verdict = say(&mut tcp, &("x".repeat(5000) + "\r\n.\r\n"));
                let wanted = if fsync == "true" {
                    "452 4.3.1 "
                } else {
                    "250 2.0.0 "
                };
                assert!(verdict.starts_with(wanted), "{form}: {verdict}");
                assert_eq!(is_empty(&mail), fsync == "true", "{form}");
            }
        }
    }
}

#[test]
fn a_store_that_goes_away_and_comes_back_is_used_again() {
    for form in FORMS {
        let (dir, other) = (scratch(), scratch());
        let (there, away) = (other.path().join("mail"), other.path().join("away"));
        fs::create_dir(&there).unwrap();
        let mail = Mail::new(form, &there);
        let server = Server::start(dir.path(), &[&mail.store(), "--spill", "1K"]);
        let mut tcp = server.after(&TO_ANNA);
        assert!(say(&mut tcp, "first\r\n.\r\n").starts_with("250"));
        // Before the message, and in the middle of it.
        for octets in [10, 2000, 200_000] {
            accepts(&mut tcp, &TO_ANNA[1..]);
            tcp.write_all(&vec![b'x'; octets]).unwrap();
            fs::rename(&there, &away).unwrap();
            let verdict = say(&mut tcp, "\r\n.\r\n");
            assert!(verdict.starts_with("452 4.3.1 "), "{form}: {verdict}");
            fs::rename(&away, &there).unwrap();
        }
        accepts(&mut tcp, &TO_ANNA[1..]);
        assert!(say(&mut tcp, "last\r\n.\r\n").starts_with("250"));
        assert_eq!(mail.contents(), [&b"first\r\n"[..], b"last\r\n"], "{form}");
    }
}

/// Sends half a message, and waits until what came is where it is held.
fn half(server: &Server, mail: &Mail) -> TcpStream {
    let mut tcp = server.after(&TO_ANNA);
    let before = open_files(server);
    tcp.write_all(&b"half of a message\r\n".repeat(10_000))
        .unwrap();
    until_true("the message to be held in a file", || {
        // The file beside an mbox has no name.
        !mail.unfinished().is_empty() || open_files(server) > before
    });
    tcp
}

fn open_files(server: &Server) -> usize {
    let descriptors = format!("/proc/{}/fd", server.pid());
    fs::read_dir(descriptors).unwrap().count()
}

#[test]
fn a_client_that_vanishes_leaves_nothing_behind() {
    for form in FORMS {
        let dir = scratch();
        let (server, mail) = keeping(form, dir.path(), &["--spill", "1K"]);
        for reset in [false, true] {
            let tcp = half(&server, &mail);
            if reset {
                let at_once = Some(std::time::Duration::ZERO);
                rustix::net::sockopt::set_socket_linger(&tcp, at_once).unwrap();
            }
            drop(tcp);
            until_true("the message to be gone", || is_empty(&mail));
        }
        assert!(server.serves());
        assert_eq!(mail.contents().len(), 1);
    }
}

#[test]
fn told_to_end_in_the_middle_of_a_message_it_takes_the_rest_or_leaves_nothing() {
    for form in FORMS {
        let dir = scratch();
        let (mut server, mail) = keeping(form, dir.path(), &["--spill", "1K"]);
        let mut tcp = half(&server, &mail);
        server.ask_to_end();
        assert!(say(&mut tcp, ".\r\n").starts_with("250 2.0.0 "), "{form}");
        assert!(reply(&mut tcp).starts_with("421"));
        assert!(server.wait().success());
        let wanted = b"half of a message\r\n".repeat(10_000);
        assert!(mail.contents() == [wanted], "{form}");
        drop(server);

        let dir = scratch();
        let options = ["--spill", "1K", "--timeout-drain", "100ms"];
        let (mut server, mail) = keeping(form, dir.path(), &options);
        let mut tcp = half(&server, &mail);
        server.ask_to_end();
        assert!(server.wait().success());
        let (rest, _) = drain(&mut tcp);
        assert!(!rest.starts_with(b"250"), "{form}");
        assert!(is_empty(&mail), "{form}");
    }
}

#[test]
fn a_message_of_any_size_takes_little_memory() {
    const MIB: usize = 96;
    let lines = ["x".repeat(510), "\r\n".into()].concat().repeat(2 * 1024);
    assert_eq!(lines.len(), 1 << 20);
    for form in ["eml", "maildir", "mbox", "null"] {
        let dir = scratch();
        let mail = Mail::new(form, dir.path());
        let store = match form {
            "null" => "--store=null".into(),
            _ => mail.store(),
        };
        let server = Server::start(dir.path(), &[&store, "--max-size", "0", "--fsync", "false"]);
        let before = server.resident_at_most();
        let mut tcp = server.after(&TO_ANNA);
        for _ in 0..MIB {
            tcp.write_all(lines.as_bytes()).unwrap();
        }
        assert!(say(&mut tcp, ".\r\n").starts_with("250"), "{form}");
        let growth = server.resident_at_most() - before;
        println!("{form}: {before} KiB resident, {growth} more at most");
        assert!(growth < 16 * 1024, "{form}: {growth} KiB");
        if form != "null" {
            assert!(
                mail.contents() == [lines.repeat(MIB).into_bytes()],
                "{form}"
            );
        }
    }
}
