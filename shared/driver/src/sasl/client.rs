//! The half that proves.

use shared::command::Secret;
use shared::escape::excerpt;

use super::random::NoRandomness;
use super::{ALL, Channel, ClearText, Initial, Mechanism, Message, Needs, Plus};

/// What a client logs in with.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// Whose secret it is.
    pub user: String,
    /// As whom to act, if as somebody else.
    pub authzid: Option<String>,
    /// What proves it.
    pub proof: Proof,
}

/// What proves it.
#[derive(Clone, Debug)]
pub enum Proof {
    /// The certificate shown in the TLS handshake.
    Certificate,
    /// A password.
    Password(Secret),
    /// A bearer token.
    Token(Secret),
}

/// What the client knows besides.
#[derive(Clone, Debug, Default)]
pub struct Context {
    /// What lies under the exchange.
    pub channel: Channel,
    /// Whether the EHLO reply of this channel listed a -PLUS.
    pub plus: Plus,
    /// The host and port connected to; OAUTHBEARER tells them.
    pub server: Option<(String, u16)>,
    /// In place of a random one: for tests.
    pub nonce: Option<String>,
}

/// One exchange.
#[derive(Debug)]
pub struct Exchange {
    mechanism: &'static Mechanism,
    half: Box<dyn ClientHalf>,
    begun: bool,
}

/// What comes of a challenge.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Say this.
    Response(Message),
    /// Give up: say `*`.
    Failed(Error),
}

/// Why a client gives up, or does not believe a 235.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A challenge is not base64.
    #[error("the server's challenge is not base64")]
    Encoding,
    /// Fewer iterations than help, or more than we are ready to compute.
    #[error("the server wants {0} iterations, not {MIN} to {MAX}", MIN = super::scram::FEWEST, MAX = super::scram::MOST)]
    Iterations(u32),
    /// A challenge is not what the mechanism says.
    #[error("{0}")]
    Malformed(&'static str),
    /// A -PLUS on a channel that cannot be bound to.
    #[error("this channel has nothing to bind to: channel binding needs TLS 1.3")]
    NoBinding,
    /// What we would have to send cannot be sent in this mechanism.
    #[error("this mechanism cannot carry this {0}")]
    NotSendable(&'static str),
    /// Ours.
    #[error(transparent)]
    Random(#[from] NoRandomness),
    /// The server says within the mechanism that it refuses, and why; 235 after
    /// that is a contradiction.
    #[error("the server refuses: {0}")]
    Refused(String),
    /// The server's proof is wrong: it does not know the password.
    #[error(
        "the server does not know the password: it is not the right one, or someone sits in the middle"
    )]
    Signature,
    /// A challenge though everything was said.
    #[error("another challenge though everything is said")]
    Unexpected,
    /// 235 before the exchange was over, so that the server has proven nothing.
    #[error("the server accepts before it has proven that it knows the password")]
    Unproven,
    /// Such credentials are not for this mechanism.
    #[error("such credentials are not for this mechanism")]
    Unsuitable,
}

/// What a mechanism does on this side.
pub(super) trait ClientHalf: std::fmt::Debug + Send {
    /// The first message, if the client speaks first.
    fn open(&mut self) -> Vec<u8> {
        Vec::new()
    }

    /// Answers a challenge.
    fn step(&mut self, challenge: &[u8]) -> Result<Vec<u8>, Error>;

    /// Whether the server may say 235 now.
    fn finish(&self) -> Result<(), Error> {
        Ok(())
    }
}

/// The strongest mechanism offered that these credentials can use here.
pub fn choose<S: AsRef<str>>(
    offered: &[S],
    credentials: &Credentials,
    channel: &Channel,
    clear_text: ClearText,
) -> Option<&'static Mechanism> {
    ALL.iter().find(|mechanism| {
        mechanism.needs == credentials.proof.kind()
            && (mechanism.authzid || credentials.authzid.is_none())
            && mechanism.fits(channel, clear_text)
            && offered
                .iter()
                .any(|name| mechanism.name.eq_ignore_ascii_case(name.as_ref()))
    })
}

impl Exchange {
    /// An exchange in which nothing was said yet.
    pub fn begin(
        mechanism: &'static Mechanism,
        credentials: &Credentials,
        context: &Context,
    ) -> Result<Self, Error> {
        if mechanism.needs != credentials.proof.kind() {
            return Err(Error::Unsuitable);
        }
        if credentials.authzid.is_some() && !mechanism.authzid {
            return Err(Error::NotSendable("authorization identity"));
        }
        let half = (mechanism.client)(credentials, context)?;
        Ok(Self {
            mechanism,
            half,
            begun: false,
        })
    }

    /// What AUTH may carry. Not to ask is allowed, too: then the server says an
    /// empty 334 first, if it is not the one to speak.
    pub fn initial(&mut self) -> Option<Message> {
        if self.begun || self.mechanism.initial != Initial::Expected {
            return None;
        }
        self.begun = true;
        Some(Message::new(self.half.open()))
    }

