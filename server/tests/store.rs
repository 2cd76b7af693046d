//! Every place for mail: what is kept there is what came, and what is known of it.
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
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use serde_json::json;
use shared::codec::encode_dots;
use support::mail::{FORMS, Mail, mbox};
use support::tls::Tls;
use support::{Server, TO_ANNA, accepts, run};
use testkit::program::complaint;
use testkit::talk::{is_served, reply, say};
use testkit::wait::until_true;
use testkit::{Dice, scratch};

/// A server that keeps mail in that form.
fn keeping(form: &'static str, dir: &Path, options: &[&str]) -> (Server, Mail) {
    let mail = Mail::new(form, dir);
    let mut all = vec![mail.store()];
    all.extend(options.iter().map(|&option| option.to_owned()));
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    (Server::start(dir, &all), mail)
}

/// Has a message for anna sent as mail data, and returns the verdict.
fn send(server: &Server, content: &[u8]) -> String {
    let mut wire = Vec::new();
    encode_dots(content, &mut wire);
    let mut tcp = server.after(&TO_ANNA);
    tcp.write_all(&wire).unwrap();
    reply(&mut tcp)
}

/// Has one sent that must be kept, and returns its id.
fn keep(server: &Server, content: &[u8]) -> String {
    let verdict = send(server, content);
    let id = verdict
        .trim_end()
        .strip_prefix("250 2.0.0 kept, queued as ");
    id.unwrap_or_else(|| panic!("{verdict}")).to_owned()
}

#[test]
fn content_is_kept_octet_by_octet_in_every_form() {
    let mut dice = Dice::new();
    let mut sent: Vec<Vec<u8>> = [
        &b""[..],
        b"\r\n",
        b".\r\n",
        b"Subject: x\r\n\r\n.y\r\n..\r\n",
        b"From a@b\r\n>From c\r\n\r\nFrom d\r\n>>From e\r\nFrom\r\n",
        b"a\rb\nc\n\nFrom d\n.\n\0\xff\r\n",
    ]
    .map(<[u8]>::to_vec)
    .to_vec();
    for _ in 0..30 {
        let words: [&[u8]; 9] = [
            b"From ", b">", b"\r\n", b"\n", b".", b"\r", b"x", b" ", b"\0\xfe",
        ];
        let count = dice.below(3000);
        let mut content: Vec<u8> = (0..count)
            .flat_map(|_| words[dice.below(words.len())].to_vec())
            .collect();
        content.extend_from_slice(b"\r\n");
        sent.push(content);
    }
    for form in FORMS {
        // Some are held in memory as they come, and some in a file.
        let dir = scratch();
        let (server, mail) = keeping(form, dir.path(), &["--spill", "2K"]);
        for content in &sent {
            keep(&server, content);
        }
        let kept = mail.contents();
        assert_eq!(kept.len(), sent.len(), "{form}");
        for (kept, sent) in kept.iter().zip(&sent) {
            assert!(
                kept == sent,
                "{form}: {:?}",
                sent.escape_ascii().to_string()
            );
        }
        assert_eq!(mail.unfinished(), Vec::<std::path::PathBuf>::new());
    }
}

