//! Two halves joined in memory, through the lines of RFC 4954.

use std::sync::Arc;

use helo_driver::sasl::client::{self, Credentials, Proof};
use helo_driver::sasl::message::{decode, decode_challenge, decode_initial};
use helo_driver::sasl::server::{self, Failure, Identity};
use helo_driver::sasl::{
    Accounts, Channel, ChannelBinding, Mechanism, Message, NameCase, Needs, Plus, find,
};
use shared::command::Secret;

/// How a dialogue ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// 235, and whether the client believes it.
    Accepted(Identity, Result<(), client::Error>),
    /// The client gave up; what the server says to that.
    GivenUp(client::Error, Failure),
    /// The server refused; what the client knows of the reason.
    Refused(Failure, Result<(), client::Error>),
}

/// What both said, and how it ended.
#[derive(Debug)]
pub(crate) struct Dialogue {
    pub(crate) lines: Vec<String>,
    pub(crate) end: End,
}

/// Whether AUTH carries the first message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum First {
    InAuth,
    Later,
}

/// Everything that two halves need.
#[derive(Clone, Debug)]
pub(crate) struct Scene {
    pub(crate) mechanism: &'static Mechanism,
    pub(crate) accounts: Arc<Accounts>,
    pub(crate) credentials: Credentials,
    pub(crate) server: server::Context,
    pub(crate) client: client::Context,
}

impl Scene {
    /// `tim` with the right secret, everything fixed that would be random, over a
    /// channel that can be bound to.
    pub(crate) fn new(mechanism: &str) -> Self {
        let mechanism = find(mechanism).unwrap();
        let channel = Channel::Bound(ChannelBinding::new([7; 32]));
        Self {
            mechanism,
            accounts: Arc::new(accounts()),
            credentials: Credentials {
                user: "tim".into(),
                authzid: None,
                proof: match mechanism.needs {
                    Needs::Certificate => Proof::Certificate,
                    Needs::Password => password("tanstaaf,= tanstaaf"),
                    Needs::Token => token("abc.def=="),
                },
            },
            server: server::Context {
                channel: channel.clone(),
                plus: Plus::Offered,
                certificate: vec!["tim".into(), "tim@example.net".into()],
                host: "mx.example.net".into(),
                nonce: Some("servernonce".into()),
            },
            client: client::Context {
                channel,
                plus: Plus::Offered,
                server: Some(("mx.example.net".into(), 587)),
                nonce: Some("clientnonce".into()),
            },
        }
    }

    /// The same with a secret that is not the right one.
    pub(crate) fn with_wrong_secret(mut self) -> Self {
        match self.credentials.proof {
            Proof::Certificate => self.server.certificate.clear(),
            Proof::Password(_) => self.credentials.proof = password("wrong"),
            Proof::Token(_) => self.credentials.proof = token("wrong"),
        }
        self
    }

    /// The same for a user without an account.
    pub(crate) fn with_unknown_user(mut self) -> Self {
        self.credentials.user = "tom".into();
        self.server.certificate.clear();
        self
    }

    pub(crate) fn exchange(&self) -> server::Exchange {
        server::Exchange::begin(self.mechanism, Arc::clone(&self.accounts), &self.server)
    }

    /// Plays it until the client has said so many messages, and then says another
    /// one in place of the client's.
    pub(crate) fn break_off(&self, first: First, good: usize, then: &[u8]) -> server::Step {
        let mut server = self.exchange();
        let mut client =
            client::Exchange::begin(self.mechanism, &self.credentials, &self.client).unwrap();
        let mut response = match first {
            First::InAuth => client.initial(),
            First::Later => None,
        };
        let mut said = 0;
        loop {
            let turn = response.is_some();
            if turn && said == good {
                return server.step(Some(then));
            }
            said += usize::from(turn);
            let server::Step::Challenge(challenge) =
                server.step(response.as_ref().map(Message::as_bytes))
            else {
                panic!("over after {said} messages");
            };
            response = match client.step(challenge.as_bytes()) {
                client::Step::Response(response) => Some(response),
                client::Step::Failed(error) => panic!("{error}"),
            };
        }
    }

    /// Plays it.
    pub(crate) fn play(&self, first: First) -> Dialogue {
        let mut server = self.exchange();
        let mut client =
            client::Exchange::begin(self.mechanism, &self.credentials, &self.client).unwrap();
        let initial = match first {
            First::InAuth => client.initial().map(|message| message.encode_initial()),
            First::Later => None,
        };
        let mut lines = vec![format!("C: AUTH {}", self.mechanism.name)];
        lines.extend(initial.as_ref().map(|initial| format!("C: {initial}")));
        let initial = initial.map(|initial| decode_initial(initial.as_bytes()).unwrap());
        let mut step = server.step(initial.as_ref().map(Message::as_bytes));
        // No mechanism needs more turns than this.
        for _ in 0..5 {
            let challenge = match step {
                server::Step::Challenge(challenge) => challenge.encode(),
                server::Step::Done(identity) => {
                    return ended(lines, End::Accepted(identity, client.finish()));
                }
                server::Step::Failed(failure) => {
                    return ended(lines, End::Refused(failure, client.finish()));
                }
            };
            lines.push(format!("S: 334 {challenge}"));
            let challenge = decode_challenge(challenge.as_bytes()).unwrap();
            let response = match client.step(challenge.as_bytes()) {
                client::Step::Response(response) => response.encode(),
                client::Step::Failed(error) => {
                    let failure = decode(b"*\r\n").unwrap_err();
                    return ended(lines, End::GivenUp(error, failure));
                }
            };
            lines.push(format!("C: {response}"));
            let response = decode(format!("{response}\r\n").as_bytes()).unwrap();
            step = server.step(Some(response.as_bytes()));
        }
        panic!("no end: {lines:#?}");
    }
}

pub(crate) fn accounts() -> Accounts {
    let mut accounts = Accounts::new(NameCase::Ignored).unwrap();
    accounts.add_password("tim", "tanstaaf,= tanstaaf").unwrap();
    accounts.add_token("tim", "abc.def==").unwrap();
    accounts
}

pub(crate) fn password(text: &str) -> Proof {
    Proof::Password(Secret::new(text.into()))
}

pub(crate) fn token(text: &str) -> Proof {
    Proof::Token(Secret::new(text.into()))
}

fn ended(lines: Vec<String>, end: End) -> Dialogue {
    Dialogue { lines, end }
}
