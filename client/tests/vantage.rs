//! Legs from elsewhere: whatever carries lines carries a leg, and what is no leg is
//! told in words that help.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail"
)]

mod support;

use std::path::Path;

use serde_json::Value;
use support::{PROGRAM, command, complaint, serve_honestly, text};
use testkit::watched::{Ended, watch};
use testkit::{Upstream, scratch};

/// The remote leg from that vantage, where `helo-client` is found as it would be on
/// another machine.
fn remote_from(vantage: &str, server: &Upstream, record: &Path, options: &[&str]) -> Ended {
    let target = server.address.to_string();
    let arguments = ["test", &target, "--to", "anna@mx.test", "-4", "--pace", "0"];
    let from = ["--remote-from", vantage, "--record", text(record)];
    let mut command = command(&[&arguments[..], &from, options].concat());
    let programs = Path::new(PROGRAM).parent().unwrap();
    let path = std::env::var("PATH").unwrap();
    command.env("PATH", format!("{}:{path}", programs.display()));
    watch(&mut command)
}

#[test]
fn any_command_that_runs_the_program_carries_a_leg() {
    let dir = scratch();
    let server = serve_honestly();
    let wrapped = format!("exec:env -i {PROGRAM}");
    for (index, vantage) in [
        "exec:env",
        // The program itself may be named too.
        &wrapped,
        // Lines may come as slowly and in such pieces as a shell has them.
        "exec:sh -c '\"$@\" | while read -r line; do printf \"%s\\n\" \"$line\"; done' sh",
    ]
    .into_iter()
    .enumerate()
    {
        let record = dir.path().join(index.to_string());
        let ended = remote_from(vantage, &server, &record, &["--one-leg"]);
        assert_eq!(
            ended.status(),
            Some(0),
            "{vantage}: {}{}",
            ended.stdout(),
            ended.stderr()
        );
        assert!(
            ended.stdout().contains("  remote leg: 127.0.0.1 "),
            "{}",
            ended.stdout()
        );
        let recording = testkit::recorded::read(&record);
        assert_eq!(recording.damage(), []);
        assert!(recording.is_finished());
    }
}

/// Vantages that carry no leg, and what is said of them.
const NO_LEG: &[(&str, &str)] = &[
    ("exec:false", "it ended with exit status: 1"),
    ("exec:no-such-program", "it ended with exit status: 127"),
    ("exec:sh -c 'kill -9 $$'", "signal: 9"),
    ("exec:true", "nothing came back"),
    (
        "exec:sh -c cat",
        "what came back is no recording: {\"leg\":",
    ),
    (
        "exec:echo hello",
        "what came back is no recording: hello helo-client leg",
    ),
    // It never ends, so it is ended.
    (
        "exec:yes",
        "what came back is no recording: helo-client leg",
    ),
    (
        "exec:cat /dev/zero #",
        "what came back is no recording: \\x00",
    ),
    (
        "exec:sh -c 'echo Welcome to mx; exec \"$@\"' sh",
        "what came back is no recording: Welcome to mx",
    ),
    // It dies on the way.
    (
        "exec:sh -c '\"$@\" | head -n 40' sh",
        "what came back was cut off",
    ),
    (
        "exec:sh -c '\"$@\" | sed 20d' sh",
        "what came back is damaged: lines n=19 to n=19 are missing",
    ),
    ("netns:no-such-namespace", "it ended with exit status: 3"),
];

#[test]
fn what_carries_no_leg_is_3_and_says_why() {
    let dir = scratch();
    let server = serve_honestly();
    for (index, (vantage, why)) in NO_LEG.iter().enumerate() {
        let record = dir.path().join(index.to_string());
        let ended = remote_from(vantage, &server, &record, &["--one-leg", "--json"]);
        let said = ended.stderr();
        assert_eq!(
            ended.status(),
            Some(3),
            "{vantage}: {}{said}",
            ended.stdout()
        );
        let report: Value = serde_json::from_slice(&ended.output.stdout).unwrap();
        let remark = report["remarks"][0].as_str().unwrap();
        let begun = format!("remote leg: running helo-client from {vantage}: ");
        assert!(remark.starts_with(&begun), "{remark}");
        assert!(remark.contains(why), "{vantage}: {remark}");
        assert!(!said.contains("panicked"), "{said}");
        assert!(
            ended.resident_at_most < 64 * 1024,
            "{} KiB",
            ended.resident_at_most
        );
        // Judged again it is the same.
        let judged = support::run(&["judge", text(&record), "--json"]);
        assert_eq!(judged.status(), Some(3));
        assert_eq!(judged.stdout(), ended.stdout());
    }
}

#[test]
fn a_leg_that_was_cut_off_counts_as_far_as_it_came() {
    let dir = scratch();
    let server = serve_honestly();
    let record = dir.path().join("t.helo.jsonl");
    let vantage = "exec:sh -c '\"$@\" | head -n 60' sh";
    let options = ["--one-leg", "--witness", "w@else.test"];
    let ended = remote_from(vantage, &server, &record, &options);
    assert_eq!(ended.status(), Some(3), "{}", ended.stdout());
    let shown = ended.stdout();
    let delivered = shown.lines().find(|line| line.starts_with("deliver-self "));
    assert!(
        delivered.is_some_and(|line| line.ends_with("pass")),
        "{shown}"
    );
    assert!(shown.contains("\nINCOMPLETE: 0 failed"), "{shown}");
    assert!(shown.contains("what came back was cut off"), "{shown}");
    let judged = support::run(&["judge", text(&record)]);
    assert_eq!(judged.status(), Some(3));
    assert_eq!(judged.stdout(), shown);
}

#[test]
fn a_leg_without_a_plan_is_told_so() {
    for subcommand in ["leg", "arrive"] {
        let (status, said) = complaint(&support::run(&[subcommand]));
        assert_eq!(status, 4, "{said}");
    }
}
