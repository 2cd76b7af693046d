//! The server's half.

use std::num::NonZeroU32;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::FEWEST;
use super::keys::{Hash, Keys, same};
use super::message::{ClientFinal, ClientFirst, auth_message};
use crate::sasl::accounts::Found;
use crate::sasl::gs2::{Flag, Header};
use crate::sasl::server::{Context, Failure, Progress, ServerHalf};
use crate::sasl::{Accounts, ChannelBinding, Plus, random};

#[derive(Debug)]
pub(super) struct Server {
    hash: Hash,
    /// What a -PLUS binds to.
    binding: Option<ChannelBinding>,
    plus: Plus,
    nonce: String,
    state: State,
}

#[derive(Debug)]
enum State {
    First,
    Final(Box<Claim>),
    /// Our proof was sent, and the client has nothing to say but that it came.
    Acknowledgement {
        authcid: String,
        authzid: Option<String>,
    },
    Over,
}

/// What the client has claimed and must prove.
#[derive(Debug)]
struct Claim {
    /// `None` if there is no such account: then no proof will do.
    authcid: Option<String>,
    authzid: Option<String>,
    keys: Keys,
    /// What `c=` must hold.
    binding: Vec<u8>,
    nonce: String,
    client_first_bare: String,
    server_first: String,
}

impl Server {
    pub(super) fn bare(hash: Hash, context: &Context) -> Result<Self, Failure> {
        Ok(Self {
            hash,
            binding: None,
            plus: context.plus,
            nonce: random::nonce(context.nonce.as_deref())?,
            state: State::First,
        })
    }

    pub(super) fn plus(hash: Hash, context: &Context) -> Result<Self, Failure> {
        let binding = context.channel.binding().cloned();
        Ok(Self {
            binding: Some(binding.ok_or(Failure::NotOffered)?),
            ..Self::bare(hash, context)?
        })
    }

    fn first(&mut self, message: &[u8], accounts: &Accounts) -> Result<Progress, Failure> {
        let first = ClientFirst::parse(message)
            .ok_or(Failure::Malformed("SCRAM: bad client-first-message"))?;
        let found = accounts.find(&first.name);
        self.challenge(first, &found)
    }

    fn challenge(
        &mut self,
        first: ClientFirst<'_>,
        found: &Found<'_>,
    ) -> Result<Progress, Failure> {
        let binding = self.binding(&first.header)?;
        let nonce = format!("{}{}", first.nonce, self.nonce);
        let salt = STANDARD.encode(&found.salt);
        let server_first = format!("r={nonce},s={salt},i={ITERATIONS}");
        // Revealed to derive keys: also for nobody, so that it takes as long.
        let password = found.prepared.reveal();
        self.state = State::Final(Box::new(Claim {
            authcid: found.name.map(ToOwned::to_owned),
            keys: Keys::derive(self.hash, password, &found.salt, ITERATIONS),
            binding,
            nonce,
            client_first_bare: first.bare.to_owned(),
            server_first: server_first.clone(),
            authzid: first.header.authzid,
        }));
        Ok(Progress::Challenge(server_first.into()))
    }

    /// What `c=` must hold: the header and, in a -PLUS, what the channel is
    /// (RFC 5802 §5.1, §6).
    fn binding(&self, header: &Header<'_>) -> Result<Vec<u8>, Failure> {
        let header_only = || header.text.as_bytes().to_vec();
        match (&self.binding, &header.flag) {
            (Some(binding), Flag::Used(ChannelBinding::NAME)) => {
                Ok([header.text.as_bytes(), binding.material()].concat())
            }
            (Some(_), Flag::Used(_)) => Err(Failure::Malformed(
                "SCRAM: the only channel binding here is tls-exporter",
            )),
            (Some(_), Flag::No | Flag::WouldHave) => Err(Failure::Malformed(
                "SCRAM: a -PLUS mechanism without channel binding",
            )),
            (None, Flag::Used(_)) => Err(Failure::Malformed(
                "SCRAM: channel binding without a -PLUS mechanism",
            )),
            (None, Flag::WouldHave) if self.plus == Plus::Offered => Err(Failure::Downgrade),
            (None, Flag::WouldHave | Flag::No) => Ok(header_only()),
        }
    }
}

impl Claim {
    /// Whether the client has proven it, and our proof then.
    fn verify(&self, message: &[u8]) -> Result<String, Failure> {
        let last = ClientFinal::parse(message)
            .ok_or(Failure::Malformed("SCRAM: bad client-final-message"))?;
        if last.nonce != self.nonce {
            return Err(Failure::Malformed("SCRAM: the nonce is not the server's"));
        }
        if !same(&last.binding, &self.binding) {
            return Err(Failure::ChannelBinding);
        }
        let signed = auth_message(
            &self.client_first_bare,
            &self.server_first,
            last.without_proof,
        );
        if !same(&last.proof, &self.keys.proof(&signed)) {
            return Err(Failure::Credentials);
        }
        Ok(format!(
            "v={}",
            STANDARD.encode(self.keys.signature(&signed))
        ))
    }
}

