//! The half that asks.

use std::sync::Arc;

use shared::reply::Reply;

use super::random::NoRandomness;
use super::{
    ALL, Accounts, Channel, ClearText, Initial, Mechanism, Message, Needs, Plus, Transfer,
};

/// What the server knows besides its accounts.
#[derive(Clone, Debug, Default)]
pub struct Context {
    /// What lies under the exchange.
    pub channel: Channel,
    /// Whether the EHLO reply of this channel listed a -PLUS.
    pub plus: Plus,
    /// The names in the client's certificate, if it was verified: the one to use
    /// first. For EXTERNAL.
    pub certificate: Vec<String>,
    /// Our name, for the challenge of CRAM-MD5.
    pub host: String,
    /// In place of a random one: for tests.
    pub nonce: Option<String>,
}

/// One exchange.
#[derive(Debug)]
pub struct Exchange {
    mechanism: &'static Mechanism,
    accounts: Arc<Accounts>,
    state: State,
}

/// What comes of a message.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// It goes on: 334 with this.
    Challenge(Message),
    /// It is proven: 235.
    Done(Identity),
    /// It is over: the failure has its reply.
    Failed(Failure),
}

/// Who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Whose secret it was; empty only if any token is accepted and nobody was
    /// named.
    pub authcid: String,
    /// As whom the client wants to act, if it said so.
    pub authzid: Option<String>,
    /// How it was proven.
    pub mechanism: &'static str,
}

/// Why an exchange failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// The client sent `*`.
    #[error("cancelled by the client")]
    Cancelled,
    /// The exchange is not bound to this TLS session: someone sits in the middle.
    #[error("the channel binding is not that of this TLS session")]
    ChannelBinding,
    /// No such user, wrong secret, or not entitled to act as somebody else: a
    /// client is not told which.
    #[error("authentication credentials invalid")]
    Credentials,
    /// The client could bind to the channel and saw none of the -PLUS that we
    /// offered: someone took them away (RFC 5802 §6).
    #[error("channel binding was offered, and the client says that it saw no offer")]
    Downgrade,
    /// A line is not base64.
    #[error("cannot decode base64")]
    Encoding,
    /// AUTH carried a message though the server speaks first.
    #[error("the server speaks first in this mechanism: no initial response")]
    InitialResponse,
    /// A message is not what the mechanism says.
    #[error("{0}")]
    Malformed(&'static str),
    /// The mechanism is unknown, or not offered on this channel.
    #[error("mechanism not offered")]
    NotOffered,
    /// Ours, not the client's.
    #[error("temporary authentication failure")]
    Temporary,
    /// A line has more than 12 288 octets.
    #[error("authentication exchange line is too long")]
    TooLong,
}

#[derive(Debug)]
enum State {
    /// Nothing was said yet.
    Opening(Box<dyn ServerHalf>),
    Open(Box<dyn ServerHalf>),
    Ended(Failure),
}

/// What a mechanism does on this side.
pub(super) trait ServerHalf: std::fmt::Debug + Send + Sync {
    /// The first challenge, if AUTH carried no message. A server that does not
    /// speak first says nothing in it (RFC 4954 §4).
    fn open(&mut self) -> Vec<u8> {
        Vec::new()
    }

    /// Answers a message.
    fn step(&mut self, response: &[u8], accounts: &Accounts) -> Result<Progress, Failure>;
}

/// What comes of a message that is no failure.
#[derive(Debug)]
pub(super) enum Progress {
    Challenge(Vec<u8>),
    Proven {
        authcid: String,
        authzid: Option<String>,
    },
}

/// The mechanisms that these accounts can use on this channel, strongest first.
///
/// Where any password is accepted there is no SCRAM: in it a server proves that
/// it knows the password.
pub fn offered(
    accounts: &Accounts,
    context: &Context,
    clear_text: ClearText,
) -> Vec<&'static Mechanism> {
    let usable = |mechanism: &&Mechanism| {
        let any = accounts.accepts_any() && mechanism.transfer != Transfer::Mutual;
        let known = match mechanism.needs {
            Needs::Certificate => !context.certificate.is_empty(),
            Needs::Password if accounts.accepts_any() => any,
            Needs::Password => accounts.has_passwords(),
            Needs::Token => any || accounts.has_tokens(),
        };
        known && mechanism.fits(&context.channel, clear_text)
    };
    ALL.iter().filter(usable).collect()
}

