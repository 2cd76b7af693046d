//! What `replay` takes for the same: values under another name, words, lines, times,
//! and how a session ends.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail"
)]

mod support;

use serde_json::{Value, json};
use support::{replayed, run};
use testkit::watched::Ended;

/// Two messages, and a last reply that names both.
const SESSION: &str = "\
S: 220 mx.test ESMTP
C: EHLO c.test
S: 250-mx.test hello c.test [127.0.0.1]
S: 250 SIZE 1000
C: MAIL FROM:<a@c.test>
S: 250 2.1.0 ok
C: RCPT TO:<b@mx.test>
S: 250 2.1.5 ok
C: DATA
S: 354 go on
C| x
C| .
S: 250 2.0.0 Ok: queued as 4F1bC2
C: MAIL FROM:<a@c.test>
S: 250 2.1.0 ok
C: RCPT TO:<b@mx.test>
S: 250 2.1.5 ok
C: DATA
S: 354 go on
C| y
C| .
S: 250 2.0.0 Ok: queued as 4F1bC3
C: NOOP
S: 250 2.0.0 4F1bC2 went before 4F1bC3
C: QUIT
S: 221 2.0.0 mx.test bye
";

fn recorded() -> String {
    format!("{SESSION}-- close client\n")
}

/// The differences of a run with `--json`, as field and level.
fn differences(ended: &Ended) -> Vec<String> {
    let lines = ended.stdout();
    let steps = lines
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    steps
        .flat_map(|step| step["differences"].as_array().unwrap().clone())
        .map(|one| {
            let text = |name: &str| one[name].as_str().unwrap().to_owned();
            format!("{} {}", text("level"), text("field"))
        })
        .collect()
}

fn found(live: &str, options: &[&str]) -> Vec<String> {
    let ended = replayed(&recorded(), live, &[&["--json"], options].concat());
    let found = differences(&ended);
    let failed = found.iter().any(|one| one.starts_with("fail"));
    assert_eq!(
        ended.status(),
        Some(i32::from(failed)),
        "{}",
        ended.stderr()
    );
    found
}

/// Everything that varies is another one, everywhere.
fn renamed() -> String {
    SESSION
        .replace("4F1bC2", "7AA01c")
        .replace("4F1bC3", "7AA01d")
        .replace("220 mx.test", "220 other.test")
        .replace("250-mx.test", "250-other.test")
        .replace("221 2.0.0 mx.test", "221 2.0.0 other.test")
        .replace("[127.0.0.1]", "[::1]")
}

#[test]
fn what_is_renamed_everywhere_is_the_same() {
    let ended = replayed(&recorded(), &renamed(), &[]);
    let shown = ended.stdout();
    assert_eq!(ended.status(), Some(0), "{shown}");
    let line = shown
        .lines()
        .find(|line| line.contains("queued as 7AA01c"))
        .unwrap();
    assert!(
        line.ends_with("same after binding qid=4F1bC2 / 7AA01c"),
        "{line}"
    );
    assert!(
        shown.contains("same after binding qid=4F1bC2 / 7AA01c, qid=4F1bC3 / 7AA01d"),
        "{shown}"
    );
    assert!(shown.contains("same after binding host=mx.test / other.test"));
    assert_eq!(found(&renamed(), &["--match", "text"]), [""; 0]);
    // As a program reads it.
    let ended = replayed(&recorded(), &renamed(), &["--json"]);
    let lines = ended.stdout();
    let noop = lines.lines().find(|line| line.contains("NOOP")).unwrap();
    let noop: Value = serde_json::from_str(noop).unwrap();
    assert_eq!(
        noop["bound"],
        json!([
            {"name": "qid", "want": "4F1bC2", "got": "7AA01c"},
            {"name": "qid", "want": "4F1bC3", "got": "7AA01d"}
        ])
    );
}

