//! The dangerous direction of a replay: a refusal was recorded, and the live server
//! says yes. Nothing may be queued, and no command may become the text of a
//! message. Each server here plays what the client must do, to the last octet.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail"
)]

mod support;

use support::{recording, run, text};
use testkit::{Scripted, scratch};

const HELLO: &str = "\
S: 220 mx.test ESMTP
C: EHLO c.test
S: 250-mx.test
S: 250-PIPELINING
S: 250 CHUNKING
";
const MAIL: &str = "C: MAIL FROM:<a@c.test>\nS: 250 2.1.0 ok\n";
const NO_MAIL: &str = "C: MAIL FROM:<a@c.test>\nS: 550 5.7.1 no\n";
const RCPT: &str = "C: RCPT TO:<b@mx.test>\nS: 250 2.1.5 ok\n";
const NO_RCPT: &str = "C: RCPT TO:<b@mx.test>\nS: 550 5.1.1 no\n";
const DATA: &str = "C: DATA\nS: 354 go on\n";
const NO_DATA: &str = "C: DATA\nS: 554 5.5.1 no\n";
const CONTENT: &str = "C| Subject: x\nC|\nC| RCPT TO:<evil@mx.test>\nC| .\n";
const KEPT: &str = "S: 250 2.0.0 kept\n";
const RSET: &str = "C: RSET\nS: 250 2.0.0 ok\n";
/// Another transaction, that is as recorded.
const NEXT: &str = "C: MAIL FROM:<next@c.test>\nS: 451 4.7.1 later\n";
const QUIT: &str = "C: QUIT\nS: 221 2.0.0 bye\n";

/// A recorded session and what a live server and the client must do instead; both
/// begin with EHLO. The replay is different, at the step that is named.
fn differs_at(step: &str, recorded: &[&str], live: &[&str]) -> String {
    let dir = scratch();
    let recorded = [HELLO, &recorded.concat(), "-- close client\n"].concat();
    let file = recording(dir.path(), &[&recorded]);
    let server = Scripted::start(&[&(HELLO.to_owned() + &live.concat())]);
    let ended = run(&["replay", text(&file), &server.address.to_string()]);
    server.must_have_served(1);
    let shown = ended.stdout();
    assert_eq!(ended.status(), Some(1), "{shown}{}", ended.stderr());
    let first = shown.find("FAIL").unwrap();
    let named = shown[..first].rfind("step ").unwrap();
    assert!(shown[named..first].contains(step), "{step}: {shown}");
    shown
}

#[test]
fn a_yes_to_mail_is_taken_back() {
    differs_at(
        "MAIL FROM:<a@c.test>",
        &[NO_MAIL, NEXT, QUIT],
        &[MAIL, RSET, NEXT, QUIT],
    );
    // What the recorded client said after its refusal is left out too.
    differs_at(
        "MAIL FROM:<a@c.test>",
        &[NO_MAIL, NO_RCPT, NO_DATA, NEXT, QUIT],
        &[MAIL, RSET, NEXT, QUIT],
    );
}

#[test]
fn a_yes_to_rcpt_is_taken_back_and_no_content_is_sent() {
    differs_at(
        "RCPT TO:<b@mx.test>",
        &[MAIL, NO_RCPT, NO_DATA, NEXT, QUIT],
        &[MAIL, RCPT, RSET, NEXT, QUIT],
    );
    // Another recipient was accepted when it was recorded: this message would now
    // reach somebody it did not reach then.
    let other = "C: RCPT TO:<c@mx.test>\nS: 250 2.1.5 ok\n";
    differs_at(
        "RCPT TO:<b@mx.test>",
        &[MAIL, other, NO_RCPT, DATA, CONTENT, KEPT, NEXT, QUIT],
        &[MAIL, other, RCPT, RSET, NEXT, QUIT],
    );
}

#[test]
fn after_an_unexpected_354_the_connection_is_closed_without_a_dot() {
    differs_at(
        "DATA",
        &[MAIL, RCPT, NO_DATA, NEXT, QUIT],
        &[MAIL, RCPT, DATA],
    );
    // Whatever it is an answer to: the next command would become text.
    let go_on = MAIL.replace("250 2.1.0 ok", "354 go on");
    differs_at("MAIL", &[MAIL, RCPT, DATA, CONTENT, KEPT, QUIT], &[&go_on]);
    differs_at("MAIL", &[NO_MAIL, NEXT, QUIT], &[&go_on]);
    let go_on = RSET.replace("250 2.0.0 ok", "354 go on");
    differs_at("RSET", &[RSET, NEXT, QUIT], &[&go_on]);
}

#[test]
fn content_is_said_only_to_a_server_that_waits_for_it() {
    for answer in ["250 2.0.0 ok", "554 5.5.1 no", "221 2.0.0 ok"] {
        let data = DATA.replace("354 go on", answer);
        differs_at(
            "DATA",
            &[MAIL, RCPT, DATA, CONTENT, KEPT, NEXT, QUIT],
            &[MAIL, RCPT, &data, RSET, NEXT, QUIT],
        );
    }
}