    /// Answers a 334.
    pub fn step(&mut self, challenge: &[u8]) -> Step {
        if challenge.is_empty()
            && let Some(initial) = self.initial()
        {
            return Step::Response(initial);
        }
        self.begun = true;
        match self.half.step(challenge) {
            Ok(response) => Step::Response(Message::new(response)),
            Err(error) => Step::Failed(error),
        }
    }

    /// Asked when the server says 235: is it to be believed? After a refusal it
    /// tells what the server said of it within the mechanism.
    pub fn finish(&self) -> Result<(), Error> {
        self.half.finish()
    }
}

impl Proof {
    /// What mechanisms call it.
    pub const fn kind(&self) -> Needs {
        match self {
            Self::Certificate => Needs::Certificate,
            Self::Password(_) => Needs::Password,
            Self::Token(_) => Needs::Token,
        }
    }
}

impl Credentials {
    /// The password, for a mechanism that needs one.
    pub(super) fn password(&self) -> Result<&Secret, Error> {
        match &self.proof {
            Proof::Password(password) => Ok(password),
            Proof::Certificate | Proof::Token(_) => Err(Error::Unsuitable),
        }
    }

    /// The token, for a mechanism that needs one.
    pub(super) fn token(&self) -> Result<&Secret, Error> {
        match &self.proof {
            Proof::Token(token) => Ok(token),
            Proof::Certificate | Proof::Password(_) => Err(Error::Unsuitable),
        }
    }
}

impl Error {
    /// The server refuses with these words.
    pub(super) fn refused(words: &[u8]) -> Self {
        Self::Refused(excerpt(words, 200))
    }

    /// Nothing but what may stand between separators.
    pub(super) fn unless_sendable(
        what: &'static str,
        text: &str,
        forbidden: char,
    ) -> Result<(), Self> {
        if text.contains(forbidden) {
            return Err(Self::NotSendable(what));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sasl::ChannelBinding;

    fn credentials(proof: Proof) -> Credentials {
        Credentials {
            user: "tim".into(),
            authzid: None,
            proof,
        }
    }

    fn chosen(offered: &[&str], proof: Proof, channel: &Channel) -> Option<&'static str> {
        let credentials = credentials(proof);
        choose(offered, &credentials, channel, ClearText::InTls).map(|mechanism| mechanism.name)
    }

    #[test]
    fn the_strongest_is_chosen_that_credentials_and_channel_allow() {
        let password = || Proof::Password(Secret::new("secret".into()));
        let all: Vec<&str> = ALL.iter().rev().map(|mechanism| mechanism.name).collect();
        let bound = Channel::Bound(ChannelBinding::new([7; 32]));
        assert_eq!(chosen(&all, password(), &bound), Some("SCRAM-SHA-256-PLUS"));
        assert_eq!(
            chosen(&all, password(), &Channel::Tls),
            Some("SCRAM-SHA-256")
        );
        assert_eq!(
            chosen(&["LOGIN", "plain"], password(), &Channel::Tls),
            Some("PLAIN")
        );
        assert_eq!(
            chosen(&["LOGIN", "PLAIN"], password(), &Channel::Clear),
            None
        );
        assert_eq!(
            chosen(&["PLAIN", "CRAM-MD5"], password(), &Channel::Clear),
            Some("CRAM-MD5")
        );
        assert_eq!(chosen(&["NTLM"], password(), &Channel::Tls), None);
        let token = || Proof::Token(Secret::new("abc".into()));
        assert_eq!(chosen(&all, token(), &bound), Some("OAUTHBEARER"));
        assert_eq!(chosen(&all, token(), &Channel::Clear), None);
        assert_eq!(chosen(&all, Proof::Certificate, &bound), Some("EXTERNAL"));
    }

    #[test]
    fn who_wants_to_act_as_somebody_else_gets_a_mechanism_that_can_say_so() {
        let mut credentials = credentials(Proof::Password(Secret::new("secret".into())));
        credentials.authzid = Some("tom".into());
        let offered = ["CRAM-MD5", "PLAIN"];
        let chosen = choose(&offered, &credentials, &Channel::Tls, ClearText::InTls);
        assert_eq!(chosen.map(|mechanism| mechanism.name), Some("PLAIN"));
    }

    #[test]
    fn a_secret_in_clear_text_is_sent_when_told() {
        let credentials = credentials(Proof::Password(Secret::new("secret".into())));
        let chosen = choose(
            &["PLAIN"],
            &credentials,
            &Channel::Clear,
            ClearText::Anywhere,
        );
        assert_eq!(chosen.map(|mechanism| mechanism.name), Some("PLAIN"));
    }

    #[test]
    fn nothing_secret_is_printed() {
        let credentials = credentials(Proof::Password(Secret::new("hunter2".into())));
        assert!(!format!("{credentials:?}").contains("hunter2"));
        for mechanism in &ALL {
            let context = Context {
                channel: Channel::Bound(ChannelBinding::new([7; 32])),
                ..Context::default()
            };
            if let Ok(mut exchange) = Exchange::begin(mechanism, &credentials, &context) {
                let initial = exchange.initial();
                assert!(
                    !format!("{exchange:?} {initial:?}").contains("hunter2"),
                    "{}",
                    mechanism.name
                );
            }
        }
    }
}
