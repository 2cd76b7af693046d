//! Faults of the command line, of files, of the disk and of the system: each is told
//! in one clear line or by a reply, and none loses what was kept before it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail"
)]

mod support;

use std::fs;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use support::tls::Minted;
use support::{PROGRAM, Server, TO_ANNA, accepts, files, run};
use testkit::program::complaint;
use testkit::recorded::payloads;
use testkit::scratch;
use testkit::talk::{connect, drain, reply, say};
use testkit::wait::until_true;

/// It ends at once with that status, and one line that says all of this.
fn fails(output: &Output, status: i32, says: &[&str]) {
    let (found, said) = complaint(output);
    assert_eq!(found, status, "{said}");
    assert!(said.starts_with("helo-server: "), "{said}");
    for part in says {
        assert!(said.contains(part), "{part} is not in: {said}");
    }
    assert!(output.stdout.is_empty(), "{output:?}");
}

#[test]
fn a_place_that_cannot_be_listened_on_is_told_and_nothing_is_left_behind() {
    let dir = scratch();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let missing = dir.path().join("no/such/socket");
    let missing = format!("unix:{}", missing.display());
    let record = dir.path().join("t.helo.jsonl");
    let store = format!("maildir:{}", dir.path().join("mail").display());
    for (place, says) in [
        (&*taken, "in use"),
        // TEST-NET-1 is nobody's (RFC 5737).
        ("192.0.2.1:0", "assign requested address"),
        (&*missing, "No such file"),
    ] {
        let output = run(&[
            "--listen",
            "127.0.0.1:0",
            "--listen",
            place,
            "--store",
            &store,
            "--record",
            record.to_str().unwrap(),
        ]);
        fails(&output, 3, &[place, says]);
        assert_eq!(files(dir.path()), Vec::<std::path::PathBuf>::new());
    }
}

/// Runs the server to its end, as somebody who is not root.
fn run_as_nobody(dir: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(PROGRAM);
    if rustix::process::geteuid().is_root() {
        // Somewhere that nobody may go to.
        let copy = dir.join("helo-server");
        if !copy.exists() {
            fs::copy(PROGRAM, &copy).unwrap();
            fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).unwrap();
        }
        command = Command::new(copy);
        command.uid(65534).gid(65534);
    }
    let command = command.args(["--listen", "127.0.0.1:0"]).args(arguments);
    command.stdin(Stdio::null()).output().unwrap()
}

/// Makes something that only root may do anything with.
fn forbid(path: &Path) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o0)).unwrap();
}

#[test]
fn what_cannot_be_recorded_to_is_told() {
    let dir = scratch();
    let at = |name: &str| dir.path().join(name);
    fs::write(at("there"), "mine\n").unwrap();
    symlink(at("nowhere"), at("link")).unwrap();
    fs::create_dir(at("locked")).unwrap();
    forbid(&at("locked"));
    for (path, reason) in [
        (at("there"), "it exists"),
        (at("link"), "it exists"),
        (at(""), "it exists"),
        (at("no/such/dir/t.jsonl"), "No such file"),
        (at("there/t.jsonl"), "Not a directory"),
        (at("locked/t.jsonl"), "Permission denied"),
    ] {
        let path = path.to_str().unwrap();
        let output = run_as_nobody(dir.path(), &["--record", path]);
        fails(&output, 6, &["cannot record to", path, reason]);
        let (_, said) = complaint(&output);
        // It has no such option.
        assert!(!said.contains("--append"), "{said}");
    }
    assert_eq!(fs::read(at("there")).unwrap(), b"mine\n");
}