#[test]
fn an_account_says_who_sent_what_to_whom_and_how() {
    let dir = scratch();
    let passwords = dir.path().join("users");
    fs::write(&passwords, "bert:secret\n").unwrap();
    let users = format!("--users={}", passwords.display());
    let (server, mail) = keeping("eml", dir.path(), &[&users]);
    let mut tcp = server.after(&["EHLO plain.test"]);
    assert!(say(&mut tcp, "STARTTLS\r\n").starts_with("220"));
    let mut tls = Tls::over(tcp).unwrap();
    for line in [
        "EHLO c.test",
        "AUTH PLAIN AGJlcnQAc2VjcmV0",
        "MAIL FROM:<bert@local.test> SIZE=20 BODY=8BITMIME",
        "RCPT TO:<anna@local.test> NOTIFY=NEVER",
        "RCPT TO:<Bert+tag@local.test>",
        "RCPT TO:<x@elsewhere.test>",
        "DATA",
    ] {
        let reply = tls.say(&format!("{line}\r\n"));
        assert!(reply.starts_with(['2', '3']), "{line}: {reply}");
    }
    let verdict = tls.say("Message-ID:\r\n <1@c.test>\r\n\r\ncaf\u{e9}\n\r\n.\r\n");
    let id = verdict.trim_end().rsplit(' ').next().unwrap();
    let mut account = mail.accounts().remove(0);
    assert_eq!(mail.names("json")[0].file_stem().unwrap(), id);
    assert_eq!(mail.names("eml")[0].file_stem().unwrap(), id);
    let at = account.as_object_mut().unwrap().shift_remove("at").unwrap();
    assert!(at.as_str().unwrap().ends_with('Z'), "{at}");
    assert_eq!(
        account,
        json!({
            "id": id,
            "session": 1,
            "listener": "127.0.0.1:0",
            "client": "127.0.0.1",
            "forwarded": null,
            "helo": "c.test",
            "protocol": "ESMTPSA",
            "envelope": {
                "reverse_path": "<bert@local.test>",
                "parameters": "SIZE=20 BODY=8BITMIME",
                "recipients": [
                    {
                        "forward_path": "<anna@local.test>",
                        "parameters": "NOTIFY=NEVER",
                        "user": "anna"
                    },
                    {
                        "forward_path": "<Bert+tag@local.test>",
                        "parameters": "",
                        "user": "bert"
                    },
                    { "forward_path": "<x@elsewhere.test>", "parameters": "", "user": null },
                ],
            },
            "tls": "1.3", "auth": "bert", "mechanism": "PLAIN",
            "octets": 36,
            "sha256": "d1a0d1929acdba108eab360b10d659fad51aa162849be02e34fd8dbf99394e83",
            "header": { "octets": 26, "too_large": false, "received": 0 },
            "message_id": "<1@c.test>",
            "subject": null,
            "duplicate_of": null,
            "oddities": {
                "longest_line": 11,
                "counts": { "bare-lf": { "count": 1, "first": 33 } },
                "smuggling": {},
                "findings": [{ "offset": 33, "what": "bare-lf" }],
            },
        })
    );
}

#[test]
fn names_sort_as_the_messages_came_whatever_the_clock_says() {
    let dir = scratch();
    // What an earlier run has left, whose clock was wrong by years.
    let earlier = "03e8d4a51000700080000000000000ff";
    fs::create_dir(dir.path().join("kept.eml")).unwrap();
    fs::write(dir.path().join(format!("kept.eml/{earlier}.eml")), "").unwrap();
    let (server, mail) = keeping("eml", dir.path(), &[]);
    let ids: Vec<String> = (0..50).map(|_| keep(&server, b"x\r\n")).collect();
    let mut names = mail.names("eml");
    assert_eq!(names.remove(0).file_stem().unwrap(), earlier);
    let names: Vec<&str> = names
        .iter()
        .map(|name| name.file_stem().unwrap().to_str().unwrap())
        .collect();
    assert_eq!(names, ids);
}

#[test]
fn what_came_before_is_told() {
    let dir = scratch();
    let (server, mail) = keeping("eml", dir.path(), &[]);
    let first = keep(&server, b"Message-ID: <1@a>\r\n\r\nx\r\n");
    keep(&server, b"Message-ID: <1@a>\r\n\r\ny\r\n");
    keep(&server, b"Message-ID: <1@a>\r\n\r\nx\r\n");
    let accounts = mail.accounts();
    let told: Vec<_> = accounts.iter().map(|one| &one["duplicate_of"]).collect();
    assert_eq!(told, [&json!(null), &json!(null), &json!(first)]);
    assert_eq!(accounts[2]["message_id"], "<1@a>");
}

