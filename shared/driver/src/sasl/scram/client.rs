//! The client's half.

use std::num::NonZeroU32;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use shared::command::Secret;

use super::keys::{Hash, Keys, same};
use super::message::{ServerFinal, ServerFirst, auth_message};
use super::{FEWEST, MOST};
use crate::sasl::client::{ClientHalf, Context, Credentials, Error};
use crate::sasl::gs2::{self, Flag};
use crate::sasl::prepare::prepare;
use crate::sasl::{ChannelBinding, Plus, random};

#[derive(Debug)]
pub(super) struct Client {
    hash: Hash,
    password: Secret,
    header: String,
    /// What `c=` holds.
    binding: Vec<u8>,
    nonce: String,
    /// `client-first-message-bare`.
    bare: String,
    state: State,
}

#[derive(Debug)]
enum State {
    First,
    /// The server must say `v=` and this.
    Final(Vec<u8>),
    Verified,
    Failed(Error),
}

impl Client {
    /// Says whether it could have bound to the channel, had it been offered: a
    /// server that did offer it notices (RFC 5802 §6).
    pub(super) fn bare(
        hash: Hash,
        credentials: &Credentials,
        context: &Context,
    ) -> Result<Self, Error> {
        let flag = match (context.channel.binding(), context.plus) {
            (Some(_), Plus::Absent) => Flag::WouldHave,
            _ => Flag::No,
        };
        Self::new(hash, credentials, context, &flag)
    }

    pub(super) fn plus(
        hash: Hash,
        credentials: &Credentials,
        context: &Context,
    ) -> Result<Self, Error> {
        let binding = context.channel.binding().ok_or(Error::NoBinding)?;
        let flag = Flag::Used(ChannelBinding::NAME);
        let mut client = Self::new(hash, credentials, context, &flag)?;
        client.binding.extend_from_slice(binding.material());
        Ok(client)
    }

    fn new(
        hash: Hash,
        credentials: &Credentials,
        context: &Context,
        flag: &Flag<'_>,
    ) -> Result<Self, Error> {
        // Revealed to be prepared.
        let password = prepare(credentials.password()?.reveal());
        let name = prepare(&credentials.user).ok_or(Error::NotSendable("name"))?;
        let nonce = random::nonce(context.nonce.as_deref())?;
        let authzid = credentials.authzid.as_deref();
        Error::unless_sendable("name", authzid.unwrap_or_default(), '\0')?;
        let header = gs2::header(flag, authzid);
        Ok(Self {
            hash,
            password: Secret::new(password.ok_or(Error::NotSendable("password"))?),
            binding: header.clone().into(),
            header,
            bare: format!("n={},r={nonce}", gs2::escape(&name)),
            nonce,
            state: State::First,
        })
    }

    /// Answers `server-first-message`.
    fn prove(&mut self, challenge: &[u8]) -> Result<Vec<u8>, Error> {
        let malformed = Error::Malformed("SCRAM: bad server-first-message");
        let text = std::str::from_utf8(challenge).map_err(|_| malformed.clone())?;
        let first = ServerFirst::parse(challenge).ok_or(malformed)?;
        let own = first.nonce.strip_prefix(&self.nonce);
        if own.is_none_or(str::is_empty) {
            return Err(Error::Malformed(
                "SCRAM: the server's nonce does not go on from ours",
            ));
        }
        let iterations = NonZeroU32::new(first.iterations)
            .filter(|iterations| (FEWEST..=MOST).contains(&iterations.get()))
            .ok_or(Error::Iterations(first.iterations))?;
        // Revealed to derive keys.
        let keys = Keys::derive(self.hash, self.password.reveal(), &first.salt, iterations);
        let without_proof = format!("c={},r={}", STANDARD.encode(&self.binding), first.nonce);
        let signed = auth_message(&self.bare, text, &without_proof);
        let proof = STANDARD.encode(keys.proof(&signed));
        self.state = State::Final(keys.signature(&signed));
        Ok(format!("{without_proof},p={proof}").into())
    }

    /// Answers `server-final-message`.
    fn verify(&mut self, challenge: &[u8], expected: &[u8]) -> Result<Vec<u8>, Error> {
        match ServerFinal::parse(challenge) {
            Some(ServerFinal::Verifier(signature)) if same(&signature, expected) => {
                self.state = State::Verified;
                Ok(Vec::new())
            }
            Some(ServerFinal::Verifier(_)) => Err(Error::Signature),
            // It says no: 535 will follow.
            Some(ServerFinal::Error(error)) => {
                self.state = State::Failed(Error::refused(error.as_bytes()));
                Ok(Vec::new())
            }
            None => Err(Error::Malformed("SCRAM: bad server-final-message")),
        }
    }
}

impl ClientHalf for Client {
    fn open(&mut self) -> Vec<u8> {
        format!("{}{}", self.header, self.bare).into()
    }

    fn step(&mut self, challenge: &[u8]) -> Result<Vec<u8>, Error> {
        let unproven = State::Failed(Error::Unproven);
        match std::mem::replace(&mut self.state, unproven) {
            State::First => self.prove(challenge),
            State::Final(expected) => self.verify(challenge, &expected),
            over @ (State::Verified | State::Failed(_)) => {
                self.state = over;
                Err(Error::Unexpected)
            }
        }
    }

    fn finish(&self) -> Result<(), Error> {
        match &self.state {
            State::Verified => Ok(()),
            State::Failed(error) => Err(error.clone()),
            State::First | State::Final(_) => Err(Error::Unproven),
        }
    }
}
