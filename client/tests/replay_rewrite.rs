//! What `replay` says otherwise than it was recorded: AUTH, recipients, header fields,
//! the pace, and how it goes on after a difference.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail"
)]

mod support;

use std::path::Path;
use std::time::Duration;

use support::{command, complaint, file, recording, replayed, run, text};
use testkit::watched::{Ended, watch};
use testkit::{Scripted, scratch};

const HELLO: &str = "\
S: 220 mx.test ESMTP
C: EHLO c.test
S: 250-mx.test
S: 250-CHUNKING
S: 250 AUTH PLAIN LOGIN CRAM-MD5 SCRAM-SHA-256
";
const QUIT: &str = "C: QUIT\nS: 221 2.0.0 bye\n";
const YES: &str = "S: 235 2.7.0 welcome\n";
const MAIL: &str = "C: MAIL FROM:<a@c.test>\nS: 250 2.1.0 ok\n";
const KEPT: &str = "S: 250 2.0.0 kept\n";

/// A session that goes on like this, as it was recorded.
fn recorded(said: &str) -> String {
    format!("{HELLO}{said}{QUIT}-- close client\n")
}

fn live(said: &str) -> String {
    format!("{HELLO}{said}{QUIT}")
}

/// As tim, whose password is in a file.
fn logged_in(said: &str, answered: &str, password: &str) -> Ended {
    let dir = scratch();
    let password = file(dir.path(), "password", format!("{password}\nignored\n"));
    let options = [
        "--auth-user",
        "tim",
        "--auth-password-file",
        text(&password),
    ];
    replayed(&recorded(said), &live(answered), &options)
}

#[test]
fn auth_is_performed_anew() {
    for (said, now, password) in [
        (
            "C: AUTH PLAIN ********\n",
            "C: AUTH PLAIN AHRpbQBzZWNyZXQ=\n",
            "secret",
        ),
        (
            "C: AUTH PLAIN\nS: 334 \nC: ********\n",
            "C: AUTH PLAIN\nS: 334 \nC: AHRpbQBzZWNyZXQ=\n",
            "secret",
        ),
        (
            "C: AUTH LOGIN\nS: 334 VXNlcm5hbWU6\nC: ********\nS: 334 UGFzc3dvcmQ6\nC: ********\n",
            "C: AUTH LOGIN\nS: 334 VXNlcjo=\nC: dGlt\nS: 334 UGFzczo=\nC: c2VjcmV0\n",
            "secret",
        ),
        // RFC 2195 §3. The recorded challenge was another one.
        (
            "C: AUTH CRAM-MD5\nS: 334 PDFAbXg+\nC: ********\n",
            "C: AUTH CRAM-MD5\n\
             S: 334 PDE4OTYuNjk3MTcwOTUyQHBvc3RvZmZpY2UucmVzdG9uLm1jaS5uZXQ+\n\
             C: dGltIGI5MTNhNjAyYzdlZGE3YTQ5NWI0ZTZlNzMzNGQzODkw\n",
            "tanstaaftanstaaf",
        ),
    ] {
        let (said, now) = (format!("{said}{YES}"), format!("{now}{YES}"));
        let ended = logged_in(&said, &now, password);
        let shown = ended.stdout() + &ended.stderr();
        assert_eq!(ended.status(), Some(0), "{shown}");
        assert!(shown.contains("(anew)"), "{shown}");
        for secret in [password, "AHRpbQBzZWNyZXQ", "c2VjcmV0", "dGlt"] {
            assert!(!shown.contains(secret), "{secret}: {shown}");
        }
    }
}