#[test]
fn what_goes_to_two_places_is_in_both() {
    for (store, witness) in [("eml", "maildir"), ("mbox", "eml"), ("maildir", "mbox")] {
        let (dir, other) = (scratch(), scratch());
        let foreign = Mail::new(witness, other.path());
        let (server, mail) = keeping(store, dir.path(), &["--spill", "10", &foreign.witness()]);
        // Held in memory, and held in a file.
        for content in ["small\r\n", "larger than that\r\n"] {
            let mut tcp = server.after(&TO_ANNA[..3]);
            accepts(&mut tcp, &["RCPT TO:<x@elsewhere.test>", "DATA"]);
            let verdict = say(&mut tcp, &format!("{content}.\r\n"));
            assert!(verdict.starts_with("250"), "{verdict}");
        }
        let wanted = [b"small\r\n".to_vec(), b"larger than that\r\n".to_vec()];
        assert_eq!(mail.contents(), wanted, "{store}");
        assert_eq!(foreign.contents(), wanted, "{witness}");
        assert_eq!(mail.unfinished().len() + foreign.unfinished().len(), 0);
    }
}

#[test]
fn a_message_that_one_of_two_places_refuses_is_in_neither() {
    for (store, witness) in [("eml", "maildir"), ("mbox", "eml"), ("mbox", "mbox")] {
        let (dir, other) = (scratch(), scratch());
        let foreign = Mail::new(witness, &other.path().join("mail"));
        fs::create_dir(other.path().join("mail")).unwrap();
        let (server, mail) = keeping(store, dir.path(), &[&foreign.witness()]);
        assert!(send(&server, b"before\r\n").starts_with("250"));
        let was = fs::read(mail.place()).unwrap_or_default();
        fs::rename(other.path().join("mail"), other.path().join("away")).unwrap();
        let mut tcp = server.after(&TO_ANNA[..3]);
        accepts(&mut tcp, &["RCPT TO:<x@elsewhere.test>", "DATA"]);
        let verdict = say(&mut tcp, "x\r\n.\r\n");
        assert!(verdict.starts_with("452 4.3.1 "), "{verdict}");
        assert_eq!(mail.contents(), [b"before\r\n"], "{store}");
        assert_eq!(fs::read(mail.place()).unwrap_or_default(), was);
        assert_eq!(mail.names("json").len(), usize::from(store == "eml"));
        assert_eq!(mail.unfinished().len(), 0);
    }
}

#[test]
fn an_mbox_is_shared_with_other_programs() {
    let dir = scratch();
    let (server, mail) = keeping("mbox", dir.path(), &[]);
    // What they leave at the end must not run into the next message.
    for left in ["From x\n\nno end", "From x\n\nx\n", "From x\n\nx\n\n", "\n"] {
        fs::write(mail.place(), left).unwrap();
        keep(&server, b"y\r\n");
        let octets = fs::read(mail.place()).unwrap();
        assert!(octets.starts_with(left.as_bytes()));
        let last = mbox(&octets).pop().unwrap();
        assert!(last.ends_with(b"\r\ny\r\n"), "{left:?}");
        let text = String::from_utf8(octets).unwrap();
        assert!(text.contains("\n\nFrom a@c.test "), "{text}");
        assert!(!text.contains("\n\n\nFrom a@c.test "), "{text}");
    }
    // The other one holds the lock file: it is waited for.
    let lock = dir.path().join("kept.mbox.lock");
    fs::write(&lock, "").unwrap();
    let before = fs::metadata(mail.place()).unwrap().len();
    let mut tcp = server.after(&TO_ANNA);
    tcp.write_all(b"z\r\n.\r\n").unwrap();
    let file = fs::File::open(mail.place()).unwrap();
    until_true("the server to lock the file", || {
        let locked = flock(&file, FlockOperation::NonBlockingLockShared);
        if locked.is_ok() {
            flock(&file, FlockOperation::Unlock).unwrap();
        }
        locked.is_err()
    });
    assert_eq!(fs::metadata(mail.place()).unwrap().len(), before);
    fs::remove_file(&lock).unwrap();
    assert!(reply(&mut tcp).starts_with("250"));
    assert!(fs::read(mail.place()).unwrap().ends_with(b"z\r\n\n"));
    assert!(!lock.exists());
}