impl ServerHalf for Server {
    fn step(&mut self, response: &[u8], accounts: &Accounts) -> Result<Progress, Failure> {
        match std::mem::replace(&mut self.state, State::Over) {
            State::First => self.first(response, accounts),
            State::Final(claim) => {
                let proof = claim.verify(response)?;
                let Claim {
                    authcid, authzid, ..
                } = *claim;
                let proven = Progress::proven(accounts, authcid, authzid.as_deref())?;
                if let Progress::Proven { authcid, authzid } = proven {
                    self.state = State::Acknowledgement { authcid, authzid };
                }
                Ok(Progress::Challenge(proof.into()))
            }
            State::Acknowledgement { authcid, authzid } if response.is_empty() => {
                Ok(Progress::Proven { authcid, authzid })
            }
            State::Acknowledgement { .. } | State::Over => Err(Failure::Malformed(
                "SCRAM: a message though everything is said",
            )),
        }
    }
}

/// As many as RFC 7677 §4 asks for: the server has the password in clear text,
/// so that more would protect nothing but cost every client its time.
const ITERATIONS: NonZeroU32 = NonZeroU32::new(FEWEST).unwrap();

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sasl::NameCase;

    /// One of the examples: the server's part of the nonce, and what is said.
    struct Example {
        hash: Hash,
        nonce: &'static str,
        client_first: &'static str,
        server_first: &'static str,
        client_final: &'static str,
        server_final: &'static str,
    }

    const RFC_5802: Example = Example {
        hash: Hash::Sha1,
        nonce: "3rfcNHYJY1ZVvWVs7j",
        client_first: "n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL",
        server_first: "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
        client_final: "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,\
                       p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
        server_final: "v=rmF9pqV8S7suAoZWja4dJRkFsKQ=",
    };

    const RFC_7677: Example = Example {
        hash: Hash::Sha256,
        nonce: "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
        client_first: "n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
        server_first: "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                       s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
        client_final: "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                       p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
        server_final: "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
    };

    fn challenge(progress: Result<Progress, Failure>) -> String {
        match progress {
            Ok(Progress::Challenge(challenge)) => String::from_utf8(challenge).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    /// A server that has said `server_first`.
    fn after_first(example: &Example, accounts: &Accounts) -> Server {
        let context = Context {
            nonce: Some(example.nonce.into()),
            ..Context::default()
        };
        let mut server = Server::bare(example.hash, &context).unwrap();
        let first = ClientFirst::parse(example.client_first.as_bytes()).unwrap();
        let (_, salt) = example.server_first.split_once(",s=").unwrap();
        let (salt, _) = salt.split_once(',').unwrap();
        let found = Found {
            salt: STANDARD.decode(salt).unwrap(),
            ..accounts.find("user")
        };
        let said = challenge(server.challenge(first, &found));
        assert_eq!(said, example.server_first);
        server
    }

    #[test]
    fn the_examples_of_rfc_5802_section_5_and_rfc_7677_section_3() {
        let mut accounts = Accounts::new(NameCase::Kept).unwrap();
        accounts.add_password("user", "pencil").unwrap();
        for example in [RFC_5802, RFC_7677] {
            let mut server = after_first(&example, &accounts);
            let said = server.step(example.client_final.as_bytes(), &accounts);
            assert_eq!(challenge(said), example.server_final);
            let done = server.step(b"", &accounts).unwrap();
            assert!(
                matches!(done, Progress::Proven { authcid, authzid: None } if authcid == "user")
            );
        }
    }

    #[test]
    fn one_wrong_octet_in_the_last_message_is_refused() {
        let mut accounts = Accounts::new(NameCase::Kept).unwrap();
        accounts.add_password("user", "pencil").unwrap();
        for (right, wrong, failure) in [
            ("p=v0X8", "p=w0X8", Failure::Credentials),
            // Too short a proof, and too long a one.
            (
                "p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
                "p=v0X8",
                Failure::Credentials,
            ),
            ("p=v0X8", "p=AAAAv0X8", Failure::Credentials),
            ("c=biws", "c=eSws", Failure::ChannelBinding),
            (
                "7j,",
                "7k,",
                Failure::Malformed("SCRAM: the nonce is not the server's"),
            ),
            // An extension is signed like everything else.
            (",p=", ",x=y,p=", Failure::Credentials),
        ] {
            let mut server = after_first(&RFC_5802, &accounts);
            let message = RFC_5802.client_final.replacen(right, wrong, 1);
            let said = server.step(message.as_bytes(), &accounts);
            assert_eq!(said.err(), Some(failure), "{message}");
        }
    }
}