#[test]
fn a_no_where_a_yes_was_recorded_ends_the_transaction() {
    let whole = [MAIL, RCPT, DATA, CONTENT, KEPT, NEXT, QUIT];
    differs_at("MAIL", &whole, &[NO_MAIL, RSET, NEXT, QUIT]);
    differs_at("RCPT", &whole, &[MAIL, NO_RCPT, RSET, NEXT, QUIT]);
    differs_at("DATA", &whole, &[MAIL, RCPT, NO_DATA, RSET, NEXT, QUIT]);
    // The transaction has ended by itself.
    let no = "S: 550 5.7.1 no\n";
    let live = [MAIL, RCPT, DATA, CONTENT, no, NEXT, QUIT];
    differs_at("octets of mail data", &whole, &live);
    // A server that refuses RSET too is left.
    let stays = RSET.replace("250 2.0.0 ok", "500 what?");
    let shown = differs_at("MAIL", &whole, &[NO_MAIL, &stays]);
    assert!(shown.contains("RSET was refused"), "{shown}");
}

#[test]
fn a_421_ends_the_session() {
    let whole = [MAIL, RCPT, DATA, CONTENT, KEPT, NEXT, QUIT];
    let leaves = RCPT.replace("250 2.1.5 ok", "421 4.3.2 closing");
    differs_at("RCPT", &whole, &[MAIL, &leaves]);
    let leaves = NO_RCPT.replace("550 5.1.1 no", "421 4.3.2 closing");
    differs_at("RCPT", &[MAIL, NO_RCPT, NEXT, QUIT], &[MAIL, &leaves]);
}

/// MAIL, RCPT and DATA in one write, answered so.
fn group(mail: &str, rcpt: &str, data: &str) -> String {
    format!(
        "C: MAIL FROM:<a@c.test>\nC: RCPT TO:<b@mx.test>\nC: DATA\nS: {mail}\nS: {rcpt}\nS: {data}\n"
    )
}

#[test]
fn in_a_group_every_answer_is_looked_at_before_anything_is_said() {
    let refused = group("250 2.1.0 ok", "550 5.1.1 no", "554 5.5.1 no");
    // It waits for mail data: QUIT or RSET would become some.
    let open = group("250 2.1.0 ok", "250 2.1.5 ok", "354 go on");
    differs_at("RCPT", &[&refused, NEXT, QUIT], &[&open]);
    let odd = group("250 2.1.0 ok", "550 5.1.1 no", "354 go on");
    differs_at("DATA", &[&refused, NEXT, QUIT], &[&odd]);
    let half = group("250 2.1.0 ok", "250 2.1.5 ok", "554 5.5.1 no");
    differs_at("RCPT", &[&refused, NEXT, QUIT], &[&half, RSET, NEXT, QUIT]);
    // A yes was recorded: the same, the other way round.
    differs_at(
        "RCPT",
        &[&open, CONTENT, KEPT, NEXT, QUIT],
        &[&refused, RSET, NEXT, QUIT],
    );
    differs_at(
        "MAIL",
        &[&open, CONTENT, KEPT, NEXT, QUIT],
        &[&group("550 5.7.1 no", "503 5.5.1 no", "354 go on")],
    );
    // One of two was refused when it was recorded.
    let two = |one: &str, other: &str| {
        group("250 2.1.0 ok", one, "354 go on")
            .replace("C: DATA", "C: RCPT TO:<c@mx.test>\nC: DATA")
            .replace("S: 354", &format!("S: {other}\nS: 354"))
    };
    let recorded = two("250 2.1.5 ok", "550 5.1.1 no");
    let live = two("250 2.1.5 ok", "250 2.1.5 ok");
    differs_at(
        "RCPT TO:<c@mx.test>",
        &[&recorded, CONTENT, KEPT, QUIT],
        &[&live],
    );
}

#[test]
fn a_chunk_that_is_taken_against_the_recording_is_the_last() {
    let chunk = "C: BDAT 3\nC| a\n";
    let last = "C: BDAT 3 LAST\nC| b\n";
    let no = "S: 552 5.3.4 no\n";
    let yes = "S: 250 2.0.0 ok\n";
    differs_at(
        "octets of mail data",
        &[MAIL, RCPT, chunk, no, RSET, NEXT, QUIT],
        &[MAIL, RCPT, chunk, yes],
    );
    differs_at(
        "octets of mail data",
        &[MAIL, RCPT, chunk, yes, last, KEPT, NEXT, QUIT],
        &[MAIL, RCPT, chunk, no, RSET, NEXT, QUIT],
    );
    // In one group with RCPT it waits for what RCPT is answered now.
    let group = "C: MAIL FROM:<a@c.test>\nC: RCPT TO:<b@mx.test>\n";
    let refused = format!("{group}{last}S: 250 2.1.0 ok\nS: 550 5.1.1 no\nS: 503 5.5.1 no\n");
    let live = format!("{group}S: 250 2.1.0 ok\nS: 250 2.1.5 ok\n");
    differs_at("RCPT", &[&refused, NEXT, QUIT], &[&live, RSET, NEXT, QUIT]);
}

#[test]
fn what_was_said_inside_tls_is_not_said_in_the_clear() {
    let recorded = "\
C: STARTTLS
S: 220 2.0.0 go
-- tls
C: EHLO c.test
S: 250 mx.test
";
    let whole = [recorded, MAIL, RCPT, DATA, CONTENT, KEPT, QUIT];
    let refused = "C: STARTTLS\nS: 454 4.7.0 not now\n";
    let shown = differs_at("STARTTLS", &whole, &[refused]);
    assert!(shown.contains("not said in the clear"), "{shown}");
}
