use std::path::Path;
use std::sync::Arc;

use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::sync::Notify;

use super::*;
use crate::journal::{Durability, Journal, Settings};
use shared::recording::OpenFacts;

/// Greets, says that it was asked for something, and is not heard of again.
struct Slow {
    asked: Arc<Notify>,
    panics: bool,
}

impl Policy for Slow {
    async fn asked(&mut self, asked: Asked, _: &ServerSession) -> Answer {
        if matches!(asked, Asked::Greeting) {
            return Answer::Reply(Reply::of(220, "", "mx"));
        }
        assert!(!self.panics, "as it was told");
        self.asked.notify_one();
        std::future::pending().await
    }

    async fn content(&mut self, _: Bytes) -> Option<Box<Strike>> {
        None
    }

    fn tls_started(&mut self, _: &Facts, _: &Stream) {}
}

/// A session that has said a command to that policy.
async fn session(file: &Path, mut policy: Slow) -> Result<(), ServeError> {
    let clock = Clock::start();
    let settings = Settings {
        tool: "test",
        durability: Durability::Written,
        record_secrets: false,
    };
    let journal = Journal::create(file, &settings, clock).unwrap();
    let mut journal = journal.session(OpenFacts::default()).unwrap();
    let (mut client, server) = UnixStream::pair().unwrap();
    client.write_all(b"AUTH PLAIN\r\n").await.unwrap();
    let (_end, ending) = watch::channel(Ending::Not);
    let service = Service {
        clock,
        tls: None,
        implicit_tls: false,
        limits: Limits::DEFAULT,
        waits: Waits::default(),
        ending,
    };
    serve(Stream::new(server), &service, &mut policy, &mut journal).await
}

fn recorded(file: &Path, what: &str) -> usize {
    std::fs::read_to_string(file).unwrap().matches(what).count()
}

#[tokio::test]
async fn a_session_that_is_waited_for_no_longer_has_an_end() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("t.helo.jsonl");
    let asked = Arc::new(Notify::new());
    let policy = Slow {
        asked: Arc::clone(&asked),
        panics: false,
    };
    tokio::select! {
        _ = session(&file, policy) => panic!("it waits for its policy"),
        () = asked.notified() => {}
    }
    assert_eq!(recorded(&file, "AUTH PLAIN"), 1);
    assert_eq!(recorded(&file, r#""k":"close""#), 1);
}

#[tokio::test]
async fn a_session_that_panics_has_none() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("t.helo.jsonl");
    let policy = Slow {
        asked: Arc::default(),
        panics: true,
    };
    let path = file.clone();
    let ended = tokio::spawn(async move { session(&path, policy).await.is_ok() }).await;
    assert!(ended.unwrap_err().is_panic());
    assert_eq!(recorded(&file, r#""k":"close""#), 0);
}
