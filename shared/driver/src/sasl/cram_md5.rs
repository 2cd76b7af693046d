//! CRAM-MD5 (RFC 2195): the server says `<nonce@host>`, the client its name, a
//! space, and HMAC-MD5 of that under the password, in lower-case hex.
//!
//! The password is taken as it is: RFC 2195 knows no preparation.

use hmac::{Hmac, Mac};
use md5::Md5;
use shared::command::Secret;
use shared::escape::hex;

use super::client::{self, ClientHalf};
use super::server::{self, Failure, Progress, ServerHalf};
use super::{Accounts, Initial, Mechanism, Needs, Transfer, random};

pub(super) const CRAM_MD5: Mechanism = Mechanism {
    name: "CRAM-MD5",
    needs: Needs::Password,
    transfer: Transfer::Digest,
    channel_binding: false,
    authzid: false,
    initial: Initial::Refused,
    server: |context| Ok(Box::new(Server::new(context)?)),
    client: |credentials, _| {
        Ok(Box::new(Client {
            user: credentials.user.clone(),
            password: Some(credentials.password()?.clone()),
        }))
    },
};

#[derive(Debug)]
struct Server {
    challenge: String,
}

impl Server {
    fn new(context: &server::Context) -> Result<Self, Failure> {
        let nonce = random::nonce(context.nonce.as_deref())?;
        Ok(Self {
            challenge: format!("<{nonce}@{}>", context.host),
        })
    }
}

impl ServerHalf for Server {
    fn open(&mut self) -> Vec<u8> {
        self.challenge.clone().into()
    }

    fn step(&mut self, response: &[u8], accounts: &Accounts) -> Result<Progress, Failure> {
        let (user, digest) = std::str::from_utf8(response)
            .ok()
            .and_then(|text| text.rsplit_once(' '))
            .filter(|(user, _)| !user.is_empty())
            .ok_or(Failure::Malformed("CRAM-MD5: not a user and a digest"))?;
        let digest = unhex(digest).ok_or(Failure::Malformed(
            "CRAM-MD5: the digest is not 32 lower-case hex digits",
        ))?;
        let found = accounts.find(user);
        let mac = keyed(found.written)?.chain_update(&self.challenge);
        // Compares in constant time.
        let same = mac.verify_slice(&digest).is_ok();
        let user = match found.name {
            Some(name) if same || accounts.accepts_any() => Some(name.to_owned()),
            None if accounts.accepts_any() => Some(user.to_owned()),
            _ => None,
        };
        Progress::proven(accounts, user, None)
    }
}

#[derive(Debug)]
struct Client {
    user: String,
    password: Option<Secret>,
}

impl ClientHalf for Client {
    fn step(&mut self, challenge: &[u8]) -> Result<Vec<u8>, client::Error> {
        let password = self.password.take().ok_or(client::Error::Unexpected)?;
        let mac = keyed(&password).map_err(|_| client::Error::NotSendable("password"))?;
        let digest = hex(&mac.chain_update(challenge).finalize().into_bytes());
        Ok(format!("{} {digest}", self.user).into())
    }
}

/// HMAC takes a key of any length, so the error never comes.
fn keyed(password: &Secret) -> Result<Hmac<Md5>, Failure> {
    // Revealed to be the key of a digest.
    Hmac::new_from_slice(password.reveal().as_bytes()).map_err(|_| Failure::Temporary)
}

fn unhex(digits: &str) -> Option<Vec<u8>> {
    let lower_case = |c: u8| matches!(c, b'0'..=b'9' | b'a'..=b'f');
    if digits.len() != 32 || !digits.bytes().all(lower_case) {
        return None;
    }
    let octet = |at| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok();
    (0..32).step_by(2).map(octet).collect()
}
