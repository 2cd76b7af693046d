//! A procedure that is interrupted leaves no leg behind.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::fs;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use testkit::wait::{until, until_true};
use testkit::{Upstream, scratch};

#[test]
fn a_signal_to_the_procedure_ends_its_legs() {
    // Silent for good: the leg would wait three quarters of a minute.
    let server = Upstream::start(|tcp, _| {
        let _ = std::io::copy(&mut &tcp, &mut std::io::sink());
    });
    for signal in [Signal::INT, Signal::TERM] {
        let (dir, begun) = (scratch(), server.begun());
        let mut client = Command::new(env!("CARGO_BIN_EXE_helo-client"))
            .args(["test", &server.address.to_string(), "--to", "anna@own.test"])
            .arg("--record")
            .arg(dir.path().join("test.helo.jsonl"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let leg = until("the leg", || child_of(client.id()));
        until_true("its connection", || server.begun() > begun);
        kill_process(Pid::from_child(&client), signal).unwrap();
        let status = until("the end of the procedure", || client.try_wait().unwrap());
        assert_eq!(status.code(), Some(3), "no verdict");
        until_true("the end of the leg", || !is_running(leg));
    }
}

/// The process whose parent is that one.
fn child_of(parent: u32) -> Option<u32> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let mut numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    numbers.find(|&number: &u32| {
        stat(number).is_some_and(|stat| stat.get(1) == Some(&parent.to_string()))
    })
}

/// It exists, and is not merely waiting to be buried.
fn is_running(number: u32) -> bool {
    stat(number).is_some_and(|stat| stat.first().is_some_and(|state| state != "Z"))
}

/// What the kernel says of a process after its name: state, parent and so on.
fn stat(number: u32) -> Option<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{number}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    Some(rest.split_whitespace().map(str::to_owned).collect())
}
