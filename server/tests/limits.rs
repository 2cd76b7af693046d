//! Each limit that a client can meet is counted when one does, and no other is.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may fail"
)]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;

use serde_json::json;
use support::{Server, TO_ANNA, accepts};
use testkit::scratch;
use testkit::talk::{connect, reply, say};
use testkit::wait::until_true;

/// How a client meets a limit.
struct Row {
    limit: &'static str,
    /// Of the server; `{users}` is a file with a password.
    options: &'static [&'static str],
    meet: fn(&Server),
}

const fn row(limit: &'static str, options: &'static [&'static str], meet: fn(&Server)) -> Row {
    Row {
        limit,
        options,
        meet,
    }
}

const ROWS: &[Row] = &[
    row(
        "max-auth-failures",
        &[
            "--max-auth-failures=1",
            "--auth-delay=0s",
            "--users={users}",
            "--auth-mechs=PLAIN",
        ],
        |server| {
            let mut tcp = server.after(&["EHLO c.test"]);
            assert_says(&mut tcp, "AUTH PLAIN AGFubmEAd3Jvbmc=", "421 4.7.0 ");
        },
    ),
    row(
        "max-connection-rate",
        &["--max-connection-rate=2"],
        |server| {
            for _ in 0..2 {
                drop(server.greeted());
            }
            assert_greeted(
                server,
                "421 4.7.0 too many connections from you within a minute",
            );
            assert_greeted(server, "421 4.7.0 ");
        },
    ),
    row("max-connections", &["--max-connections=1"], |server| {
        let _first = server.greeted();
        assert_greeted(server, "421 4.3.2 ");
    }),
    row(
        "max-connections-per-client",
        &["--max-connections-per-client=1"],
        |server| {
            let _first = server.greeted();
            assert_greeted(server, "421 4.3.2 ");
        },
    ),
    row("max-errors", &["--max-errors=1"], |server| {
        let mut tcp = server.greeted();
        assert_says(&mut tcp, "WHAT", "500 ");
        assert_says(&mut tcp, "WHAT", "421 4.7.0 ");
    }),
    row("max-header", &["--max-header=20"], |server| {
        // It is noted, and that is all.
        assert_verdict(server, "Subject: is too large\r\n\r\n.\r\n", "250 2.0.0 ");
        assert_verdict(server, "\r\nIt is no header section\r\n.\r\n", "250 2.0.0 ");
        let accounts = server.json("/api/v1/messages");
        let header = |at: usize| accounts["messages"][at]["header"].clone();
        let wanted = json!({"octets": 23, "too_large": true, "received": 0});
        assert_eq!(header(0), wanted);
        let wanted = json!({"octets": 0, "too_large": false, "received": 0});
        assert_eq!(header(1), wanted);
    }),
    row("max-junk", &["--max-junk=1"], |server| {
        let mut tcp = server.greeted();
        assert_says(&mut tcp, "NOOP", "250 ");
        assert_says(&mut tcp, "NOOP", "250 ");
    }),
    row("max-line", &["--max-line=10"], |server| {
        assert_verdict(server, "0123456789\r\n.\r\n", "250 2.0.0 ");
        assert_verdict(server, "0123456789a\r\n.\r\n", "554 5.6.0 ");
    }),
    row(
        "max-memory",
        &["--max-memory=10K", "--store=memory"],
        |server| {
            assert_verdict(
                server,
                &format!("{}.\r\n", "0123456789\r\n".repeat(2000)),
                "452 4.3.1 ",
            );
        },
    ),
    row("max-messages", &["--max-messages=1"], |server| {
        let mut tcp = server.after(&TO_ANNA);
        assert_says(&mut tcp, "x\r\n.", "250 ");
        assert_says(&mut tcp, "MAIL FROM:<a@c.test>", "452 4.5.3 ");
    }),
    row("max-received", &["--max-received=2"], |server| {
        let fields = |count: usize| "Received: by mx\r\n".repeat(count) + "\r\n.\r\n";
        assert_verdict(server, &fields(2), "250 2.0.0 ");
        assert_verdict(server, &fields(3), "554 5.4.6 a mail loop");
    }),
    row("max-recipients", &["--max-recipients=1"], |server| {
        let mut tcp = server.after(&TO_ANNA[..3]);
        assert_says(&mut tcp, "RCPT TO:<bert@local.test>", "452 4.5.3 ");
    }),
    row("max-size", &["--max-size=10"], |server| {
        assert_verdict(server, "0123456789\r\n.\r\n", "552 5.3.4 ");
    }),
    row("min-free", &["--min-free=1000000G"], |server| {
        let mut tcp = server.after(&["EHLO c.test"]);
        assert_says(&mut tcp, "MAIL FROM:<a@c.test>", "452 4.3.1 ");
    }),
    row(
        "min-rate",
        &["--min-rate=1000", "--min-rate-over=100ms"],
        |server| {
            let mut tcp = server.after(&TO_ANNA);
            assert!(reply(&mut tcp).starts_with("421 4.4.2 "));
        },
    ),
    row("timeout-command", &["--timeout-command=100ms"], |server| {
        let mut tcp = server.greeted();
        assert!(reply(&mut tcp).starts_with("421 4.4.2 "));
    }),
    row(
        "timeout-proxy",
        &["--timeout-proxy=100ms", "--listen", "127.0.0.1:0,proxy=v1"],
        |server| assert_silent_end(&mut connect(server.address)),
    ),
    row("timeout-session", &["--timeout-session=100ms"], |server| {
        let mut tcp = server.greeted();
        assert!(reply(&mut tcp).starts_with("421 4.4.2 "));
    }),
    row("timeout-tls", &["--timeout-tls=100ms"], |server| {
        let mut tcp = server.after(&["STARTTLS"]);
        assert_silent_end(&mut tcp);
    }),
];

fn assert_says(tcp: &mut TcpStream, line: &str, wanted: &str) {
    let reply = say(tcp, &format!("{line}\r\n"));
    assert!(reply.starts_with(wanted), "{line}: {reply}");
}

fn assert_greeted(server: &Server, wanted: &str) {
    let greeting = reply(&mut connect(server.address));
    assert!(greeting.starts_with(wanted), "{greeting}");
}

/// The verdict on a message with that content.
fn assert_verdict(server: &Server, content: &str, wanted: &str) {
    let mut tcp = server.greeted();
    accepts(&mut tcp, &TO_ANNA);
    let verdict = say(&mut tcp, content);
    assert!(verdict.starts_with(wanted), "{verdict}");
}

/// The server closes without a word.
fn assert_silent_end(tcp: &mut TcpStream) {
    let mut rest = Vec::new();
    tcp.read_to_end(&mut rest).unwrap();
    assert!(rest.is_empty());
}

fn trips(server: &Server) -> BTreeMap<String, u64> {
    let page = server.ask("GET", "/metrics", &[]).text();
    let lines = page
        .lines()
        .filter_map(|line| line.strip_prefix("helo_limit_trips_total{limit=\""));
    lines
        .map(|line| {
            let (limit, count) = line.split_once("\"} ").unwrap();
            (limit.to_owned(), count.parse().unwrap())
        })
        .collect()
}

fn start(dir: &Path, options: &[&str]) -> Server {
    let users = dir.join("users");
    fs::write(&users, "anna:tea\n").unwrap();
    let users = users.to_str().unwrap();
    let options: Vec<String> = options
        .iter()
        .map(|one| one.replace("{users}", users))
        .collect();
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    Server::with_api(dir, &options)
}

#[test]
fn each_limit_counts_when_it_is_met_and_no_other_does() {
    let dir = scratch();
    let counted: Vec<String> = trips(&start(dir.path(), &[])).into_keys().collect();
    let here: Vec<&str> = ROWS.iter().map(|row| row.limit).collect();
    assert_eq!(counted, here, "each limit is met here");
    for row in ROWS {
        let dir = scratch();
        let server = start(dir.path(), row.options);
        assert!(trips(&server).values().all(|&count| count == 0));
        (row.meet)(&server);
        until_true(row.limit, || trips(&server)[row.limit] > 0);
        let others = trips(&server).into_iter();
        let others: Vec<_> = others
            .filter(|(limit, count)| limit != row.limit && *count > 0)
            .collect();
        assert_eq!(others, [], "{}", row.limit);
    }
}

#[test]
fn each_client_address_has_its_own_rate() {
    let dir = scratch();
    let server = start(dir.path(), &["--max-connection-rate", "1"]);
    let greeting = |source: &str| {
        let mut tcp = support::connect_from(source, server.address);
        reply(&mut tcp)
    };
    assert!(greeting("127.0.0.1").starts_with("220 "));
    assert!(greeting("127.0.0.1").starts_with("421 4.7.0 "));
    assert!(greeting("127.0.0.2").starts_with("220 "));
    assert!(greeting("127.0.0.2").starts_with("421 4.7.0 "));
}

#[test]
fn a_loop_is_found_in_chunks_too_and_only_if_that_is_wanted() {
    let fields = "Received: by mx\r\n".repeat(3) + "\r\n";
    for (options, wanted) in [
        (&["--max-received", "2"][..], "554 5.4.6 "),
        (&[], "250 2.0.0 "),
    ] {
        let dir = scratch();
        let server = start(dir.path(), options);
        let mut tcp = server.after(&TO_ANNA[..3]);
        let command = format!("BDAT {} LAST\r\n", fields.len());
        tcp.write_all(command.as_bytes()).unwrap();
        let verdict = say(&mut tcp, &fields);
        assert!(verdict.starts_with(wanted), "{verdict}");
        assert_eq!(server.kept("anna").is_empty(), wanted.starts_with('5'));
    }
}