#[test]
fn the_last_reply_to_auth_is_compared() {
    let said = format!("C: AUTH PLAIN ********\n{YES}");
    let no = "C: AUTH PLAIN AHRpbQBzZWNyZXQ=\nS: 535 5.7.8 no\n";
    let ended = logged_in(&said, no, "secret");
    let shown = ended.stdout();
    assert_eq!(ended.status(), Some(1), "{shown}");
    assert!(shown.contains("FAIL code: 235 > 535"), "{shown}");
    // The recorded client gave up: so do we, without a word of what it knew.
    let given_up = "C: AUTH LOGIN\nS: 334 VXNlcm5hbWU6\nC: *\nS: 501 5.7.0 cancelled\n";
    let dir = scratch();
    let server = Scripted::start(&[&live(given_up)]);
    let file = recording(dir.path(), &[&recorded(given_up)]);
    let ended = with_password(&file, &server.address.to_string(), "secret");
    assert_eq!(ended.status(), Some(0), "{}", ended.stdout());
    // A star is anything to the script.
    let said = &server.must_have_served(1)[0].said;
    assert!(said.ends_with(b"AUTH LOGIN\r\n*\r\nQUIT\r\n"), "{said:?}");
    // A server that says yes before it has proven that it knows the password.
    let said = format!("C: AUTH SCRAM-SHA-256 ********\nS: 334 x\nC: ********\n{YES}");
    let ended = logged_in(&said, &format!("C: AUTH SCRAM-SHA-256 *\n{YES}"), "secret");
    let shown = ended.stdout();
    assert_eq!(ended.status(), Some(1), "{shown}");
    assert!(shown.contains("FAIL auth: "), "{shown}");
    // One that asks and asks.
    let said = format!("C: AUTH LOGIN\nS: 334 x\nC: ********\n{YES}");
    let asks = "C: AUTH LOGIN\n".to_owned() + &"S: 334 eA==\nC: *\n".repeat(8) + "S: 334 eA==\n";
    let ended = logged_in(&said, "C: AUTH LOGIN\nS: 500 what?\n", "secret");
    assert_eq!(ended.status(), Some(1));
    let dir = scratch();
    let server = Scripted::start(&[&(HELLO.to_owned() + &asks)]);
    let file = recording(dir.path(), &[&recorded(&said)]);
    let ended = with_password(&file, &server.address.to_string(), "secret");
    server.must_have_served(1);
    assert_eq!(ended.status(), Some(1), "{}", ended.stdout());
}

/// With the password in the environment.
fn with_password(file: &Path, target: &str, password: &str) -> Ended {
    let arguments = ["replay", text(file), target, "--auth-user", "tim"];
    watch(command(&arguments).env("HELO_PASSWORD", password))
}

#[test]
fn credentials_come_from_the_environment_too_or_not_at_all() {
    let dir = scratch();
    let said = recorded(&format!("C: AUTH PLAIN ********\n{YES}"));
    let auth = recording(dir.path(), &[&said]);
    let server = Scripted::start(&[&live(&format!("C: AUTH PLAIN AHRpbQBzZWNyZXQ=\n{YES}"))]);
    let target = server.address.to_string();
    let ended = with_password(&auth, &target, "secret");
    assert_eq!(
        ended.status(),
        Some(0),
        "{}{}",
        ended.stdout(),
        ended.stderr()
    );
    server.must_have_served(1);
    // Before anything is said:
    let arguments = ["replay", text(&auth), &target];
    let (status, why) = complaint(&run(&arguments));
    assert_eq!(status, 4, "{why}");
    assert!(
        why.contains("--auth-user") && why.contains("HELO_PASSWORD"),
        "{why}"
    );
    let user = [&arguments[..], &["--auth-user", "tim"]].concat();
    let (status, why) = complaint(&run(&user));
    assert_eq!(status, 2, "{why}");
    let empty = file(dir.path(), "empty", "");
    for path in [text(&empty), "/nonexistent/password"] {
        let (status, why) = complaint(&run(&[&user[..], &["--auth-password-file", path]].concat()));
        assert_eq!(status, 2, "{why}");
        assert!(why.contains("cannot read the password"), "{why}");
    }
    // Nobody listening on the way is told the password, whoever wants mail there.
    let (status, why) = complaint(&with_password_live(&auth, "192.0.2.1:25"));
    assert_eq!(status, 5, "{why}");
    assert!(why.contains("without TLS"), "{why}");
    for (said, because) in [
        ("C: AUTH NTLM ********\nS: 235 ok\n", "AUTH by NTLM"),
        (
            "C: AUTH EXTERNAL ********\nS: 235 ok\n",
            "client certificate",
        ),
    ] {
        let other = recording(dir.path(), &[&recorded(said)]);
        let (status, why) = complaint(&with_password(&other, &target, "secret"));
        assert_eq!(status, 4, "{why}");
        assert!(why.contains(because), "{why}");
    }
    server.must_have_served(1);
}

fn with_password_live(file: &Path, target: &str) -> Ended {
    let arguments = ["replay", text(file), target, "--auth-user", "tim", "--live"];
    watch(command(&arguments).env("HELO_PASSWORD", "secret"))
}

const ENVELOPE: &str = "\
C: MAIL FROM:<a@c.test>
S: 250 2.1.0 ok
C: RCPT TO:<One@mx.test> NOTIFY=NEVER
S: 250 2.1.5 <One@mx.test> ok
C: RCPT TO:<two@mx.test>
S: 250 2.1.5 <two@mx.test> ok
C: RCPT TO:<three@other.test>
S: 250 2.1.5 <three@other.test> ok
C: DATA
S: 354 go on
C| To: <One@mx.test>
C|
C| .
S: 250 2.0.0 kept
";