#[test]
fn a_store_that_cannot_be_made_or_written_is_told() {
    let dir = scratch();
    let at = |name: &str| dir.path().join(name);
    fs::write(at("file"), "mine\n").unwrap();
    fs::create_dir(at("locked")).unwrap();
    for part in ["", "anna", "anna/tmp", "anna/new", "anna/cur"] {
        fs::create_dir_all(at("theirs").join(part)).unwrap();
        fs::set_permissions(at("theirs").join(part), fs::Permissions::from_mode(0o755)).unwrap();
    }
    forbid(&at("locked"));
    if !rustix::process::geteuid().is_root() {
        let read_only = fs::Permissions::from_mode(0o555);
        fs::set_permissions(at("theirs/anna/tmp"), read_only).unwrap();
    }
    for (path, what, reason) in [
        ("file", "cannot make the Maildir", "Not a directory"),
        ("file/mail", "cannot make the Maildir", "Not a directory"),
        (
            "locked/mail",
            "cannot make the Maildir",
            "Permission denied",
        ),
        ("theirs", "cannot write to the Maildir", "Permission denied"),
    ] {
        let path = at(path);
        let store = format!("maildir:{}", path.display());
        let output = run_as_nobody(dir.path(), &["--user", "anna", "--store", &store]);
        let path = path.to_str().unwrap();
        fails(&output, 6, &["--store", what, path, reason]);
        if path.ends_with("theirs") {
            continue;
        }
        let output = run_as_nobody(dir.path(), &["--witness", &store]);
        fails(&output, 6, &["--witness", what, path, reason]);
    }
    assert_eq!(fs::read(at("file")).unwrap(), b"mine\n");
}

#[test]
fn a_ready_file_or_standard_output_that_cannot_be_written_is_told() {
    let dir = scratch();
    let missing = dir.path().join("no/such/ready");
    let missing = missing.to_str().unwrap();
    let output = run(&["--listen", "127.0.0.1:0", "--ready-file", missing]);
    fails(&output, 6, &["--ready-file", missing, "No such file"]);
    if Path::new("/dev/full").exists() {
        let full = "exec \"$0\" --listen 127.0.0.1:0 > /dev/full";
        let output = testkit::run("sh", &["-c", full, PROGRAM]);
        fails(&output, 6, &["standard output", "No space left"]);
    }
}

#[test]
fn bad_certificates_are_told_with_their_files() {
    let dir = scratch();
    let minted = Minted::in_files(dir.path());
    let other = dir.path().join("other");
    fs::create_dir(&other).unwrap();
    let other = Minted::in_files(&other);
    let at = |name: &str| dir.path().join(name);
    fs::write(at("text"), "no certificate\n").unwrap();
    fs::write(at("torn"), "-----BEGIN CERTIFICATE-----\nAAAA\n").unwrap();
    fs::write(at("locked"), fs::read(&minted.key).unwrap()).unwrap();
    forbid(&at("locked"));
    for (cert, key, wrong, reason) in [
        (&at("none"), &minted.key, &at("none"), "No such file"),
        (&minted.cert, &at("none"), &at("none"), "No such file"),
        (
            &at("text"),
            &minted.key,
            &at("text"),
            "holds no certificate",
        ),
        (&at("torn"), &minted.key, &at("torn"), "PEM"),
        (&minted.cert, &at("text"), &at("text"), ""),
        (&minted.cert, &minted.cert, &minted.cert, ""),
        (
            &minted.key,
            &minted.key,
            &minted.key,
            "holds no certificate",
        ),
        (
            &minted.cert,
            &at("locked"),
            &at("locked"),
            "Permission denied",
        ),
        (
            &minted.cert,
            &other.key,
            &minted.cert,
            "do not fit together",
        ),
        (&minted.cert, &other.key, &other.key, "do not fit together"),
    ] {
        let [cert, key, wrong] = [cert, key, wrong].map(|path| path.to_str().unwrap());
        let output = run_as_nobody(dir.path(), &["--tls-cert", cert, "--tls-key", key]);
        fails(&output, 2, &[wrong, reason]);
    }
}