#[test]
fn a_swapped_id_is_a_difference() {
    let swapped = renamed().replace("7AA01c went before 7AA01d", "7AA01d went before 7AA01c");
    assert_eq!(found(&swapped, &[]), ["fail bind"]);
    let ended = replayed(&recorded(), &swapped, &[]);
    assert!(
        ended
            .stdout()
            .contains("FAIL bind: qid=7AA01c, 7AA01d > qid=7AA01d, 7AA01c"),
        "{}",
        ended.stdout()
    );
    // One id for two messages, and an id that is not named again.
    let twice = renamed().replace("7AA01d", "7AA01c");
    assert_eq!(found(&twice, &[])[0], "fail bind");
    let unnamed = renamed().replace("7AA01c went before 7AA01d", "both went");
    assert_eq!(found(&unnamed, &[]), ["fail bind"]);
    // A server that calls itself otherwise half way.
    let elsewhere = renamed().replace("250-other.test", "250-third.test");
    assert_eq!(found(&elsewhere, &[]), ["fail bind"]);
}

#[test]
fn words_are_compared_if_asked_for() {
    let other = renamed().replace("2.1.5 ok", "2.1.5 fine");
    assert_eq!(found(&other, &[]), [""; 0]);
    assert_eq!(
        found(&other, &["--match", "text"]),
        ["fail text", "fail text"]
    );
    // The host that is bound is not the one that was recorded.
    let stale = renamed().replace("other.test bye", "mx.test bye");
    assert_eq!(found(&stale, &[]), [""; 0]);
    assert_eq!(found(&stale, &["--match", "text"]), ["fail text"]);
}

#[test]
fn a_user_can_say_what_else_varies() {
    let with = |first: &str, last: &str| {
        renamed()
            .replacen("354 go on", &format!("354 go on, ticket {first}"), 2)
            .replace("other.test bye", &format!("other.test bye, ticket {last}"))
    };
    let recorded = recorded()
        .replacen("354 go on", "354 go on, ticket T-1000", 2)
        .replace("mx.test bye", "mx.test bye, ticket T-1000");
    let status = |live: &str, options: &[&str]| replayed(&recorded, live, options).status();
    let vary = ["--match", "text", "--vary", "ticket=ticket *"];
    assert_eq!(status(&with("T-2000", "T-2000"), &vary), Some(0));
    assert_eq!(status(&with("T-2000", "T-2000"), &vary[..2]), Some(1));
    let ended = replayed(&recorded, &with("T-2000", "T-3000"), &vary);
    assert_eq!(ended.status(), Some(1));
    let shown = ended.stdout();
    assert!(
        shown.contains("FAIL bind: ticket=T-2000 > ticket=T-3000"),
        "{shown}"
    );
}

#[test]
fn lines_and_enhanced_status_codes_have_options() {
    let help = |reply: &str| SESSION.replace("C: QUIT\n", &format!("C: HELP\n{reply}C: QUIT\n"));
    let recorded = help("S: 214 see the manual\n") + "-- close client\n";
    let two = help("S: 214-see\nS: 214 the manual\n");
    let ended = replayed(&recorded, &two, &["--json"]);
    assert_eq!(differences(&ended), ["fail lines"]);
    let bye = renamed().replace(
        "221 2.0.0 other.test",
        "221-2.0.0 well\nS: 221 2.0.0 other.test",
    );
    assert_eq!(found(&bye, &[]), [""; 0]);
    assert_eq!(found(&bye, &["--strict-shape"]), ["fail lines"]);
    let plain = renamed().replace("221 2.0.0 ", "221 ");
    assert_eq!(found(&plain, &[]), ["warn ec"]);
    assert_eq!(found(&plain, &["--ec", "strict"]), ["fail ec"]);
    assert_eq!(found(&plain, &["--ec", "ignore"]), [""; 0]);
}