#[test]
fn recipients_are_rewritten_and_nothing_else() {
    let now = ENVELOPE
        .replace("<One@mx.test> NOTIFY", "<first@sink.test> NOTIFY")
        .replace("<One@mx.test> ok", "<first@sink.test> ok")
        .replace("<two@mx.test>", "<mx@sink.test>")
        .replace("<three@other.test>", "<all@sink.test>");
    let map = [
        "--rcpt-map",
        "*=all@sink.test",
        "--rcpt-map",
        "one@mx.test=first@sink.test",
        "--rcpt-map",
        "mx.test=mx@sink.test",
        "--match",
        "text",
    ];
    let ended = replayed(&recorded(ENVELOPE), &live(&now), &map);
    let shown = ended.stdout();
    assert_eq!(ended.status(), Some(0), "{shown}");
    assert!(shown.contains("C  RCPT TO:<mx@sink.test>"), "{shown}");
    assert!(!shown.contains("C  RCPT TO:<two"), "{shown}");
    // It can be looked at first.
    let dir = scratch();
    let file = recording(dir.path(), &[&recorded(ENVELOPE)]);
    let arguments = ["replay", text(&file), "192.0.2.1", "--dry-run"];
    let shown = run(&[&arguments[..], &map].concat()).stdout();
    assert!(
        shown.contains("<first@sink.test> NOTIFY=NEVER (not <One@mx.test> NOTIFY=NEVER), "),
        "{shown}"
    );
    assert!(shown.contains("C  RCPT TO:<all@sink.test>"), "{shown}");
    assert!(!shown.contains("C  RCPT TO:<three"), "{shown}");
}

#[test]
fn a_recipient_that_cannot_be_read_stops_everything() {
    let dir = scratch();
    let odd = ENVELOPE.replace("RCPT TO:<two@mx.test>", "RCPT TO <two@mx.test>");
    let file = recording(dir.path(), &[&recorded(&odd)]);
    let arguments = [
        "replay",
        text(&file),
        "127.0.0.1:9",
        "--rcpt-map",
        "*=all@sink.test",
    ];
    let (status, why) = complaint(&run(&arguments));
    assert_eq!(status, 4, "{why}");
    assert!(why.contains("RCPT TO <two@mx.test>"), "{why}");
}

#[test]
fn date_and_message_id_are_made_anew() {
    let message = "\
C: MAIL FROM:<a@c.test>
S: 250 2.1.0 ok
C: RCPT TO:<b@mx.test>
S: 250 2.1.5 ok
C: DATA
S: 354 go on
C| Date: Mon, 1 Jan 2001 00:00:00 +0000
C| Message-ID: <old@c.test>
C| Subject: x
C|
C| Date: in the body
C| .
S: 250 2.0.0 <old@c.test> kept
";
    let dir = scratch();
    let file = recording(dir.path(), &[&recorded(message)]);
    let begun = message.split("C| Date").next().unwrap();
    // What the server says has the old id: that is a difference now.
    let end = "-- content\nS: 250 2.0.0 <old@c.test> kept\n";
    let server = Scripted::start(&[&live(&format!("{begun}{end}"))]);
    let target = server.address.to_string();
    let refresh = ["replay", text(&file), &target, "--refresh", "date,msgid"];
    let ended = run(&refresh);
    assert_eq!(ended.status(), Some(1), "{}", ended.stdout());
    assert!(
        ended.stdout().contains("FAIL bind: msgid="),
        "{}",
        ended.stdout()
    );
    let said = String::from_utf8(server.must_have_served(1)[0].said.clone()).unwrap();
    let content = said.split("DATA\r\n").nth(1).unwrap();
    assert!(
        content.starts_with("Date: ") && !content.contains("2001"),
        "{content}"
    );
    assert!(
        content.contains("@c.test>\r\nSubject: x\r\n\r\n"),
        "{content}"
    );
    assert!(!content.contains("<old@"), "{content}");
    assert!(
        content.contains("\r\nDate: in the body\r\n.\r\n"),
        "{content}"
    );
    // Only what was asked for.
    let dry = run(&[
        "replay",
        text(&file),
        &target,
        "--refresh",
        "date",
        "--dry-run",
    ]);
    assert!(
        dry.stdout().contains("; made anew: Date\n"),
        "{}",
        dry.stdout()
    );
}