/// The mechanism that AUTH asks for, of those offered.
pub fn select(name: &str, offered: &[&'static Mechanism]) -> Result<&'static Mechanism, Failure> {
    offered
        .iter()
        .copied()
        .find(|mechanism| mechanism.name.eq_ignore_ascii_case(name))
        .ok_or(Failure::NotOffered)
}

impl Exchange {
    /// An exchange in which nothing was said yet.
    pub fn begin(
        mechanism: &'static Mechanism,
        accounts: Arc<Accounts>,
        context: &Context,
    ) -> Self {
        let state = match (mechanism.server)(context) {
            Ok(half) => State::Opening(half),
            Err(failure) => State::Ended(failure),
        };
        Self {
            mechanism,
            accounts,
            state,
        }
    }

    /// Takes the client's next message: the first time what AUTH carried, `None`
    /// if it carried none.
    pub fn step(&mut self, response: Option<&[u8]>) -> Step {
        let over = State::Ended(Failure::Malformed("the exchange is over"));
        match std::mem::replace(&mut self.state, over) {
            State::Ended(failure) => Step::Failed(failure),
            State::Open(half) => self.answer(half, response.unwrap_or_default()),
            State::Opening(mut half) => match response {
                None => {
                    let challenge = Message::new(half.open());
                    self.state = State::Open(half);
                    Step::Challenge(challenge)
                }
                Some(_) if self.mechanism.initial == Initial::Refused => {
                    Step::Failed(Failure::InitialResponse)
                }
                Some(response) => self.answer(half, response),
            },
        }
    }

    fn answer(&mut self, mut half: Box<dyn ServerHalf>, response: &[u8]) -> Step {
        match half.step(response, &self.accounts) {
            Ok(Progress::Challenge(challenge)) => {
                self.state = State::Open(half);
                Step::Challenge(Message::new(challenge))
            }
            Ok(Progress::Proven { authcid, authzid }) => Step::Done(Identity {
                authcid,
                authzid,
                mechanism: self.mechanism.name,
            }),
            Err(failure) => Step::Failed(failure),
        }
    }
}

impl Progress {
    /// The end of every mechanism: whoever was found may act as itself.
    pub(super) fn proven(
        accounts: &Accounts,
        authcid: Option<String>,
        authzid: Option<&str>,
    ) -> Result<Self, Failure> {
        let authcid = authcid.ok_or(Failure::Credentials)?;
        if authzid.is_some_and(|authzid| !accounts.may_act_as(&authcid, authzid)) {
            return Err(Failure::Credentials);
        }
        let authzid = authzid.map(ToOwned::to_owned);
        Ok(Self::Proven { authcid, authzid })
    }
}

impl Failure {
    /// The reply it deserves (RFC 4954 §4, §6).
    pub fn reply(&self) -> Reply {
        let (code, status) = match self {
            Self::Cancelled | Self::InitialResponse => (501, "5.7.0"),
            Self::ChannelBinding | Self::Credentials | Self::Downgrade => (535, "5.7.8"),
            Self::Encoding | Self::Malformed(_) => (501, "5.5.2"),
            Self::NotOffered => (504, "5.5.4"),
            Self::Temporary => (454, "4.7.0"),
            Self::TooLong => (500, "5.5.6"),
        };
        Reply::of(code, status, self.to_string())
    }
}

impl From<NoRandomness> for Failure {
    fn from(_: NoRandomness) -> Self {
        Self::Temporary
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sasl::{ChannelBinding, NameCase};

    fn names(accounts: &Accounts, context: &Context) -> Vec<&'static str> {
        let offered = offered(accounts, context, ClearText::InTls);
        offered.iter().map(|mechanism| mechanism.name).collect()
    }

    #[test]
    fn what_is_offered_depends_on_channel_and_accounts() {
        let mut accounts = Accounts::new(NameCase::Ignored).unwrap();
        let mut context = Context::default();
        assert!(names(&accounts, &context).is_empty());
        accounts.add_password("tim", "secret").unwrap();
        let clear = ["SCRAM-SHA-256", "SCRAM-SHA-1", "CRAM-MD5"];
        assert_eq!(names(&accounts, &context), clear);
        context.channel = Channel::Tls;
        context.certificate = vec!["tim".into()];
        accounts.add_token("tim", "abc").unwrap();
        let all_but_plus = &ALL[2..];
        assert_eq!(
            offered(&accounts, &context, ClearText::InTls),
            all_but_plus.iter().collect::<Vec<_>>()
        );
        context.channel = Channel::Bound(ChannelBinding::new([7; 32]));
        assert_eq!(
            offered(&accounts, &context, ClearText::InTls),
            ALL.iter().collect::<Vec<_>>()
        );
        accounts.accept_any();
        let any = [
            "EXTERNAL",
            "OAUTHBEARER",
            "XOAUTH2",
            "CRAM-MD5",
            "PLAIN",
            "LOGIN",
        ];
        assert_eq!(names(&accounts, &context), any);
    }

    /// Whoever has no account cannot log in with what is compared in its place.
    #[test]
    fn nobody_has_the_password_of_nobody() {
        use crate::sasl::client::{self, Credentials, Proof};
        let accounts = Arc::new(Accounts::new(NameCase::Ignored).unwrap());
        let credentials = Credentials {
            user: "tom".into(),
            authzid: None,
            proof: Proof::Password(accounts.find("tom").prepared.clone()),
        };
        let channel = Channel::Bound(ChannelBinding::new([7; 32]));
        let context = Context {
            channel: channel.clone(),
            ..Context::default()
        };
        for mechanism in ALL
            .iter()
            .filter(|mechanism| mechanism.needs == Needs::Password)
        {
            let ours = client::Context {
                channel: channel.clone(),
                ..client::Context::default()
            };
            let mut client = client::Exchange::begin(mechanism, &credentials, &ours).unwrap();
            let mut server = Exchange::begin(mechanism, Arc::clone(&accounts), &context);
            let initial = client.initial();
            let mut step = server.step(initial.as_ref().map(Message::as_bytes));
            while let Step::Challenge(challenge) = &step {
                let client::Step::Response(response) = client.step(challenge.as_bytes()) else {
                    panic!("{}", mechanism.name);
                };
                step = server.step(Some(response.as_bytes()));
            }
            assert_eq!(
                step,
                Step::Failed(Failure::Credentials),
                "{}",
                mechanism.name
            );
        }
    }

    #[test]
    fn only_what_is_offered_can_be_selected() {
        let mut accounts = Accounts::new(NameCase::Ignored).unwrap();
        accounts.add_password("tim", "secret").unwrap();
        let offered = offered(&accounts, &Context::default(), ClearText::InTls);
        assert_eq!(select("cram-md5", &offered).unwrap().name, "CRAM-MD5");
        for name in ["PLAIN", "NTLM", ""] {
            assert_eq!(select(name, &offered), Err(Failure::NotOffered));
        }
    }

    #[test]
    fn replies_are_those_of_rfc_4954() {
        for (failure, reply) in [
            (Failure::Cancelled, "501 5.7.0 cancelled by the client"),
            (
                Failure::Credentials,
                "535 5.7.8 authentication credentials invalid",
            ),
            (Failure::Encoding, "501 5.5.2 cannot decode base64"),
            (Failure::Malformed("why"), "501 5.5.2 why"),
            (Failure::NotOffered, "504 5.5.4 mechanism not offered"),
            (
                Failure::Temporary,
                "454 4.7.0 temporary authentication failure",
            ),
            (
                Failure::TooLong,
                "500 5.5.6 authentication exchange line is too long",
            ),
        ] {
            assert_eq!(failure.reply().to_string(), reply);
        }
    }
}