#[test]
fn a_reply_too_many_is_a_difference_wherever_it_comes() {
    let last = renamed().replace(
        "other.test bye\n",
        "other.test bye\nS: 250 2.0.0 and so on\n",
    );
    assert_eq!(found(&last, &[]), ["fail reply"]);
    let begun = renamed();
    let begun = begun.split("C: MAIL").next().unwrap();
    let early = format!("{begun}C: MAIL FROM:<a@c.test>\nS: 250 2.1.0 ok\nS: 250 2.1.0 ok\n");
    assert_eq!(found(&(early + "-- wait\n"), &[]), ["fail reply"]);
}

#[test]
fn who_closes_is_compared_but_after_quit() {
    let begun = renamed();
    let begun = begun.split("C: NOOP").next().unwrap();
    let (stays, leaves) = (begun.to_owned(), format!("{begun}-- close\n"));
    let recorded = SESSION.split("C: NOOP").next().unwrap();
    let options = ["--json", "--timeout", "1s"];
    let by_server = format!("{recorded}-- close server\n");
    assert_eq!(
        differences(&replayed(&by_server, &leaves, &options)),
        [""; 0]
    );
    let ended = replayed(&by_server, &stays, &options);
    assert_eq!(differences(&ended), ["fail close"]);
    assert_eq!(ended.status(), Some(1));
    let ended = replayed(&by_server, &stays, &["--ignore-close"]);
    assert_eq!(ended.status(), Some(0), "{}", ended.stdout());
    let resets = format!("{begun}-- reset\n");
    let ended = replayed(&by_server, &resets, &options);
    assert_eq!(differences(&ended), ["warn close"]);
    // The client left: whatever the server does then is its own affair.
    let by_client = format!("{recorded}-- close client\n");
    assert_eq!(
        differences(&replayed(&by_client, &stays, &options)),
        [""; 0]
    );
    let quit = recorded_by("server");
    assert_eq!(differences(&replayed(&quit, &renamed(), &options)), [""; 0]);
}

fn recorded_by(by: &str) -> String {
    format!("{SESSION}-- close {by}\n")
}

#[test]
fn a_slow_reply_is_a_difference_if_asked_for() {
    // No reply comes in no time at all.
    let ended = replayed(&recorded(), &renamed(), &["--json", "--max-slowdown", "0x"]);
    assert_eq!(ended.status(), Some(1));
    let found = differences(&ended);
    assert!(found.len() > 5 && found.iter().all(|one| one == "fail took"));
    let ended = replayed(&recorded(), &renamed(), &["--max-slowdown", "3x+60s"]);
    assert_eq!(ended.status(), Some(0), "{}", ended.stdout());
}

#[test]
fn a_ci_system_is_told_in_junit_xml() {
    let dir = testkit::scratch();
    let path = dir.path().join("replay.xml");
    let swapped = renamed().replace("7AA01c went before 7AA01d", "7AA01d went before 7AA01c");
    let ended = replayed(&recorded(), &swapped, &["--junit", support::text(&path)]);
    assert_eq!(ended.status(), Some(1));
    assert!(ended.stdout().contains("FAIL bind"));
    let xml = std::fs::read_to_string(&path).unwrap();
    assert!(
        xml.contains("<testsuite name=\"session 1\" tests=\"12\" failures=\"1\">"),
        "{xml}"
    );
    assert!(xml.contains("name=\"step 10 NOOP\""), "{xml}");
    assert!(xml.contains("message=\"bind: qid="), "{xml}");
    let nowhere = dir.path().join("missing/replay.xml");
    let ended = replayed(
        &recorded(),
        &renamed(),
        &["--junit", support::text(&nowhere)],
    );
    assert_eq!(ended.status(), Some(6), "{}", ended.stderr());
}

#[test]
fn the_help_has_examples() {
    let ended = run(&["replay", "--help"]);
    assert_eq!(ended.status(), Some(0));
    let shown = ended.stdout();
    for option in [
        "--rcpt-map '*=sink@example.net'",
        "--match text",
        "HELO_PASSWORD",
    ] {
        assert!(shown.contains(option), "{option}: {shown}");
    }
}