#[test]
fn a_chunk_that_is_rewritten_is_measured_anew() {
    let chunk = "C: BDAT 43\nC| Date: Mon, 1 Jan 2001 00:00:00 +0000\nC|\nC| x\n";
    let said = format!(
        "{MAIL}C: RCPT TO:<b@mx.test>\nS: 250 2.1.5 ok\n{chunk}{KEPT}C: BDAT 3 LAST\nC| y\n{KEPT}"
    );
    // Our date has two digits for the day, as often as not.
    let dir = scratch();
    let file = recording(dir.path(), &[&recorded(&said)]);
    let begun = format!("{MAIL}C: RCPT TO:<b@mx.test>\nS: 250 2.1.5 ok\nC: BDAT *\n");
    let server = Scripted::start(&[&format!("{HELLO}{begun}-- wait\n")]);
    let target = server.address.to_string();
    let options = ["--refresh", "date", "--timeout", "1s"];
    run(&[&["replay", text(&file), &target], &options[..]].concat());
    let said = String::from_utf8(server.sessions()[0].said.clone()).unwrap();
    let (_, bdat) = said.split_once("BDAT ").unwrap();
    let (size, content) = bdat.split_once("\r\n").unwrap();
    assert!(!content.contains("2001"), "{content}");
    assert_eq!(size.parse(), Ok(content.len()), "{said}");
}

#[test]
fn the_recorded_pace_is_kept_within_bounds() {
    let slow = format!("{MAIL}-- 5min\nC: NOOP\nS: 250 2.0.0 ok\n");
    let now = format!("{MAIL}C: NOOP\nS: 250 2.0.0 ok\n");
    let took = |options: &[&str]| {
        let ended = replayed(&recorded(&slow), &live(&now), options);
        assert_eq!(ended.status(), Some(0), "{}", ended.stdout());
        (ended.took, ended.stdout())
    };
    let (asap, _) = took(&[]);
    assert!(asap < Duration::from_secs(60));
    let (cut, shown) = took(&["--pace", "recorded", "--max-wait", "300ms"]);
    assert!(cut >= Duration::from_millis(300) && cut < Duration::from_secs(60));
    assert!(
        shown.contains("waited for 300.0 s: --max-wait makes it 0.3 s"),
        "{shown}"
    );
    let (scaled, shown) = took(&["--pace", "x1000"]);
    assert!(scaled >= Duration::from_millis(300) && scaled < Duration::from_secs(60));
    assert!(!shown.contains("--max-wait"), "{shown}");
}

#[test]
fn after_a_difference_it_goes_on_as_told() {
    let two =
        "C: RCPT TO:<one@mx.test>\nS: 250 2.1.5 ok\nC: RCPT TO:<two@mx.test>\nS: 250 2.1.5 ok\n";
    let rest = "C: DATA\nS: 354 go on\nC| x\nC| .\n";
    let next = "C: NOOP\nS: 250 2.0.0 ok\n";
    let said = format!("{MAIL}{two}{rest}{KEPT}C: RSET\n{KEPT}{next}");
    let refused = two.replacen("250 2.1.5 ok", "550 5.1.1 who?", 1);
    let (first, second) = refused.split_at(refused.find("C: RCPT TO:<two").unwrap());
    let reset = format!("{MAIL}{first}C: RSET\n{KEPT}C: RSET\n{KEPT}{next}");
    let on = format!("{MAIL}{first}{second}{rest}{KEPT}C: RSET\n{KEPT}{next}");
    let run = |now: &str, options: &[&str]| {
        let ended = replayed(&recorded(&said), now, options);
        assert_eq!(ended.status(), Some(1), "{}", ended.stdout());
    };
    run(&live(&reset), &[]);
    run(&live(&on), &["--on-mismatch", "continue"]);
    run(&format!("{HELLO}{MAIL}{first}"), &["--on-mismatch", "stop"]);
    // A yes where a no was recorded is taken back all the same.
    let no = format!("{MAIL}{first}{next}");
    let yes = format!("{MAIL}C: RCPT TO:<one@mx.test>\nS: 250 2.1.5 ok\nC: RSET\n{KEPT}");
    let options = ["--on-mismatch", "continue"];
    let ended = replayed(&recorded(&no), &live(&yes), &options);
    assert_eq!(ended.status(), Some(1), "{}", ended.stdout());
}

#[test]
fn stop_is_the_end_of_all_sessions() {
    let dir = scratch();
    let said = recorded(MAIL);
    let file = recording(dir.path(), &[&said, &said]);
    let no = format!("{HELLO}C: MAIL FROM:<a@c.test>\nS: 550 5.7.1 no\n");
    let server = Scripted::start(&[&no]);
    let target = server.address.to_string();
    let ended = run(&["replay", text(&file), &target, "--on-mismatch", "stop"]);
    server.must_have_served(1);
    assert_eq!(ended.status(), Some(1), "{}", ended.stdout());
}
