//! `judge` takes a packet capture where it takes a recording.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail"
)]

mod support;

use support::run;

fn capture(name: &str) -> String {
    format!("{}/../tests/captures/{name}", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn a_capture_is_judged_by_the_checks() {
    let judged = run(&[
        "judge",
        "--to",
        "alice@example.net",
        &capture("raw-ip.pcap"),
    ]);
    let said = judged.stdout();
    let verdict = |check: &str| {
        let row = said.lines().find_map(|line| line.strip_prefix(check));
        row.unwrap_or_default().trim().to_owned()
    };
    assert_eq!(verdict("deliver-self "), "pass", "{said}");
    // The server of the capture offers AUTH PLAIN in clear.
    assert_eq!(verdict("auth-plaintext-offer "), "fail", "{said}");
    assert_eq!(judged.status(), Some(1), "{said}");
}

#[test]
fn a_damaged_capture_is_judged_as_far_as_it_goes() {
    let path = capture("truncated.pcapng");
    let judged = run(&["judge", "--to", "alice@example.net", &path]);
    let warned = judged.stderr();
    assert!(warned.contains("damaged at octet 3636"), "{warned}");
    assert_ne!(judged.status(), Some(4), "{warned}");
    let refused = run(&["judge", "--to", "a@b.test", &capture("not-a-capture.pcap")]);
    assert_eq!(refused.status(), Some(4));
}
