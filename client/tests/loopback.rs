//! What the localhost leg connects to.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may fail"
)]

use std::net::TcpListener;

use serde_json::Value;
use testkit::upstream::smtp;
use testkit::{run, scratch};

#[test]
fn the_localhost_leg_uses_the_loopback_address_that_was_named() {
    // Not 127.0.0.1, which the name localhost means: nobody listens there.
    let listener = TcpListener::bind("127.0.0.3:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for tcp in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(|| smtp(tcp, "220 up.test ESMTP\r\n", &mut Vec::new()));
        }
    });
    let dir = scratch();
    let record = dir.path().join("test.helo.jsonl");
    let mut arguments = vec!["test", &address, "--one-leg", "--json", "--pace", "0"];
    arguments.extend(["--to", "anna@own.test", "--record"]);
    arguments.push(record.to_str().unwrap());
    let output = run(env!("CARGO_BIN_EXE_helo-client"), &arguments);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["legs"][0]["kind"], "localhost");
    assert_eq!(report["legs"][0]["to"], address);
    assert_eq!(report["legs"][0]["delivered"], "accepted");
}