#[test]
fn bad_arguments_are_told() {
    for (arguments, says) in [
        (
            &["--persona", "nobody"][..],
            &["nobody", "helo-server personas"][..],
        ),
        (
            &["--config", "/no/such/file"],
            &["--config /no/such/file", "No such file"],
        ),
    ] {
        fails(&run(arguments), 2, says);
    }
    // These are told by the reader of the command line, with the usage.
    for (option, value, named) in [
        ("--no-such-option", "", "--no-such-option"),
        ("--listen", "25", "'25'"),
        ("--hostname", "bad_name", "bad_name"),
        ("--mynetworks", "10.0.0.0/40", "10.0.0.0/40"),
        ("--store", "tape:/tmp/x", "tape:/tmp/x"),
        ("--witness", "/tmp/x", "/tmp/x"),
        ("--max-size", "big", "64K"),
        ("--timeout-command", "soon", "5m"),
        ("--tls-cert", "cert.pem", "--tls-key"),
        ("personas", "all", "all"),
    ] {
        let output = run(&[option, value]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{option}: {said}");
        assert!(said.contains(named), "{option}: {said}");
        assert!(output.stdout.is_empty(), "{output:?}");
    }
}

/// A command line that begins the server with a limit of the shell's `ulimit`.
fn limited(limit: &str) -> [String; 4] {
    let script = format!("ulimit {limit}; exec \"$0\" \"$@\"");
    ["sh".into(), "-c".into(), script, PROGRAM.into()]
}

/// Starts a server with a limit.
fn start_limited(limit: &str, dir: &Path, options: &[&str]) -> Server {
    let limited = limited(limit);
    let limited: Vec<&str> = limited.iter().map(String::as_str).collect();
    Server::start_as(&limited, dir, options)
}

#[test]
fn a_full_disk_under_the_recording_ends_all_sessions_with_421_and_the_server_with_6() {
    let dir = scratch();
    let file = dir.path().join("t.helo.jsonl");
    let options = ["--max-junk=0", "--record", file.to_str().unwrap()];
    // A limit on the size of files stands for the end of the disk.
    let mut server = start_limited("-f 32", dir.path(), &options);
    let mut idle = server.after(&["EHLO idle.test"]);
    let mut in_data = server.after(&TO_ANNA);
    let mut tcp = server.after(&["EHLO c.test"]);
    let mut said = 1;
    let last = loop {
        let answer = say(&mut tcp, &format!("NOOP {}\r\n", "x".repeat(400)));
        said += 1;
        assert!(said < 1000, "32 blocks hold no 1000 commands");
        if !answer.starts_with("250") {
            break answer;
        }
    };
    for told in [last, reply(&mut idle), reply(&mut in_data)] {
        assert!(told.starts_with("421 4.3.0 "), "{told}");
    }
    for tcp in [&mut tcp, &mut idle, &mut in_data] {
        assert_eq!(drain(tcp).0, b"");
    }
    drop((tcp, idle, in_data));
    assert_eq!(server.wait().code(), Some(6));
    let stderr = server.stderr();
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    for part in [file.to_str().unwrap(), "cannot be written", "too large"] {
        assert!(stderr.contains(part), "{stderr}");
    }
    // All that was answered is there; only the last line may be torn.
    let (client, _) = payloads(&server.recorded(), 3);
    let recorded = String::from_utf8(client).unwrap().lines().count();
    assert!(recorded >= said - 1, "{recorded} of {said}");
    assert_eq!(server.left().0, Vec::<std::path::PathBuf>::new());
}

#[test]
fn a_disk_that_is_full_from_the_start_is_told() {
    let dir = scratch();
    let file = dir.path().join("t.helo.jsonl");
    let file = file.to_str().unwrap();
    let [shell, option, script, program] = limited("-f 0");
    let arguments = [
        &option,
        &script,
        &program,
        "--listen",
        "127.0.0.1:0",
        "--record",
        file,
    ];
    let output = testkit::run(&shell, &arguments);
    fails(&output, 6, &[file, "cannot be written", "too large"]);
}

#[test]
fn a_full_disk_under_the_store_refuses_that_message_and_no_other() {
    let dir = scratch();
    let mut server = start_limited("-f 32", dir.path(), &[]);
    let mut tcp = server.after(&TO_ANNA);
    // What does not fit, by little and by much.
    for octets in [17_000, 40_000, 3_000_000] {
        let mut message = "x".repeat(octets);
        message += "\r\n.\r\n";
        let verdict = say(&mut tcp, &message);
        assert!(verdict.starts_with("452 4.3.1 "), "{octets}: {verdict}");
        assert_eq!(server.left(), (Vec::new(), Vec::new()));
        accepts(&mut tcp, &TO_ANNA[1..]);
    }
    // The session goes on, and so does the server.
    assert!(say(&mut tcp, "small\r\n.\r\n").starts_with("250 2.0.0 "));
    assert!(server.serves());
    assert_eq!(server.kept("anna").len(), 2);
    // Whoever runs it hears of each, and of nothing else.
    let stderr = server.stderr();
    assert_eq!(stderr.lines().count(), 3, "{stderr}");
    assert!(
        stderr.lines().all(|line| line.contains("too large")),
        "{stderr}"
    );
    assert!(server.terminate().success());
}

#[test]
fn a_message_that_cannot_go_everywhere_goes_nowhere() {
    let dir = scratch();
    let server = Server::start(dir.path(), &[]);
    let berts = dir.path().join("mail/bert/new");
    let both = [
        "EHLO c.test",
        "MAIL FROM:<a@c.test>",
        "RCPT TO:<anna@local.test>",
        "RCPT TO:<bert@local.test>",
        "DATA",
    ];
    fs::remove_dir(&berts).unwrap();
    let mut tcp = server.after(&both);
    let verdict = say(&mut tcp, "x\r\n.\r\n");
    assert!(verdict.starts_with("452 4.3.1 "), "{verdict}");
    assert_eq!(server.left(), (Vec::new(), Vec::new()));
    let stderr = server.stderr();
    assert!(stderr.contains(berts.to_str().unwrap()), "{stderr}");
    // Once there is a place for it, it goes to both, and once to each.
    fs::create_dir(&berts).unwrap();
    accepts(&mut tcp, &both[1..]);
    assert!(say(&mut tcp, "x\r\n.\r\n").starts_with("250"));
    assert_eq!(
        (server.kept("anna").len(), server.kept("bert").len()),
        (1, 1)
    );
    // Nor is there a reply but at the end where even its first place is gone.
    fs::remove_dir_all(dir.path().join("mail/anna/tmp")).unwrap();
    accepts(&mut tcp, &TO_ANNA[1..]);
    assert!(say(&mut tcp, "x\r\n.\r\n").starts_with("452 4.3.1 "));
    assert!(say(&mut tcp, "NOOP\r\n").starts_with("250"));
}

#[test]
fn a_chunk_without_a_place_is_heard_out_and_refused_once_for_each_recipient() {
    for (protocol, hello, replies) in [("smtp", "EHLO", 1), ("lmtp", "LHLO", 2)] {
        let dir = scratch();
        let place = format!("127.0.0.1:0,proto={protocol}");
        let server = Server::start(dir.path(), &["--listen", &place]);
        let mut tcp = server.after(&[
            &format!("{hello} c.test"),
            "MAIL FROM:<a@c.test>",
            "RCPT TO:<anna@local.test>",
            "RCPT TO:<bert@local.test>",
        ]);
        fs::remove_dir_all(dir.path().join("mail/anna/tmp")).unwrap();
        tcp.write_all(b"BDAT 6 LAST\r\nRSET\r\nNOOP\r\n").unwrap();
        // RFC 2033 §4.2.
        for _ in 0..replies {
            let verdict = reply(&mut tcp);
            assert!(verdict.starts_with("452 4.3.1 "), "{protocol}: {verdict}");
        }
        let next = reply(&mut tcp);
        assert!(
            next.starts_with("250 2.0.0 still here"),
            "{protocol}: {next}"
        );
        assert_eq!(server.left(), (Vec::new(), Vec::new()));
    }
}

#[test]
fn out_of_descriptors_it_waits_and_does_not_spin() {
    let dir = scratch();
    let server = start_limited("-n 32", dir.path(), &["--max-errors=0"]);
    let mut first = server.after(&TO_ANNA[..3]);
    let crowd: Vec<TcpStream> = (0..64).map(|_| connect(server.address)).collect();
    until_true("the descriptors to run out", || {
        server.stderr().contains("cannot accept")
    });
    // No message can be kept; the client may come again with it.
    accepts(&mut first, &["DATA"]);
    assert!(say(&mut first, "x\r\n.\r\n").starts_with("452 4.3.1 "));
    assert!(say(&mut first, "NOOP\r\n").starts_with("250"));
    // Nothing to be done means nothing being done, for as long as we look.
    let (began, before) = (std::time::Instant::now(), server.cpu_time());
    until_true("half a second to pass", || {
        began.elapsed().as_millis() > 500
    });
    let spent = server.cpu_time().saturating_sub(before);
    assert!(spent.as_millis() < 100, "{spent:?} of 500 ms");
    // Nor does it fill its log, or colour what no terminal shows.
    let stderr = server.stderr();
    let told = stderr.matches("cannot accept").count();
    assert_eq!(told, 1, "{stderr}");
    assert!(!stderr.contains('\x1b'), "{stderr:?}");
    drop(crowd);
    until_true("the server to serve again", || {
        accepts(&mut first, &TO_ANNA[1..]);
        say(&mut first, "x\r\n.\r\n").starts_with("250")
    });
    assert!(server.serves());
}