#[test]
fn an_mbox_that_stays_locked_is_given_up() {
    let dir = scratch();
    let (server, mail) = keeping("mbox", dir.path(), &[]);
    let file = fs::File::open(mail.place()).unwrap();
    flock(&file, FlockOperation::LockExclusive).unwrap();
    let verdict = send(&server, b"x\r\n");
    assert!(verdict.starts_with("452 4.3.1 "), "{verdict}");
    assert_eq!(fs::metadata(mail.place()).unwrap().len(), 0);
    flock(&file, FlockOperation::Unlock).unwrap();
    keep(&server, b"x\r\n");
    assert_eq!(mail.contents(), [b"x\r\n"]);
}

#[test]
fn memory_is_bounded_and_nothing_is_on_the_disk() {
    let dir = scratch();
    let options = ["--store", "memory:5", "--max-memory", "2M"];
    let server = Server::start(dir.path(), &options);
    let before = server.resident_at_most();
    let large = vec![b'x'; 1 << 20];
    for _ in 0..40 {
        keep(&server, &large);
    }
    let growth = server.resident_at_most() - before;
    assert!(growth < 16 * 1024, "{growth} KiB");
    // What would not be there afterwards is not taken.
    let verdict = send(&server, &vec![b'x'; 3 << 20]);
    assert!(verdict.starts_with("452 4.3.1 "), "{verdict}");
    keep(&server, &large);
    let files = support::files(dir.path());
    assert_eq!(files.len(), 2, "ready and stderr: {files:?}");
}

#[test]
fn too_little_room_is_told_before_the_message_comes() {
    let dir = scratch();
    for (form, taken) in [
        ("eml", false),
        ("mbox", false),
        ("memory", true),
        ("null", true),
    ] {
        let place = dir.path().join(form);
        let store = match form {
            "memory" | "null" => format!("--store={form}"),
            _ => format!("--store={form}:{}", place.display()),
        };
        let server = Server::start(dir.path(), &[&store, "--min-free", "9999999G"]);
        let mut tcp = server.after(&["EHLO c.test"]);
        let verdict = say(&mut tcp, "MAIL FROM:<>\r\n");
        assert_eq!(verdict.starts_with("250"), taken, "{form}: {verdict}");
        assert!(
            taken || verdict.starts_with("452 4.3.1 "),
            "{form}: {verdict}"
        );
    }
    let (server, _) = keeping("eml", dir.path(), &["--max-size", "9999999G"]);
    let mut tcp = server.after(&["EHLO c.test"]);
    let verdict = say(&mut tcp, "MAIL FROM:<> SIZE=99999999999999\r\n");
    assert!(verdict.starts_with("452 4.3.1 "), "{verdict}");
    assert!(is_served(server.address, "a@c.test", "anna@local.test"));
}

#[test]
fn what_is_no_place_for_mail_is_told() {
    let dir = scratch();
    let pipe = dir.path().join("pipe");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &pipe,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RWXU,
        0,
    )
    .unwrap();
    let pipe = format!("mbox:{}", pipe.display());
    let inside = format!("eml:{}/x", pipe.split_at(5).1);
    let listen = ["--listen", "127.0.0.1:0"];
    for (options, status, says) in [
        (["--store", &*pipe, "--fsync", "true"], 6, "is no file"),
        (
            ["--store", &*inside, "--fsync", "true"],
            6,
            "cannot write to",
        ),
        (
            ["--store", "mbox:x", "--witness", "mbox:./x"],
            2,
            "the same mbox",
        ),
    ] {
        let (found, said) = complaint(&run(&[&listen[..], &options[..]].concat()));
        assert_eq!(found, status, "{said}");
        assert!(said.contains(says), "{said}");
    }
    let memory = run(&["--witness", "memory"]);
    assert_eq!(memory.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&memory.stderr).contains("not kept in memory"));
}
