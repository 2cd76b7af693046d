//! The verdict on mail data: what is odd about it, and what is refused for it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail"
)]

mod support;

use std::io::Write;
use std::net::TcpStream;
use std::path::Path;

use serde_json::{Value, json};
use shared::content::Sequence;
use support::mail::Mail;
use support::{Server, TO_ANNA, accepts};
use testkit::scratch;
use testkit::talk::{reply, say};

fn keeping(dir: &Path, options: &[&str]) -> (Server, Mail) {
    let mail = Mail::new("eml", dir);
    let store = mail.store();
    let all = [&[store.as_str()], options].concat();
    (Server::start(dir, &all), mail)
}

/// Sends mail data as it is, and returns the verdict.
fn send(tcp: &mut TcpStream, mail: &str, data: &[u8]) -> String {
    accepts(tcp, &[mail, "RCPT TO:<anna@local.test>", "DATA"]);
    tcp.write_all(data).unwrap();
    reply(tcp)
}

#[test]
fn each_sequence_is_kept_and_told_with_who_would_take_it_for_the_end() {
    let dir = scratch();
    let (server, mail) = keeping(dir.path(), &[]);
    let mut tcp = server.after(&["EHLO c.test"]);
    for sequence in Sequence::ALL {
        let data = [b"part one", sequence.octets(), b"part two\r\n.\r\n"].concat();
        let verdict = send(&mut tcp, "MAIL FROM:<a@c.test>", &data);
        assert!(verdict.starts_with("250 2.0.0 "), "{sequence}: {verdict}");
    }
    let accounts = mail.accounts();
    for (account, sequence) in accounts.iter().zip(Sequence::ALL) {
        let smuggling = account["oddities"]["smuggling"].as_object().unwrap();
        assert_eq!(smuggling.keys().collect::<Vec<_>>(), [sequence.name()]);
        let found = &smuggling[sequence.name()];
        assert_eq!((&found["count"], &found["first"]), (&json!(1), &json!(8)));
        assert_eq!(found["read_by"]["postfix-normalize"], "not-end");
        assert_eq!(found["read_by"].as_object().unwrap().len(), 10);
    }
    let sendmail =
        |account: &Value| account["oddities"]["smuggling"]["LF.LF"]["read_by"]["sendmail"].clone();
    assert_eq!(sendmail(&accounts[0]), "refused");
    // What is kept is what came, but for the dot that stood at the start of a line.
    let kept = mail.contents();
    assert_eq!(kept[0], b"part one\n.\npart two\r\n");
    assert_eq!(kept[2], b"part one\r\n\npart two\r\n");
}

#[test]
fn octets_above_127_are_odd_where_nobody_said_that_they_would_come() {
    let dir = scratch();
    let (server, mail) = keeping(dir.path(), &[]);
    let mut tcp = server.after(&["EHLO c.test"]);
    for parameters in ["", " BODY=7BIT", " BODY=8BITMIME", " SMTPUTF8"] {
        let from = format!("MAIL FROM:<a@c.test>{parameters}");
        assert!(send(&mut tcp, &from, b"caf\xe9\r\n.\r\n").starts_with("250"));
    }
    let odd: Vec<Value> = mail
        .accounts()
        .iter()
        .map(|account| account["oddities"]["counts"].clone())
        .collect();
    let eight_bit = json!({ "eight-bit": { "count": 1, "first": 3 } });
    assert_eq!(odd, [eight_bit.clone(), eight_bit, json!({}), json!({})]);
}

#[test]
fn chunks_have_no_verdict() {
    let dir = scratch();
    let (server, mail) = keeping(dir.path(), &["--line-endings", "strict", "--max-line", "5"]);
    let mut tcp = server.after(&TO_ANNA[..3]);
    let verdict = say(&mut tcp, "BDAT 16 LAST\r\n0123456789\n.\nabc");
    assert!(verdict.starts_with("250"), "{verdict}");
    assert_eq!(mail.accounts()[0]["oddities"], Value::Null);
    assert_eq!(mail.contents(), [b"0123456789\n.\nabc"]);
}

#[test]
fn with_strict_line_endings_a_bare_cr_or_lf_is_refused_at_the_end() {
    let dir = scratch();
    let (server, mail) = keeping(dir.path(), &["--line-endings", "strict"]);
    let mut tcp = server.after(&["EHLO c.test"]);
    for (data, says) in [
        (&b"abc\ndef\r\n.\r\n"[..], "LF received, first at octet 3"),
        (b"abc\rdef\r\n.\r\n", "CR received, first at octet 3"),
        (b"x\r\n\r\r\n.\r\n", "CR received, first at octet 3"),
        (b"x\r\n.\nQUIT\r\n.\r\n", "LF received, first at octet 4"),
    ] {
        let verdict = send(&mut tcp, "MAIL FROM:<a@c.test>", data);
        assert_eq!(verdict, format!("550 5.5.2 bare {says}\r\n"));
    }
    // One reply each: the session is in step, and nothing is left.
    assert!(say(&mut tcp, "NOOP\r\n").starts_with("250"));
    assert_eq!(support::files(mail.place()).len(), 0);
    let verdict = send(&mut tcp, "MAIL FROM:<a@c.test>", b"abc\r\n..\r\n.\r\n");
    assert!(verdict.starts_with("250"), "{verdict}");
    assert_eq!(mail.contents(), [b"abc\r\n.\r\n"]);
}

#[test]
fn longer_lines_than_there_may_be_are_refused_once_all_has_come() {
    let dir = scratch();
    let (server, mail) = keeping(dir.path(), &["--max-line", "998", "--spill", "1K"]);
    let mut tcp = server.after(&["EHLO c.test"]);
    let line = |octets: usize| ["x".repeat(octets), "\r\n.\r\n".into()].concat();
    let mut verdict = |octets| send(&mut tcp, "MAIL FROM:<>", line(octets).as_bytes());
    assert!(verdict(998).starts_with("250"));
    let wanted = "554 5.6.0 a line has 999 octets, and may have 998\r\n";
    assert_eq!(verdict(999), wanted);
    assert!(verdict(70_000).starts_with("554 5.6.0 a line has 70000 "));
    // The dot that was doubled is not the line's: RFC 5321 §4.5.3.1.6.
    let stuffed = [".", &line(998)].concat();
    assert!(send(&mut tcp, "MAIL FROM:<>", stuffed.as_bytes()).starts_with("250"));
    assert_eq!(mail.contents().len(), 2);
    assert_eq!(mail.unfinished().len(), 0);
    // By default they are only noted.
    let dir = scratch();
    let (server, mail) = keeping(dir.path(), &[]);
    let mut tcp = server.after(&["EHLO c.test"]);
    assert!(send(&mut tcp, "MAIL FROM:<>", line(65_530).as_bytes()).starts_with("250"));
    let oddities = &mail.accounts()[0]["oddities"];
    assert_eq!(oddities["longest_line"], 65_530);
    assert_eq!(oddities["counts"]["line-too-long"]["first"], 1000);
}
